"""Reverse-mode differentiation by hand: a tape of words, and the backward pass over it.

A ``Var`` is an array with a number on a tape, its slot. Every word applied to a Var is computed at once, and recorded
with the arrays themselves. The backward pass is ``pull`` (``api/core/pull.py``), which also differentiates words that
are recorded as a graph. A cotangent is the gradient of the loss with respect to an array.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, List, Optional, Tuple

from spikecore.api.core.pull import AppliedWord, Grads, pull
from spikecore.api.core.tree import Tree, map_leaves
from spikecore.api.core.words import VARIADIC, WORDS, with_operators


@with_operators
class Var:
    """An array on a tape. ``slot`` is its number there, or None for a constant, which gets no gradient."""

    __slots__ = ("slot", "tape", "value")
    __array_ufunc__ = None  # so that array + Var calls Var.__radd__; else NumPy loops over the array
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, tape: Tape, slot: Optional[int] = None) -> None:
        self.value, self.tape, self.slot = value, tape, slot

    def __array_namespace__(self, api_version: Optional[str] = None) -> Any:
        return self.tape.xp

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if "float" not in str(self.dtype):  # labels and masks have no gradient
            return self.engine.to_numpy(self).__array__(*args, **kwargs)
        raise TypeError(
            "a recorded array does not turn into a NumPy array: its gradient would be lost. Use the functions of xp, "
            "xp = sc.base.engine_of(x).xp"
        )

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        # torch calls it where a user's loss gives a ``Var`` to a function of torch; torch need not be imported here
        raise TypeError(
            f"torch's {function.__name__} cannot differentiate on this engine, and verify runs the loss on it as well: "
            "write the loss with xp = sc.base.engine_of(out.spikes).xp, e.g. xp.log_softmax, and it runs on all engines"
        )

    def __bool__(self) -> bool:
        raise TypeError("a recorded array has no truth value: a branch on data has no derivative. Use xp.where")

    def __getattr__(self, name: str) -> Any:
        if name in WORDS:
            raise AttributeError(f"a recorded array has no .{name}: write sc.base.engine_of(x).xp.{name}(x)")
        raise AttributeError(f"a recorded array has no .{name}; vars(sc.base.engine_of(x).xp) lists the functions")

    def become(self, result: Var) -> Var:
        """This array with other entries, wherever code holds it: a change in place.

        Raises:
            TypeError: the shape is another one, or the array is a view, whose owner would change as well.
        """
        if self.shape != result.shape or getattr(self.value, "base", None) is not None:
            raise TypeError("a recorded array cannot change in place here: write mem = mem + x for mem += x")
        self.value, self.slot = result.value, result.slot
        return self

    @property
    def engine(self) -> Any:
        """The engine of the tape."""
        return self.tape.engine

    @property
    def xp(self) -> Any:
        """The words of the engine, which record on the tape."""
        return self.tape.xp

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return int(self.value.ndim)

    @property
    def dtype(self) -> Any:
        """Dtype of the array."""
        return self.value.dtype

    def __repr__(self) -> str:
        return f"Var({self.value!r})"


class Tape:
    """Calls of words, in the order in which they were made."""

    __slots__ = ("count", "engine", "nodes", "xp")

    def __init__(self, engine: Any) -> None:
        self.engine, self.xp = engine, engine.xp
        self.nodes: List[Any] = []
        self.count = 0

    def variable(self, value: Any) -> Var:
        """An array as a ``Var`` whose gradient is wanted."""
        self.count += 1
        return Var(value, self, self.count)

    def constant(self, value: Any) -> Any:
        """An array as a ``Var`` without a gradient. Numbers stay numbers.

        User code then meets one type, with ``engine`` and the errors of ``Var``, whether a gradient is wanted or not.
        """
        return Var(value, self) if hasattr(value, "dtype") and type(value) is not Var else value

    def apply(self, name: str, raw: Callable[..., Any], arguments: Tuple[Any, ...], options: Dict[str, Any]) -> Var:
        """Apply a word to arguments, some of which are ``Var``s, and record the call."""
        plain = [a.value if type(a) is Var else a for a in arguments]
        out = raw(*plain, **options)
        slots = [a.slot if type(a) is Var else None for a in arguments]  # they count from 1, so any(slots) finds one
        products = self.engine.products(name) if any(slots) else ()
        if not products:
            return Var(out, self)
        if name not in VARIADIC and any(slots[len(products) :]):
            raise NotImplementedError(f"{name!r} has no derivative by its argument number {len(products) + 1}")
        result = self.variable(out)
        self.nodes.append(AppliedWord(name, plain, slots, options, out, self.count, products))
        return result

    def backward(self, grads: Grads) -> Grads:
        """Compute the cotangents of the variables from those of the outputs, both by slot.

        It empties the tape as it goes: nodes of whole runs (``Scan``, ``FusedScan``) hold ``Var``s, which hold the
        tape, and in this circle the arrays of a batch would stay until Python looks for circles.
        """
        nodes, self.nodes = self.nodes, []
        return pull(self.xp, (nodes.pop() for _ in range(len(nodes))), grads)


def without_tape(result: Any) -> Any:
    """A result with the array in place of every ``Var`` in trees, tuples, lists, dicts and dataclasses."""
    if type(result) is Var:
        return result.value
    if isinstance(result, Tree):
        return map_leaves(without_tape, result)
    if isinstance(result, (tuple, list)) and not hasattr(result, "_fields"):  # named tuples take no generator
        return type(result)(without_tape(entry) for entry in result)
    if isinstance(result, dict):
        return {name: without_tape(entry) for name, entry in result.items()}
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        values = {f.name: without_tape(getattr(result, f.name)) for f in dataclasses.fields(result)}
        return dataclasses.replace(result, **values)
    return result

"""``WordGraph``: a list of the words that some code applies, each with its arguments; ``run`` computes them.

One step of ``sc.Leaky(beta=0.9)``, as ``str`` shows it; the new state is v7, the output v9:

    v0 = input s_mem
    v1 = input x
    v2 = greater(v0, 1.0)
    v3 = astype(v2)
    v4 = multiply(0.9, v0)
    v5 = add(v4, v1)
    v6 = multiply(v3, 1.0)
    v7 = subtract(v5, v6)
    v8 = subtract(v7, 1.0)
    v9 = spike(v8, surrogate=atan(alpha=2.0))

Kernels are made from such graphs of single elements, exports from graphs of whole arrays. ``recorder.py`` writes them,
``pull.py`` differentiates them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from spikecore.api.core.words import VARIADIC

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class Value(NamedTuple):
    """An input of a graph or the result of an operation, by its number."""

    number: int

    def __str__(self) -> str:
        return f"v{self.number}"


#: A value, an array that never changes, or a number, a flag or a key of ``take_slice``.
Argument = Union[Value, Any]


class Type(NamedTuple):
    """The type of a value.

    Args:
        dtype: name of the dtype; of a single element "float" or "bool".
        shape: of the array; None: one element of an array of any shape.
    """

    dtype: str
    shape: Optional[Tuple[int, ...]] = None


FLOAT, BOOL = Type("float"), Type("bool")


class Op(NamedTuple):
    """A word applied to arguments.

    Args:
        out: the value that it gives.
        word: the word.
        args: in order; of ``concat`` and ``stack``, the arrays.
        options: the word's keyword options.
        layer: dotted name of the layer that applies it; "" for a network that is a single layer.
        kind: the class of that layer.
    """

    out: Value
    word: str
    args: Tuple[Argument, ...]
    options: Mapping[str, Any] = NO_OPTIONS
    layer: str = ""
    kind: str = ""

    @property
    def where(self) -> str:
        """The layer, for messages and comments."""
        return named(self.layer, self.kind)

    def reads(self) -> List[Value]:
        """The values among the arguments, in order."""
        return [a for a in self.args if type(a) is Value]

    def __str__(self) -> str:
        options = (f"{name}={value}" for name, value in self.options.items())
        return f"{self.out} = {self.word}({', '.join([*map(str, self.args), *options])})"


@dataclass(eq=False)
class WordGraph:
    """Inputs by name, and operations in an order in which they can be computed. Equal operations are entered once.

    Args:
        inputs: the values that are given, by name.
        ops: the operations.
        types: of each value, in the order of their numbers.
        speaker: dotted name and class of the layer whose words are entered next; each ``Op`` keeps them.
    """

    inputs: Dict[str, Value] = field(default_factory=dict)
    ops: List[Op] = field(default_factory=list)
    types: List[Type] = field(default_factory=list)
    speaker: Tuple[str, str] = ("", "")
    _known: Dict[Any, Value] = field(default_factory=dict)

    def input(self, name: str, type_: Type = FLOAT) -> Value:
        """The value of a named input."""
        if name not in self.inputs:
            self.inputs[name] = self._new(type_)
        return self.inputs[name]

    def add(
        self, word: str, args: Tuple[Argument, ...], type_: Type = FLOAT, options: Mapping[str, Any] = NO_OPTIONS
    ) -> Value:
        """The value of an operation of some type; the one that exists if it was entered before."""
        key = (word, *[a if type(a) is Value else _key(a) for a in args])
        if options:
            key = (*key, *[(name, _key(options[name])) for name in sorted(options)])
        try:
            out = self._known.get(key)
        except TypeError:  # an argument without a hash: entered anew, under a key that nothing equals
            out, key = None, (object(),)
        if out is None:
            out = self._known[key] = self._new(type_)
            self.ops.append(Op(out, word, args, options, *self.speaker))
        return out

    def type_of(self, value: Value) -> Type:
        """The type of a value."""
        return self.types[value.number]

    def _new(self, type_: Type) -> Value:
        self.types.append(type_)
        return Value(len(self.types) - 1)

    def needed(self, ends: Iterable[Any], given: Iterable[Value] = ()) -> Tuple[List[Op], Set[Value]]:
        """The operations that are needed to compute ``ends``, and the leaves that these read.

        Args:
            ends: what is wanted; numbers and None among them need no operation.
            given: values that are known, and so leaves, besides the inputs.
        """
        wanted, leaves, kept = {end for end in ends if type(end) is Value}, {*self.inputs.values(), *given}, []
        for op in reversed(self.ops):
            if op.out in wanted and op.out not in leaves:
                kept.append(op)
                wanted.update([a for a in op.args if type(a) is Value])
        return kept[::-1], wanted & leaves

    def __str__(self) -> str:
        lines = [f"{value} = input {name}" for name, value in self.inputs.items()]
        return "\n".join([*lines, *map(str, self.ops)])


def _key(argument: Any) -> Any:
    """A key that is equal for equal arguments; for an array its ``id``, which no other array gets as long as the graph
    holds this one.
    """
    of_class = type(argument)
    if of_class is float:
        return repr(argument)  # 0.0 == -0.0
    if of_class is Value:
        return argument
    if of_class is slice:
        return slice, argument.start, argument.stop, argument.step
    if of_class in (tuple, list):
        return tuple(map(_key, argument))
    return id(argument) if hasattr(argument, "dtype") else (of_class, argument)


def run(xp: Any, ops: Iterable[Op], values: Dict[Value, Any]) -> Dict[Value, Any]:
    """Compute operations.

    Args:
        xp: words, as attributes.
        ops: in an order in which they can be computed.
        values: the arrays that are given, by value; the results join them.
    """
    for op in ops:
        args = [values[a] if type(a) is Value else a for a in op.args]
        args = [args] if op.word in VARIADIC else args
        values[op.out] = getattr(xp, op.word)(*args, **op.options)
    return values


def named(layer: str, kind: str) -> str:
    """A layer in messages and comments.

    Args:
        layer: its dotted name; "" for a network that is a single layer.
        kind: its class.
    """
    return f"layer {layer} ({kind})" if layer else kind

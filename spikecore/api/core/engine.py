"""The interface ``Engine``.

An ``Engine`` supplies arrays, the spike with its surrogate gradient, the loop over time, and gradients. Engines are
ordinary objects: a process can use several, and none is global. ``engines.py`` finds them by name, ``executor.py`` has
the interface of what ``compile`` makes, ``extras.py`` what only some engines have.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Dict, Mapping, Optional, Tuple, Type, Union, final

from spikecore.api.core.executor import Executor as Executor
from spikecore.api.core.extras import Extra
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.core.words import Array as Array
from spikecore.api.core.words import Vocabulary
from spikecore.arguments import Numbers, Seed
from spikecore.printing import table

if TYPE_CHECKING:
    from spikecore.api.core.layer import Layer
    from spikecore.api.functional.base import LossFunction
    from spikecore.api.surrogate.base import Surrogate
    from spikecore.api.training.optimizers import Optimizer


class Engine(abc.ABC):
    """Arrays, spikes, time and gradients: the only interface that the code under ``api/`` computes with.

    Every engine's class takes the option ``dtype`` ("float32" or "float64"). What only some engines have is no member
    of this class: it is in ``extras``.

    Attributes:
        name: its name for ``get_engine`` and for messages; no code branches on it.
        device: the device of its arrays, as text, e.g. "cpu".
        dtype: the name of its floating-point type, "float32" or "float64".
        xp: the namespace that holds exactly the words of ``api/core/words.py``.
        lacks: features that are missing, by name, each with the reason: "float64"; "gradients" (it only evaluates);
            "groups" and "keep_zeros" of optimisers; "reading" (a loss that reads values out of arrays, e.g. by
            ``float(x)`` or NumPy functions); "backward" (a surrogate whose backward pass does more than multiply the
            incoming gradient by a derivative). Where one is needed, the engine raises ``NotImplementedError`` with the
            reason; the conformance suite skips the case and reports it.
        extras: its objects of the kinds in ``api/core/extras.py``. The first of a kind counts, so a subclass puts its
            own before those that it inherits.
    """

    name: str
    device: str
    dtype: str
    xp: Vocabulary
    _made_of: Tuple[Tuple[Any, ...], Dict[str, Any]]
    lacks: Mapping[str, str] = MappingProxyType({})
    extras: Tuple[Extra, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # An extra may take the place of some of the engine's members, those in its ``instead_of``. If this class
        # overrides one of them, the extra would bypass the override, so the class does not inherit the extra.
        if "extras" not in vars(cls):
            owner: Type[Engine] = next(base for base in cls.__mro__ if "extras" in vars(base))  # type: ignore[assignment]
            cls.extras = tuple(
                extra
                for extra in owner.extras
                if all(getattr(cls, name, None) is getattr(owner, name, None) for name in extra.instead_of)
            )

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        engine = super().__new__(cls)
        engine._made_of = arguments, options
        return engine

    def __copy__(self) -> Any:  # without __new__: the copy keeps all attributes, also words that were replaced
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __reduce__(self) -> Any:  # pickled as class and arguments, because namespaces and kernels cannot be pickled
        arguments, options = self._made_of
        return functools.partial(type(self), *arguments, **options), ()

    def _repr_html_(self) -> str:
        rows = [("name", self.name), ("device", self.device), ("dtype", self.dtype)]
        for name, option in inspect.signature(type(self)).parameters.items():  # options that the user has changed
            value = getattr(self, name, option.default)
            if name not in ("device", "dtype") and value != option.default:
                rows.append((name, str(value)))
        return table(type(self).__name__, rows)

    @abc.abstractmethod
    def asarray(self, x: Union[Numbers, Array], dtype: Optional[str] = None) -> Any:
        """Bring host data (numbers, lists, NumPy arrays, CPU tensors) to the engine, cast to ``dtype``.

        Args:
            x: host data, or an array of this engine, which is returned as it is.
            dtype: dtype name; None (the default) means the engine's own dtype, for integers and bools as well.

        Raises:
            TypeError: ``x`` is an array of this engine with another floating-point dtype. (NumPy arrays are host data
                and are cast.)
        """

    @abc.abstractmethod
    def to_numpy(self, x: Array) -> Any:
        """The values as a NumPy array on the host, detached."""

    @abc.abstractmethod
    def uniform(self, key: Seed, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        """Random numbers k * 2**-24 in [0, 1), bit-identical on every engine (see ``api/core/random.py``).

        Args:
            key: int or tuple of ints and strings that names the stream.
            shape: shape of the result.
            sample_axis: the axis that counts samples; None means that the array is one sample.
            first: number of the first sample, so that a batch can be drawn in parts; default 0.
        """

    @final
    def spike(self, u: Array, surrogate: Surrogate) -> Any:
        """The word ``spike``, for short: 1 where ``u > 0`` (strictly), else 0, with the surrogate's derivative."""
        return self.xp.spike(u, surrogate)

    @final
    def stop_gradient(self, x: Array) -> Any:
        """The word ``stop_gradient``, for short: the identity, with derivative zero."""
        return self.xp.stop_gradient(x)

    @abc.abstractmethod
    def scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Array,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Tuple[Array, State, State]:
        """Run ``stepper.step`` over time. No other code loops over time steps.

        Args:
            stepper: a neuron, or a container that runs step by step: any object with ``state`` and ``step``.
            params: its prepared parameters.
            state: the state before the first step.
            inputs: (time, batch, *features); a time axis of 1 together with ``steps`` is a sequence constant in time.
            steps: number of steps of a constant sequence; None takes it from ``inputs``.
            record: names of states to return for every step.
            window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; None: full BPTT.
            repeating: whether runs of this kind are repeated many times, as in training: compiling pays off sooner.

        Returns:
            outputs (time, batch, ...), recorded states {name: (time, batch, ...)}, and the state after the last step.
        """

    @abc.abstractmethod
    def explain(self, stepper: Layer) -> str:
        """Say how ``scan`` runs this stepper (loop, kernel, unrolled), and why; for a container, list its stages."""

    @abc.abstractmethod
    def value_and_grad(
        self, function: Callable[..., Tuple[Any, Any]], argument: Any, *constants: Any
    ) -> Tuple[Any, Any, Any]:
        """Differentiate ``function(argument, *constants) -> (scalar, extra)`` by the leaves of ``argument``.

        Args:
            function: what to differentiate, in vocabulary words. The second value that it returns, ``extra``, is
                handed back and not differentiated.
            argument: an array or a tree of arrays of this engine.
            *constants: further arrays or trees, which are not differentiated.

        Returns:
            the scalar, the extra, and the gradient with the structure of ``argument``.
        """

    def isolated(self) -> ContextManager[Any]:
        """A context in which modes of the array library, e.g. autocast to another precision, have no effect."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def compile(
        self,
        network: Layer,
        params: Params,
        buffers: Tree,
        loss: Optional[LossFunction],
        optimizer: Optional[Optimizer],
        **options: Any,
    ) -> Executor:
        """Prepare a network for training.

        Args:
            network: the layer to train.
            params, buffers: its initial weights and buffers, as NumPy arrays by name.
            loss: the loss to minimise.
            optimizer: the description of the optimiser.
            **options: ``window`` of truncated BPTT; ``record``, if a metric needs states; ``ranks``, if several
                processes train. If the user asks for them: ``memory`` (a budget in bytes), with ``accumulates`` (an
                update adds up the gradients of several batches); ``divides`` (each rank holds a part of the weights);
                ``compiles`` (a training step goes through the library's own compiler); ``graphs`` (what a step launches
                is recorded).
        """

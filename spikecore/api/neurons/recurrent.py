"""Recurrence: a neuron whose spikes return to its input one step later, through a connection."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Optional, Tuple, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, State, Stateless, Tree
from spikecore.api.core.parameters import FixedArray, Learn, check_broadcast, check_range, initial, normalise, values_of
from spikecore.api.core.sizes import spread
from spikecore.api.core.words import Array
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv2d
from spikecore.api.layers.taps import Delayed
from spikecore.api.neurons.base import Neuron, Param
from spikecore.api.neurons.leaky import Leaky
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.neurons.synaptic import Synaptic
from spikecore.api.neurons.wrapper import NeuronWrapper, refuse_parallel, refuse_weights
from spikecore.arguments import Size, Sizes


@dataclass(frozen=True)
class OneToOne(Stateless):
    """Connection of each neuron to itself: y = V x.

    Args:
        V: weight; a number, an array that broadcasts to the neurons, or learned (the default: one for all neurons,
            initially 1).
    """

    V: Param = Learn(1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "V", normalise(self.V, f"{type(self).__name__}: V"))
        check_range(self, "V", self.V, float("-inf"), float("inf"))

    def init(self, key: Key, shape: Shape) -> Init:
        if isinstance(self.V, Learn):
            return Init(Params(V=initial(key, self, "V", self.V, shape)), EMPTY, shape)
        check_broadcast(self, "V", values_of(self.V), shape)
        return Init(Params(), EMPTY, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return self.step(engine, self.prepare(engine, params), EMPTY, x)[0], buffers

    def prepare(self, engine: Engine, params: Params) -> Params:
        if isinstance(self.V, Learn):
            return params
        return Params(V=engine.asarray(self.V.data) if isinstance(self.V, FixedArray) else self.V)

    def step(self, engine: Engine, params: Params, state: Any, x: Array) -> Tuple[Any, Any]:
        return params.V * x, state


@dataclass(frozen=True)
class Recurrent(NeuronWrapper):
    """A neuron that receives its own spikes one step later: its input is I[t] + connection(S[t-1]).

    S is the neuron's output, after grading and inhibition. Gradients flow through the recurrence. If the connection has
    delays, a spike returns after one step and the delay: S[t-1-d].

    Args:
        neuron: the neuron; its parameters are named "neuron.…".
        connection: a layer that keeps the shape, stateless, e.g. ``Linear(n, n)``, ``Conv2d(c, c, 3, padding=1)``,
            ``OneToOne()``, or with delays, e.g. ``DelayedLinear(n, n, max_delay=20)``; its parameters are named
            "connection.…".

    State: ``spk``, the neuron's states, and, with delays, ``past`` (batch, max_delay, *neurons), the spikes before
    ``spk``, the oldest first.

    Raises:
        TypeError: neuron or connection is something else.
        ValueError: the neuron has ``parallel=True``; the connection is ``Dropout``; or, with the first data, it keeps
            statistics, or the number of training batches for an annealed width.
        ShapeError: the connection changes the shape.
    """

    recurs: ClassVar[bool] = True
    connection: Union[Stateless, Delayed]

    def __post_init__(self) -> None:
        if not isinstance(self.neuron, Stepper) or not isinstance(self.connection, (Stateless, Delayed)):
            raise TypeError(
                f"Recurrent: neuron={self.neuron!r} must be a neuron, connection={self.connection!r} a stateless "
                "layer, or one with delays such as sc.DelayedLinear"
            )
        if getattr(self.connection, "drops", False):
            raise ValueError(
                f"Recurrent: connection={self.connection!r} would drop nothing: its masks are for whole sequences, "
                "and a connection runs step by step. Take sc.Identity(), and put Dropout before or behind Recurrent"
            )
        refuse_parallel(self, self.neuron)
        refuse_weights(self, self.neuron)

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return ("spk", *self.neuron.state, *self.connection.state)

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        parts: Any = (("neuron", self.neuron), ("connection", self.connection))
        return tuple(f"{part}.{name}" for part, layer in parts for name in layer.connections)

    def init(self, key: Key, shape: Shape) -> Init:
        params, _, out = self.neuron.init(key.child("neuron"), shape)
        weights, buffers, back = self.connection.init(key.child("connection"), out)
        if len(buffers):
            raise ValueError(
                f"Recurrent: connection={self.connection!r} "
                + (
                    "has an annealed width, but steps do not count batches: leave out sigma_start and anneal"
                    if isinstance(self.connection, Delayed)
                    else "keeps statistics, which need whole sequences: leave it out, or put it before the neuron"
                )
            )
        if back != shape:
            raise ShapeError(f"Recurrent: the connection turns {out} into {back}, but the neuron takes {shape}")
        return Init(Params(neuron=params, connection=weights), EMPTY, out)

    def prepare(self, engine: Engine, params: Params) -> Params:
        return Params(
            neuron=self.neuron.prepare(engine, params.neuron),
            connection=self.connection.prepare(engine, params.connection),
        )

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        silent = engine.xp.zeros_like(x)
        kept = self.connection.rest(engine, params.connection, silent)
        return State({"spk": silent, **self.neuron.rest(engine, params.neuron, x), **kept})

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        inner, kept = (State({name: state[name] for name in part.state}) for part in (self.neuron, self.connection))
        fed_back, kept = self.connection.step(engine, params.connection, kept, state.spk)
        spikes, after = self.neuron.step(engine, params.neuron, inner, x + fed_back)
        return spikes, State({"spk": spikes, **after, **kept})


@dataclass(frozen=True)
class _Recurrently(Neuron):
    """Mixin that adds a connection's fields to a neuron and runs it as ``Recurrent``."""

    V: Param = Learn(1.0)
    all_to_all: bool = True
    linear_features: Optional[Size] = None
    conv2d_channels: Optional[Size] = None
    kernel_size: Optional[Sizes] = None
    recurrent_init: Optional[Initialiser] = None

    base: ClassVar[Any]  # the neuron inside

    def __post_init__(self) -> None:
        refuse_parallel(self, self)
        super().__post_init__()
        if isinstance(self.kernel_size, list):
            object.__setattr__(self, "kernel_size", tuple(self.kernel_size))
        inner = self.base(**{f.name: getattr(self, f.name) for f in fields(self.base)})
        object.__setattr__(self, "_recurrent", Recurrent(inner, _connection(self)))

    @property
    def recurrent(self) -> Recurrent:
        """The equivalent ``Recurrent``: the neuron and its connection."""
        return self._recurrent  # type: ignore[attr-defined,no-any-return]

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return ("spk", *self.base.state)

    @property
    def core(self) -> Tuple[Neuron, str]:
        return self.recurrent.core

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return self.recurrent.connections

    def init(self, key: Key, shape: Shape) -> Init:
        return self.recurrent.init(key, shape)

    def run(self, *arguments: Any) -> Any:  # type: ignore[override]
        own = type(self)  # a subclass may compute something else than its ``Recurrent``
        if any(getattr(own, name) is not getattr(_Recurrently, name) for name in ("prepare", "rest", "step")):
            return super().run(*arguments)
        return self.recurrent.run(*arguments)

    def prepare(self, engine: Engine, params: Params) -> Params:
        return self.recurrent.prepare(engine, params)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return self.recurrent.rest(engine, params, x)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        return self.recurrent.step(engine, params, state, x)


def _connection(owner: Any) -> Stateless:
    """The connection that the options of ``RLeaky`` or ``RSynaptic`` describe."""
    name, conv = type(owner).__name__, (owner.conv2d_channels, owner.kernel_size)
    dense = owner.linear_features is not None
    how = owner.recurrent_init
    if not owner.all_to_all:
        if how is not None:
            raise TypeError(
                f"{name}: recurrent_init={how!r} needs all_to_all=True; to draw V, give V=sc.learn({how!r})"
            )
        if dense or any(part is not None for part in conv):
            raise TypeError(f"{name}: linear_features, conv2d_channels and kernel_size need all_to_all=True")
        return OneToOne(owner.V)
    if Learn(1.0) != owner.V:
        raise TypeError(
            f"{name}: V={owner.V!r} needs all_to_all=False: a dense or convolutional connection has its own weights"
        )
    if dense and any(part is not None for part in conv):
        raise TypeError(f"{name}: give either linear_features, or conv2d_channels and kernel_size")
    if dense:
        return Linear(owner.linear_features, owner.linear_features, weight_init=how)
    if any(part is None for part in conv):
        raise TypeError(
            f"{name}: all_to_all=True needs linear_features, or conv2d_channels and kernel_size; "
            "all_to_all=False connects each neuron to itself"
        )
    sizes = spread(name, "kernel_size", owner.kernel_size, 2, 1)
    if any(k % 2 == 0 for k in sizes):
        raise ValueError(f"{name}: kernel_size={owner.kernel_size!r} must be odd, so that the map keeps its size")
    return Conv2d(
        owner.conv2d_channels, owner.conv2d_channels, sizes, padding=tuple(k // 2 for k in sizes), weight_init=how
    )


class _ResetLeaky(Leaky):
    """Leaky whose reset "zero" also clears the input and the recurrent current, as in snnTorch's ``RLeaky``."""

    zero_keeps_input: ClassVar[bool] = False


@dataclass(frozen=True)
class RLeaky(_Recurrently, Leaky):  # type: ignore[override]  # its state is its neuron's and one more
    """``Leaky`` with recurrence (snnTorch ``RLeaky``); short for ``Recurrent(Leaky(...), connection)``.

        F[t] = beta U[t-1] + I[t] + connection(S[t-1]),  then the reset of ``Membrane``; "zero" clears all of F[t]

    Args:
        V: weight of the one-to-one connection, which ``all_to_all=False`` selects; learned by default.
        all_to_all: True, the default: a dense connection (give ``linear_features``) or a convolution (give
            ``conv2d_channels`` and ``kernel_size``) between the neurons; False: each neuron is connected to itself.
        linear_features: number of neurons of a dense connection, which has a bias.
        conv2d_channels, kernel_size: channels and kernel (an odd int or two) of a convolution, which has a bias and
            keeps the map's size.
        recurrent_init: how to draw the weight of a dense or convolutional connection, e.g. ``sc.init.orthogonal(0.9)``;
            None, the default: as in ``Linear`` and ``Conv2d``.
        beta, threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: as in
            ``Leaky``. A one-to-one connection has no effect with a delayed reset "zero": (1 - R[t]) V S[t-1] is zero.

    Parameters: "neuron.…" and "connection.…".

    Raises:
        TypeError: options that contradict each other, or too few.
    """

    base: ClassVar[Any] = _ResetLeaky


@dataclass(frozen=True)
class RSynaptic(_Recurrently, Synaptic):  # type: ignore[override]  # its state is its neuron's and one more
    """``Synaptic`` with recurrence (snnTorch ``RSynaptic``); short for ``Recurrent(Synaptic(...), connection)``.

        syn[t] = alpha syn[t-1] + I[t] + connection(S[t-1]),  the rest as in ``Synaptic``

    Args:
        V, all_to_all, linear_features, conv2d_channels, kernel_size, recurrent_init: as in ``RLeaky``.
        alpha, beta, threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant:
            as in ``Synaptic``.

    Parameters: "neuron.…" and "connection.…".

    Raises:
        TypeError: options that contradict each other, or too few.
    """

    base: ClassVar[Any] = Synaptic

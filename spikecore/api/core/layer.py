"""Layers: the interface that neurons, stateless layers and containers share.

A layer is a frozen dataclass with pure functions. It holds no weights and no state: parameters, buffers and state go
in, outputs, buffers and state come out. Sequences are (time, batch, *features). A sequence of T equal steps is stored
as one: its time axis has length 1. The first Linear behind a constant input therefore runs once, not T times; from the
first layer with a state on, the time axis has length T.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Optional, Tuple, Union

from spikecore.api.core.random import Key
from spikecore.api.core.tree import Params, State, Tree, leaves
from spikecore.api.core.words import Array, Vocabulary
from spikecore.arguments import Checked, shown
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.core.engine import Engine

Shape = Tuple[int, ...]
EMPTY = Tree()
"""A tree without entries: the buffers and states of a layer that has none."""


class Init(NamedTuple):
    """The result of ``Layer.init``: the weights and buffers of a new layer, and the shape of its output."""

    params: Params  # NumPy arrays by name
    buffers: Tree  # NumPy arrays by name, carried from batch to batch (running statistics)
    shape: Shape  # shape of one sample of the output


class Result(NamedTuple):
    """The result of ``Layer.run``."""

    outputs: Any  # (time or 1, batch, *features)
    buffers: Tree = EMPTY
    state: Tree = EMPTY  # after the last step
    recorded: Tree = EMPTY  # states over time, by layer


@dataclass(frozen=True)
class Pass:
    """The settings of one pass of a sequence through a network, all but data and weights; methods call it ``run``.

    Args:
        engine: the engine that computes.
        steps: number of time steps if the input is constant in time; None takes it from the input.
        train: whether dropout is active and running statistics are updated.
        key: names the random draws of this pass; None: nothing may be drawn.
        record: True records the states of every neuron; a tuple, those of the layers with these dotted names.
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; None: full BPTT.
        path: dotted name of the current layer.
        repeating: whether passes of this kind are repeated many times, as in training: see ``Engine.scan``.
    """

    engine: Any
    steps: Optional[int] = None
    train: bool = False
    key: Optional[Key] = None
    record: Union[bool, Tuple[str, ...]] = ()
    window: Optional[int] = None
    path: str = ""
    repeating: bool = False

    def child(self, name: str) -> Pass:
        """The same pass for the child layer ``name``."""
        other = object.__new__(type(self))  # ``replace`` takes four times as long, for each layer of each call
        vars(other).update(vars(self), path=f"{self.path}.{name}" if self.path else name)
        return other

    def start(self, resting: Any) -> Any:
        """The first state of a layer to which the caller gives none: ``resting``. A subclass of ``Pass`` may return
        another one: in an export, the states before a step are inputs of its graph.
        """
        return resting

    @property
    def records(self) -> bool:
        """Whether the states of the current layer are recorded."""
        return self.record is True or (self.record is not False and self.path in self.record)


class ShapeError(ValueError):
    """An input does not fit a layer; the message names the layer, the axis, the actual and the expected size."""


class Layer(Concise, Checked, abc.ABC):
    """Base of every layer."""

    #: Whether in training a sample's output may depend on the other samples of its batch, as with batch statistics.
    mixes_samples: ClassVar[bool] = False
    #: Whether the layer sets the standard deviation of its outputs, whatever that of its inputs.
    normalises: ClassVar[bool] = False

    #: Names of the parameters whose entries are connections, each between one input and one neuron. An entry of exactly
    #: zero is a connection that does not exist; see ``api/training/pruning.py``.
    connections: ClassVar[Tuple[str, ...]] = ()

    if not TYPE_CHECKING:  # hidden from type checkers, so that they report a call as a mistake

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            """Refuse a call: a layer describes, a model runs.

            Raises:
                TypeError: says how to run a layer.
            """
            raise TypeError(
                f"{layer_name(self)} describes a layer and has no weights, so it cannot be called: write "
                "model = sc.Model(network), then model(x, num_steps=25)"
            )

    @property
    def input_shape(self) -> Optional[Shape]:
        """Shape of one input sample if the layer's own arguments determine it, else None."""
        return None

    def check_engine(self, engine: Engine) -> None:  # noqa: B027  (empty on purpose)
        """Refuse an engine that this layer cannot run on, with a TypeError; layers in words run on all."""

    @abc.abstractmethod
    def init(self, key: Key, shape: Shape) -> Init:
        """Initial parameters and buffers, and the output's shape, for samples of ``shape``.

        Args:
            key: names the random draws of the initial weights. A blank key (``Key(..., blank=True)``) asks for shapes
                alone. Draw weights by the functions of ``host.py``, which with a blank key make no array of that size:
                so a file of a model can be checked, whatever sizes it names, before memory is taken.
            shape: shape of one input sample, without time and batch.

        Raises:
            ShapeError: samples of this shape do not fit.
        """

    @abc.abstractmethod
    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        """Compute the outputs for a sequence ``x`` (time or 1, batch, *features).

        Args:
            run: the settings of the pass.
            params, buffers: the layer's own, as ``init`` returns them, as arrays of ``run.engine``.
            state: the state before the first step; None starts at rest.
            x: the input sequence.
        """

    # ---- one step at a time, for containers that run step by step ----

    @property
    def state(self) -> Tuple[str, ...]:
        """Names of the states that pass from step to step; the argument ``state`` of the methods has their values."""
        return ()

    def prepare(self, engine: Engine, params: Params) -> Params:
        """The parameters as ``step`` takes them: clamps and time constants are computed here, once per sequence."""
        return params

    def rest(self, engine: Engine, params: Params, x: Array) -> Tree:
        """The state at rest for one step's input ``x`` (batch, *features)."""
        return EMPTY

    def entering(self, engine: Engine, params: Params, x: Array) -> Any:
        """The form in which ``rest`` and ``step`` take one step's input x: x, or what ``Stepper.project`` returns."""
        return x

    def before_first(self, run: Pass, state: Optional[Tree], resting: State) -> Any:
        """The state before the first step: ``state``, or without one that at rest.

        Raises:
            ShapeError: ``state`` has other names or shapes than the state at rest.
        """
        if state is None:
            return run.start(resting)
        where = f"layer {run.path} ({layer_name(self)})" if run.path else layer_name(self)
        if tuple(state) != tuple(self.state):
            raise ShapeError(f"{where}: state has {tuple(state)}, expected {tuple(self.state)}")
        for name in self.state:
            shape, expected = tuple(state[name].shape), tuple(resting[name].shape)
            if shape != expected:
                raise ShapeError(f"{where}: state {name!r} has shape {shape}, expected {expected}")
        return State(state)

    @abc.abstractmethod
    def step(self, engine: Engine, params: Params, state: Any, x: Array) -> Tuple[Any, Any]:
        """Compute one time step: output and next state from prepared parameters, state and input (batch, *features)."""


class Stateless(Layer):
    """A layer without state: it computes the whole sequence at once, as one big batch."""

    drops: ClassVar[bool] = False  # whether training sets a share ``p`` to zero, by masks for whole sequences

    @property
    def once_prepared(self) -> Stateless:
        """The layer whose ``apply`` computes the same from the result of ``prepare``: this one; or, for a wrapper that
        does all its work in ``prepare`` (quantised weights), the layer inside, so that engines recognise a ``Linear``.
        """
        return self

    @abc.abstractmethod
    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        """The output for x (time, batch, *features), and the updated buffers."""

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        key = run.key.child(run.path) if run.key is not None else None
        return Result(*applied(self, run.engine, params, buffers, x, train=run.train, key=key))

    def step(self, engine: Engine, params: Params, state: Any, x: Array) -> Tuple[Any, Any]:
        # without draws and buffers: containers that run steps, e.g. ``Recurrent``, refuse layers that need either
        y, _ = applied(self, engine, params, EMPTY, engine.xp.expand_dims(x, axis=0), train=False, key=None)
        return y[0, ...], state


def applied(layer: Stateless, *arguments: Any, **options: Any) -> Any:
    """The result of ``layer.apply``, checked: the layer may be the user's own.

    Raises:
        TypeError: it is not an output together with buffers.
    """
    returned = layer.apply(*arguments, **options)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(
            f"{layer_name(layer)}.apply returned {type(returned).__name__}, expected (output, buffers): end it with "
            "return y, buffers"
        )
    return returned


def initialised(layer: Layer, key: Key, shape: Shape) -> Init:
    """The result of ``layer.init``, checked: the layer may be the user's own.

    Raises:
        TypeError: it is no ``Init`` of NumPy arrays and a shape.
    """
    init, name = layer.init(key, shape), f"{layer_name(layer)}.init"
    if not isinstance(init, tuple) or len(init) != 3:
        raise TypeError(
            f"{name} returned {shown(init)}, expected Init(params, buffers, shape), e.g. Init(Params(), EMPTY, shape)"
        )
    params, buffers, out = init
    for what, tree in (("params", params), ("buffers", buffers)):
        if not isinstance(tree, Tree):
            raise TypeError(f"{name}: {what}={shown(tree)} must be a tree, e.g. Params(gain=np.ones(shape)) or EMPTY")
        for path, value in leaves(tree):
            if not hasattr(value, "copy") or not hasattr(value, "dtype"):
                write = "tensor.detach().numpy()" if hasattr(value, "detach") else f"np.array({shown(value)})"
                raise TypeError(f"{name}: {what} {path}={shown(value)} must be a NumPy array: write {write}")
    if not hasattr(out, "__iter__"):
        raise TypeError(f"{name}: shape={shown(out)} must be a tuple, e.g. ({shown(out)},)")
    return Init(params, buffers, tuple(out))


def shapes_of(layer: Layer, shape: Shape) -> Init:
    """The result of ``layer.init`` for samples of ``shape``, but with arrays that take no memory: only shapes count."""
    return initialised(layer, Key((0,), blank=True), shape)


def layer_name(layer: Layer) -> str:
    """The class name, for messages."""
    return type(layer).__name__


def computes_as(layer: Any, kinds: Tuple[type, ...]) -> bool:
    """Whether a layer is of one of these classes, or of a subclass that overrides nothing of what they compute."""
    its_class, methods = type(layer), ("prepare", "run", "step", "apply")
    return any(
        issubclass(its_class, kind)
        and all(getattr(its_class, name, None) is getattr(kind, name, None) for name in methods)
        for kind in kinds
    )


def not_by_steps(layer: Any) -> str:
    """For ``Engine.explain``: how a layer without a loop over time runs; "" for layers that run step by step."""
    name = type(layer).__name__
    if getattr(layer, "parallel", False):
        return f"at once: {name} computes all steps in parallel, without a loop over time"
    if not getattr(layer, "state", True):
        return f"at once: {name} has no state and takes time and batch together"
    return ""


def as_batch(xp: Vocabulary, function: Any, x: Any) -> Any:
    """Apply a function of a batch to a sequence, without a loop: as one batch of all time steps and samples."""
    y = function(xp.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])))
    return xp.reshape(y, (x.shape[0], x.shape[1], *y.shape[1:]))


def linear(xp: Vocabulary, x: Any, weight: Any, bias: Any = None) -> Any:
    """Give x W^T + b for a sequence x (time, batch, features); W (outs, features), b (outs,) or None."""
    return as_batch(xp, lambda flat: xp.linear(flat, weight, bias), x)


__all__ = [
    "EMPTY",
    "Init",
    "Key",
    "Layer",
    "Params",
    "Pass",
    "Result",
    "Shape",
    "ShapeError",
    "State",
    "Stateless",
    "Tree",
]

"""Layers: neurons, stateless layers and containers are one kind of thing.

A layer is a frozen dataclass with pure functions. It holds no weights and no state: parameters, buffers and state go
in, outputs, buffers and state come out. Sequences are (time, batch, *features); a sequence that is constant in time
keeps a time axis of 1 until something needs more (the first Linear of a directly encoded image runs once, not T times).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Optional, Tuple, Union

from spikecore.api.random import Key
from spikecore.api.tree import Params, State, Tree
from spikecore.arguments import Checked

Shape = Tuple[int, ...]
EMPTY = Tree()


class Init(NamedTuple):
    """What ``Layer.init`` returns."""

    params: Params  # NumPy arrays by name
    buffers: Tree  # NumPy arrays by name: what passes between batches (running statistics)
    shape: Shape  # shape of one sample of the output


class Result(NamedTuple):
    """What ``Layer.run`` returns."""

    outputs: Any  # (time or 1, batch, *features)
    buffers: Tree = EMPTY
    state: Tree = EMPTY  # after the last step
    recorded: Tree = EMPTY  # states over time, by layer


@dataclass(frozen=True)
class Pass:
    """One pass of a sequence through a network: everything that is neither data nor weights.

    Args:
        engine: the engine that computes.
        steps: number of time steps if the input is constant in time.
        train: whether dropout draws and running statistics move.
        key: names the random draws of this pass; None where nothing may be drawn.
        record: True, every neuron's states are recorded; else the dotted names of the layers that are.
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...
        path: dotted name of the layer at hand.
        repeating: whether passes of this kind come again and again, as in training: see ``Engine.scan``.
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
        """The same pass, one layer further in."""
        return replace(self, path=f"{self.path}.{name}" if self.path else name)

    def start(self, resting: Any) -> Any:
        """The state before the first step of the layer at hand where none is given: the one at rest, unless an engine
        keeps states from one pass to the next.
        """
        return resting

    @property
    def records(self) -> bool:
        """Whether the layer at hand is recorded."""
        return self.record is True or (self.record is not False and self.path in self.record)


class ShapeError(ValueError):
    """An input does not fit a layer; the message names layer, axis, what came and what was expected."""


class Layer(Checked, abc.ABC):
    """Base of every layer."""

    @property
    def input_shape(self) -> Optional[Shape]:
        """Shape of one sample where the layer itself fixes it, else None."""
        return None

    @abc.abstractmethod
    def init(self, key: Key, shape: Shape) -> Init:
        """First parameters and buffers, and the output's shape, for samples of ``shape``.

        Raises:
            ShapeError: samples of this shape do not fit.
        """

    @abc.abstractmethod
    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        """Send a sequence through the layer; ``state=None`` starts at rest."""

    def check_engine(self, engine: Any) -> None:  # noqa: B027  (no layer in words has a reason to)
        """Refuse an engine that this layer cannot run on, with a TypeError; layers in words run on all."""

    # ---- one step at a time, for containers that run time-major ----

    @property
    def state(self) -> Tuple[str, ...]:
        """Names of what passes from one step to the next."""
        return ()

    def prepare(self, engine: Any, params: Params) -> Params:
        """What depends on parameters only (clamps, time constants), once per sequence."""
        return params

    def rest(self, engine: Any, params: Params, x: Any) -> Tree:
        """The state at rest for one step's input ``x`` (batch, *features)."""
        return EMPTY

    def entering(self, engine: Any, params: Params, x: Any) -> Any:
        """One step's input as ``rest`` and ``step`` take it, where the layer projects it first."""
        return x

    @abc.abstractmethod
    def step(self, engine: Any, params: Params, state: Any, x: Any) -> Tuple[Any, Any]:
        """One time step: output and next state from prepared parameters, state and input (batch, *features)."""


class Stateless(Layer):
    """A layer without state: it sees the whole sequence at once, as one big batch."""

    @abc.abstractmethod
    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        """Output for x (time, batch, *features), and the buffers afterwards."""

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        key = run.key.child(run.path) if run.key is not None else None
        y, buffers = self.apply(run.engine, params, buffers, x, train=run.train, key=key)
        return Result(y, buffers)

    def step(self, engine: Any, params: Params, state: Any, x: Any) -> Tuple[Any, Any]:
        y, _ = self.apply(engine, params, EMPTY, engine.xp.expand_dims(x, axis=0), train=False, key=None)
        return y[0, ...], state


def shapes_of(layer: Layer, shape: Shape) -> Init:
    """What ``layer.init`` returns for samples of ``shape``, of arrays that have a shape but take no memory."""
    return layer.init(Key((0,), blank=True), shape)


def layer_name(layer: Layer) -> str:
    """The class name, for messages."""
    return type(layer).__name__


def not_by_steps(layer: Any) -> str:
    """How a layer runs that does not go from step to step, for ``Engine.explain``; "" for the others."""
    name = type(layer).__name__
    if getattr(layer, "parallel", False):
        return f"at once: {name} computes all steps by a parallel scan, without a loop over time"
    if not getattr(layer, "state", True):
        return f"at once: {name} has no state and takes time and batch together"
    return ""


def over_time(xp: Any, function: Any, x: Any) -> Any:
    """Apply a function of one big batch to a sequence: time and batch are merged for it and parted again."""
    y = function(xp.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])))
    return xp.reshape(y, (x.shape[0], x.shape[1], *y.shape[1:]))


def linear(xp: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """Give x W^T + b for a sequence x (time, batch, features); W (outs, features), b (outs,) or None."""
    return over_time(xp, lambda flat: xp.linear(flat, weight, bias), x)


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

"""Layers that only NIR needs: delays, sums over windows, flattening of some axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import (
    EMPTY,
    Init,
    Key,
    Layer,
    Params,
    Pass,
    Result,
    Shape,
    ShapeError,
    State,
    Stateless,
    Tree,
)
from spikecore.api.core.parameters import Fixed, check_broadcast
from spikecore.api.core.words import Array
from spikecore.api.layers.spatial import AvgPool2d
from spikecore.arguments import Numbers


@dataclass(frozen=True)
class SumPool2d(AvgPool2d):
    """Sum over windows of a (channels, height, width) map.

    Args:
        kernel_size, stride, padding: as in ``MaxPool2d``.
    """

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        mean, buffers = super().apply(engine, params, buffers, x, train=train, key=key)
        sizes: Any = self.kernel_size
        return mean * float(math.prod(sizes)), buffers


@dataclass(frozen=True)
class FlattenAxes(Stateless):
    """Join some neighbouring axes of each sample to one axis.

    Args:
        start_dim, end_dim: first and last of the axes, counted within a sample; negative numbers count from its end.
    """

    start_dim: int = 0
    end_dim: int = -1

    def _flat(self, shape: Shape) -> Shape:
        axes = len(shape)
        if not (-axes <= self.start_dim < axes and -axes <= self.end_dim < axes):
            raise ShapeError(f"FlattenAxes: axes {self.start_dim} to {self.end_dim} of samples of shape {shape}")
        first, last = self.start_dim % axes, self.end_dim % axes
        if first > last:
            raise ShapeError(f"FlattenAxes: axis {self.start_dim} lies behind {self.end_dim} in samples of {shape}")
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, self._flat(shape))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return engine.xp.reshape(x, (*x.shape[:2], *self._flat(tuple(x.shape[2:])))), buffers


@dataclass(frozen=True)
class Delay(Layer):
    """y[t] = x[t - steps], and zero before the sequence begins.

    Args:
        steps: number of steps, >= 0; an int, or an array of ints that broadcasts to the neurons. Default 1.

    Raises:
        ValueError: ``steps`` are not ints >= 0.
    """

    steps: Numbers = 1

    def __post_init__(self) -> None:
        fixed = Fixed(self.steps)
        if not bool(((fixed.data >= 0) & (fixed.data == fixed.data.round())).all()):
            raise ValueError(f"Delay: steps={self.steps!r} must be ints >= 0")
        object.__setattr__(self, "steps", int(fixed.data) if fixed.shape == () else fixed)

    @property
    def counts(self) -> Any:
        """``steps`` as an array."""
        return Fixed(self.steps).data

    @property
    def state(self) -> Tuple[str, ...]:
        return tuple(f"before{i}" for i in range(1, int(self.counts.max()) + 1))  # the input of i steps ago

    def init(self, key: Key, shape: Shape) -> Init:
        check_broadcast(self, "steps", self.counts, shape)
        return Init(Params(), EMPTY, shape)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return State({name: engine.xp.zeros_like(x) for name in self.state})

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        xp, longest = run.engine.xp, len(self.state)
        if run.steps is not None and x.shape[0] != run.steps:
            x = xp.broadcast_to(x, (run.steps, *x.shape[1:]))
        start = run.start(self.rest(run.engine, params, x[0, ...])) if state is None else state
        earlier = [xp.expand_dims(start[name], axis=0) for name in reversed(self.state)]
        line, time = xp.concat([*earlier, x], axis=0), x.shape[0]
        y = self._mixed(run.engine, lambda n: line[longest - n : longest - n + time, ...])
        final = {name: line[time + longest - i, ...] for i, name in enumerate(self.state, start=1)}
        return Result(y, EMPTY, State(final), State(spikes=y) if run.records else EMPTY)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        values = [x, *(state[name] for name in self.state)]
        return self._mixed(engine, lambda n: values[n]), State(dict(zip(self.state, values)))

    def _mixed(self, engine: Any, delayed: Callable[[int], Any]) -> Any:
        """The delayed input of each neuron. ``delayed(n)`` is the input of n steps ago."""
        counts = self.counts
        used = sorted({int(n) for n in counts.reshape(-1).tolist()})
        if len(used) == 1:
            return delayed(used[0])
        parts = [engine.asarray((counts == n).astype("float64")) * delayed(n) for n in used]
        return sum(parts[1:], parts[0])

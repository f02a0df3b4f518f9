"""Max pooling of spike trains by their counts, in one and two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import EMPTY, Init, Key, Layer, Params, Pass, Result, Shape, State, Tree
from spikecore.api.core.sizes import Sizes
from spikecore.api.core.words import Array
from spikecore.api.layers.spatial import MaxPool1d, MaxPool2d


@dataclass(frozen=True)
class _CountMaxPool(Layer):
    """Base of ``CountMaxPool1d`` and ``CountMaxPool2d``."""

    kernel_size: Sizes
    stride: Optional[Sizes] = None
    padding: Sizes = 0

    state: ClassVar[Tuple[str, ...]] = ("count", "most")  # type: ignore[assignment,misc]  # a constant, no property
    pool: ClassVar[Any] = None  # the pooling layer without memory

    def __post_init__(self) -> None:
        window = self._window()  # checks the arguments and spreads them
        for name in ("kernel_size", "stride", "padding"):
            object.__setattr__(self, name, getattr(window, name))

    def _written(self, name: str) -> Any:
        return self._window()._written(name)

    def _window(self) -> Any:
        return self.pool(self.kernel_size, self.stride, self.padding)

    def init(self, key: Key, shape: Shape) -> Init:
        return self._window().init(key, shape)  # type: ignore[no-any-return]

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        zeros = engine.xp.zeros_like(x)
        return State(count=zeros, most=self._largest(engine, zeros))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        count = state.count + x
        most = self._largest(engine, count)
        return most - state.most, State(count=count, most=most)

    def _largest(self, engine: Engine, count: Array) -> Any:
        return engine.xp.max_pool(count, self.kernel_size, self.stride, self.padding)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        start = self.before_first(run, state, self.rest(run.engine, params, x[0, ...]))
        record = self.state if run.records else ()
        y, recorded, final = run.engine.scan(
            self, params, start, x, steps=run.steps, record=record, window=run.window, repeating=run.repeating
        )
        return Result(y, EMPTY, final, recorded.replace(spikes=y) if run.records else recorded)


@dataclass(frozen=True)
class CountMaxPool1d(_CountMaxPool):
    """Maximum over windows of (channels, length) spike trains, taken of the counts so far and not of single steps.

    See ``CountMaxPool2d``.

    Args:
        kernel_size, stride, padding: as in ``MaxPool1d``.
    """

    pool: ClassVar[Any] = MaxPool1d


@dataclass(frozen=True)
class CountMaxPool2d(_CountMaxPool):
    """Maximum over windows of (channels, height, width) spike trains, taken of the counts so far, not of single steps.

        N[t] = N[t-1] + x[t]
        y[t] = max_pool(N[t]) - max_pool(N[t-1])

    The sum of y over time is the maximum of the sums of x, so rates are pooled exactly. ``MaxPool2d`` fires when any
    neuron of the window fires and gives a higher rate. If x are spikes of one size, so are y.

    Args:
        kernel_size, stride, padding: as in ``MaxPool2d``. Windows may overlap.

    Shapes: x (time, batch, channels, height, width); states ``count``, N (batch, channels, height, width), and
    ``most``, max_pool(N).

    Source: pooling by rates, Rueckauer et al., Conversion of continuous-valued deep networks to efficient event-driven
    networks for image classification, 2017.
    """

    pool: ClassVar[Any] = MaxPool2d

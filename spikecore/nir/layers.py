"""Layers that only NIR needs: sums over windows, flattening of some axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional

from spikecore import AvgPool2d
from spikecore.api.core.layer import EMPTY, Init, Key, Shape, Tree
from spikecore.api.core.words import Array
from spikecore.base import Engine, Params, Stateless
from spikecore.errors import ShapeError


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

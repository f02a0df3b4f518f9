"""Maxima that rounding decides: a network with the same values, in which gradients through such maxima do not count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Init, Key, Layer, Params, Shape, Stateless, Tree, as_batch, computes_as
from spikecore.api.layers.containers import Container, with_children
from spikecore.api.layers.spatial import MAX_POOLS, MaxPool1d, MaxPool2d, MaxPool3d

CLEAR = 0.1  # the difference of the two largest values, relative to the largest and at least to 1, that counts as clear


@dataclass(frozen=True)
class ClearMaximum(Stateless):
    """A max pooling whose gradient counts by how clear each maximum is; its values are those of the pooling.

        y = max_pool(x),   dy/dx = w d max_pool(x)/dx
        w = min(1, (a - b) / (0.1 max(1, |a|)))          a and b are the two largest values of a window

    Where a and b are equal up to rounding, w is as small as rounding. So it does not matter which of them is the
    largest on which engine.

    Args:
        pool: ``MaxPool1d``, ``MaxPool2d`` or ``MaxPool3d``.
    """

    pool: Union[MaxPool1d, MaxPool2d, MaxPool3d]

    def init(self, key: Key, shape: Shape) -> Init:
        return self.pool.init(key, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        y, buffers = self.pool.apply(engine, params, buffers, x, train=train, key=key)
        fixed, weight = engine.stop_gradient(y), as_batch(engine.xp, self._weight(engine), engine.stop_gradient(x))
        return fixed + weight * (y - fixed), buffers

    def _weight(self, engine: Engine) -> Any:
        """The function w of maps."""
        xp, sizes = engine.xp, (self.pool.kernel_size, self.pool.stride, self.pool.padding)

        def weight(maps: Any) -> Any:
            windows = xp.patches(maps, *sizes, (1,) * self.pool.space, -math.inf)
            first = windows[:, :, 0, ...]
            second = xp.full(first.shape, -math.inf, dtype=engine.dtype)
            for i in range(1, windows.shape[2]):
                value = windows[:, :, i, ...]
                first, second = xp.maximum(first, value), xp.maximum(second, xp.minimum(first, value))
            return xp.clip((first - second) / (CLEAR * xp.maximum(abs(first), 1.0)), 0.0, 1.0)

        return weight


def with_clear_maxima(layer: Layer) -> Layer:
    """The network with ``ClearMaximum`` instead of max pooling, itself if it has none; names stay.

    Raises:
        TypeError: a container's layers cannot be replaced.
    """
    if isinstance(layer, Container):
        own = dict(layer.children())
        children = {name: with_clear_maxima(child) for name, child in own.items()}
        return layer if all(children[name] is own[name] for name in own) else with_children(layer, children)
    return ClearMaximum(layer) if isinstance(layer, MAX_POOLS) and computes_as(layer, MAX_POOLS) else layer

"""Layers that arrange the entries of a sample anew: Reshape and Permute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Stateless, Tree
from spikecore.api.core.sizes import is_size
from spikecore.api.core.words import Array


@dataclass(frozen=True)
class Reshape(Stateless):
    """Gives each sample another shape, entries in row-major order: (channels, height, width) to (channels, tokens).

    Args:
        shape: the sizes of one sample, without time and batch; one of them may be -1: it follows from the others.

    Raises:
        ValueError: an entry of ``shape`` is neither an int >= 1 nor a single -1.
        ShapeError: samples have another number of entries.
    """

    shape: Tuple[int, ...]

    def __post_init__(self) -> None:
        given = self.shape
        sizes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if not all(is_size(n, 1) or n == -1 for n in sizes) or sizes.count(-1) > 1:
            raise ValueError(f"Reshape: shape={given!r} must be ints >= 1, of which one may be -1, e.g. (64, -1)")
        object.__setattr__(self, "shape", sizes)

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of one sample of the output.

        Raises:
            ShapeError: samples of this shape do not fit.
        """
        entries, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        if entries != known if -1 not in self.shape else entries % known:
            raise ShapeError(
                f"Reshape: samples of shape {shape} have {entries} entries, which do not fill {self.shape}"
            )
        return tuple(entries // known if n == -1 else n for n in self.shape)

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, self.out_shape(shape))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return engine.xp.reshape(x, (*x.shape[:2], *self.out_shape(tuple(x.shape[2:])))), buffers


@dataclass(frozen=True)
class Permute(Stateless):
    """Reorders the axes of each sample: with (1, 0), (channels, tokens) becomes (tokens, channels).

    Args:
        axes: for each axis of the output, the axis of the input sample that becomes it; 0 is the first one behind time
            and batch.

    Raises:
        ValueError: ``axes`` is not an order of 0, 1, ..., n - 1.
        ShapeError: samples have another number of axes.
    """

    axes: Tuple[int, ...]

    def __post_init__(self) -> None:
        given = self.axes
        axes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if not axes or not all(is_size(n, 0) for n in axes) or sorted(axes) != list(range(len(axes))):
            raise ValueError(f"Permute: axes={given!r} must name each axis of a sample once, e.g. (1, 0)")
        object.__setattr__(self, "axes", axes)

    def init(self, key: Key, shape: Shape) -> Init:
        if len(shape) != len(self.axes):
            raise ShapeError(f"Permute: samples of shape {shape} for axes={self.axes}, expected {len(self.axes)} axes")
        return Init(Params(), EMPTY, tuple(shape[axis] for axis in self.axes))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return engine.xp.permute_dims(x, (0, 1, *(axis + 2 for axis in self.axes))), buffers

"""Pooling to one size, whatever the size of the input: adaptive pooling, global pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, List, Optional, Tuple, cast

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Shape, ShapeError, layer_name
from spikecore.api.core.sizes import Sizes, spread
from spikecore.api.core.words import Array
from spikecore.api.layers.resizing import Resizing, Whole


@dataclass(frozen=True)
class _AdaptivePool(Resizing):
    """Base of adaptive pooling: a pooling word over windows that cover the map, axis by axis where they differ."""

    output_size: Sizes

    word: ClassVar[str] = ""  # the word (``api/core/words.py``) that computes it

    def __post_init__(self) -> None:
        sizes = spread(layer_name(self), "output_size", self.output_size, self.space, 1)
        object.__setattr__(self, "output_size", sizes)

    def out_shape(self, shape: Shape) -> Shape:
        self._check(shape)
        return (shape[0], *cast(Whole, self.output_size))

    def windows(self, space: Shape) -> List[List[Tuple[int, int]]]:
        """Begin and end of the windows along each axis: from floor(i n / out) up to ceil((i + 1) n / out)."""
        sizes = zip(space, cast(Whole, self.output_size))
        return [[(i * n // out, -(-(i + 1) * n // out)) for i in range(out)] for n, out in sizes]

    def regular(self, space: Shape) -> Optional[Tuple[Whole, Whole]]:
        """Kernel and stride of the pooling that this is for maps of size ``space``; None where windows differ."""
        kernel, stride = [], []
        for windows in self.windows(space):
            lengths = {stop - start for start, stop in windows}
            steps = {after - before for (before, _), (after, _) in zip(windows, windows[1:])} or set(lengths)
            if len(lengths) > 1 or len(steps) > 1 or 0 in steps:
                return None
            kernel.append(lengths.pop())
            stride.append(steps.pop())
        return tuple(kernel), tuple(stride)

    def _resized(self, engine: Engine, maps: Array) -> Any:
        xp, pool, zeros = engine.xp, getattr(engine.xp, self.word), (0,) * self.space
        regular = self.regular(maps.shape[2:])
        if regular is not None:
            return pool(maps, *regular, zeros)
        for axis, windows in reversed([*enumerate(self.windows(maps.shape[2:]))]):  # rows last: ties go row by row
            before, parts = (slice(None),) * (2 + axis), []
            for start, stop in windows:
                kernel = tuple(stop - start if i == axis else 1 for i in range(self.space))
                whole = stop - start == maps.shape[2 + axis]
                parts.append(pool(maps if whole else maps[(*before, slice(start, stop), ...)], kernel, kernel, zeros))
            maps = xp.concat(parts, axis=2 + axis)
        return maps


@dataclass(frozen=True)
class AdaptiveAvgPool1d(_AdaptivePool):
    """Means over as many windows as the output is long, which together cover a (channels, length) map.

    Window i goes from floor(i n / output_size) to ceil((i + 1) n / output_size), as in torch.

    Args:
        output_size: length of the output, an int.
    """

    space: ClassVar[int] = 1
    word: ClassVar[str] = "avg_pool"


@dataclass(frozen=True)
class AdaptiveAvgPool2d(_AdaptivePool):
    """Means over as many windows as the output has positions, which together cover a (channels, height, width) map.

    Along each axis window i goes from floor(i n / output_size) to ceil((i + 1) n / output_size), as in torch.
    ``GlobalAvgPool`` gives one mean per channel, without axes of space.

    Args:
        output_size: height and width of the output, an int or two.
    """

    space: ClassVar[int] = 2
    word: ClassVar[str] = "avg_pool"


@dataclass(frozen=True)
class AdaptiveMaxPool1d(_AdaptivePool):
    """Maxima over the windows of ``AdaptiveAvgPool1d``; the gradient goes to the first maximum.

    Args:
        output_size: length of the output, an int.
    """

    space: ClassVar[int] = 1
    word: ClassVar[str] = "max_pool"


@dataclass(frozen=True)
class AdaptiveMaxPool2d(_AdaptivePool):
    """Maxima over the windows of ``AdaptiveAvgPool2d``; the gradient goes to the first maximum, row by row.

    Args:
        output_size: height and width of the output, an int or two.
    """

    space: ClassVar[int] = 2
    word: ClassVar[str] = "max_pool"


@dataclass(frozen=True)
class GlobalAvgPool(Resizing):
    """The mean of each channel of a map: (channels, *space) -> (channels,), for any number of axes of space.

    It is ``AdaptiveAvgPool2d(1)`` followed by ``Flatten``, as before the last Linear of a ResNet.
    """

    def out_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ShapeError(f"GlobalAvgPool: samples of shape {shape}, expected (channels, *space)")
        return shape[:1]

    def _resized(self, engine: Engine, maps: Array) -> Any:
        return engine.xp.mean(maps, axis=tuple(range(2, maps.ndim)))

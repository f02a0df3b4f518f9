"""Layers that change the size of maps without weights: adaptive and global pooling, upsampling, padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Dict, List, Literal, Optional, Tuple, Union, cast, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import float64
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Tree, layer_name, over_time
from spikecore.api.core.sizes import Sizes, is_size, map_names, spread
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.spatial import Spatial

Mode = Literal["nearest", "linear", "bilinear"]
AXES: Dict[str, int] = {"linear": 1, "bilinear": 2}  # modes for maps with so many axes of space
MOST = 3  # axes of space
Whole = Tuple[int, ...]


class _Resizing(Spatial):
    """A layer over maps without parameters."""

    space: ClassVar[int] = 0

    def _check(self, shape: Shape) -> None:
        if len(shape) != 1 + self.space:
            expected = map_names("channels", self.space)
            raise ShapeError(f"{layer_name(self)}: samples of shape {shape}, expected {expected}")

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, self.out_shape(shape))

    def _resized(self, engine: Engine, maps: Array) -> Any:
        """The output for maps (batch, channels, *space)."""
        raise NotImplementedError

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return over_time(engine.xp, lambda flat: self._resized(engine, flat), x), buffers


# ---- adaptive pooling ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _AdaptivePool(_Resizing):
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
        """Where the windows along each axis begin and end: from floor(i n / out) up to ceil((i + 1) n / out)."""
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
        for axis, windows in enumerate(self.windows(maps.shape[2:])):
            before, parts = (slice(None),) * (2 + axis), []
            for start, stop in windows:
                kernel = tuple(stop - start if i == axis else 1 for i in range(self.space))
                parts.append(pool(maps[(*before, slice(start, stop), ...)], kernel, kernel, zeros))
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
class GlobalAvgPool(_Resizing):
    """The mean of each channel of a map: (channels, *space) -> (channels,), for any number of axes of space.

    It is ``AdaptiveAvgPool2d(1)`` with a ``Flatten`` behind it, as before the last Linear of a ResNet.
    """

    def out_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ShapeError(f"GlobalAvgPool: samples of shape {shape}, expected (channels, *space)")
        return shape[:1]

    def _resized(self, engine: Engine, maps: Array) -> Any:
        return engine.xp.mean(maps, axis=tuple(range(2, maps.ndim)))


# ---- upsampling ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upsample(_Resizing):
    """Maps of another size, by repetition or by interpolation, as in torch.

    Output position i of m, from a map with n positions along an axis:

        "nearest"               the value at floor(i n / m)
        "linear", "bilinear"    between the two values around (i + 1/2) n / m - 1/2, by distance; not beyond the border
        with align_corners      around i (n - 1) / (m - 1): first and last positions stay where they are

    Repeated spikes are spikes; interpolated ones are numbers between 0 and 1.

    Args:
        size: size of the output, an int or one per axis of space; None: ``scale_factor`` gives it.
        scale_factor: how many times larger the output is, an int or one per axis; None: ``size`` gives it.
        mode: "nearest", for maps with any number of axes, "linear" for (channels, length), "bilinear" for (channels,
            height, width); default "nearest".
        align_corners: see above; default False. Only for interpolation.

    Shapes: x (time, batch, channels, *space).

    Raises:
        ValueError: not exactly one of ``size`` and ``scale_factor`` is given; a size is not an int >= 1, an unknown
            mode, or ``align_corners`` with "nearest".
        ShapeError: samples have another number of axes.
    """

    size: Optional[Sizes] = None
    scale_factor: Optional[Sizes] = None
    mode: Mode = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        if (self.size is None) == (self.scale_factor is None):
            raise ValueError(
                f"Upsample: give either size or scale_factor, not size={self.size!r}, "
                f"scale_factor={self.scale_factor!r}"
            )
        if self.mode not in get_args(Mode):
            raise ValueError(f"Upsample: mode={self.mode!r} must be one of {', '.join(map(repr, get_args(Mode)))}")
        if self.align_corners and self.mode == "nearest":
            raise ValueError("Upsample: align_corners=True is for mode='linear' and 'bilinear', not for 'nearest'")
        for name in ("size", "scale_factor"):
            object.__setattr__(self, name, self._checked(name, getattr(self, name)))

    def _checked(self, name: str, value: Any) -> Union[None, int, Whole]:
        if isinstance(value, (tuple, list)):
            return spread("Upsample", name, value, AXES.get(self.mode) or min(max(len(value), 1), MOST), 1)
        if value is not None and not is_size(value, 1):
            hint = "; write size=(...) for another ratio" if name == "scale_factor" else ""
            raise ValueError(f"Upsample: {name}={value!r} must be an int or one int per axis, each >= 1{hint}")
        return cast(Optional[int], value)

    def _given(self) -> Any:
        return self.scale_factor if self.size is None else self.size

    def _space(self, space: Shape) -> Shape:
        """The size of the output."""
        given = self._given()
        each = given if isinstance(given, tuple) else (given,) * len(space)
        return each if self.size is not None else tuple(n * m for n, m in zip(space, each))

    def out_shape(self, shape: Shape) -> Shape:
        given = self._given()
        axes = len(given) if isinstance(given, tuple) else AXES.get(self.mode)
        if len(shape) < 2 or axes not in (None, len(shape) - 1):
            expected = "(channels, *space)" if axes is None else map_names("channels", axes)
            raise ShapeError(f"Upsample: samples of shape {shape}, expected {expected}")
        return (shape[0], *self._space(shape[1:]))

    def _resized(self, engine: Engine, maps: Array) -> Any:
        space = tuple(maps.shape[2:])
        out = self._space(space)
        if self.mode == "nearest" and not any(m % n for m, n in zip(out, space)):
            return _repeated(engine.xp, maps, out)
        for axis, (n, m) in enumerate(zip(space, out), start=2):
            if n != m:
                weight = engine.asarray(_interpolation(self.mode, n, m, self.align_corners))
                maps = _along(engine.xp, maps, weight, axis)
        return maps


def _repeated(xp: Vocabulary, maps: Array, out: Shape) -> Any:
    """Maps whose positions stand there a whole number of times along each axis."""
    space, first = tuple(maps.shape[2:]), tuple(maps.shape[:2])
    narrow = tuple(k for n in space for k in (n, 1))
    wide = tuple(k for n, m in zip(space, out) for k in (n, m // n))
    return xp.reshape(xp.broadcast_to(xp.reshape(maps, (*first, *narrow)), (*first, *wide)), (*first, *out))


def _along(xp: Vocabulary, maps: Array, weight: Array, axis: int) -> Any:
    """Maps whose positions along an axis are weighted sums: ``weight`` (out, n)."""
    last = maps.ndim - 1
    turned = tuple(last if i == axis else axis if i == last else i for i in range(maps.ndim))  # its own inverse
    moved = xp.permute_dims(maps, turned)
    sums = xp.linear(xp.reshape(moved, (-1, weight.shape[1])), weight, None)
    return xp.permute_dims(xp.reshape(sums, (*moved.shape[:-1], weight.shape[0])), turned)


@lru_cache(maxsize=64)
def _interpolation(mode: str, n: int, out: int, align_corners: bool) -> Any:
    """What each of ``out`` positions takes of each of n, as a NumPy array (out, n)."""
    rows = []
    for i in range(out):
        row = [0.0] * n
        if mode == "nearest":
            row[i * n // out] = 1.0
        else:
            place = i * (n - 1) / max(1, out - 1) if align_corners else max(0.0, (i + 0.5) * n / out - 0.5)
            low = min(int(place), n - 1)
            share = place - low
            row[low] += 1.0 - share
            row[min(low + 1, n - 1)] += share
        rows.append(row)
    return float64(rows)


# ---- padding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ZeroPad(_Resizing):
    """Base of ``ZeroPad1d`` and ``ZeroPad2d``."""

    padding: Sizes

    def __post_init__(self) -> None:
        sides = spread(layer_name(self), "padding", self.padding, 2 * self.space, 0)
        object.__setattr__(self, "padding", sides)

    def _borders(self) -> Tuple[Whole, ...]:
        """Before and behind, axis by axis: torch's order has the last axis first."""
        sides = cast(Whole, self.padding)
        return tuple(sides[2 * i : 2 * i + 2] for i in reversed(range(self.space)))

    def out_shape(self, shape: Shape) -> Shape:
        self._check(shape)
        return (shape[0], *(n + sum(border) for n, border in zip(shape[1:], self._borders())))

    def _resized(self, engine: Engine, maps: Array) -> Any:
        return engine.xp.pad(maps, ((0, 0), (0, 0), *self._borders()))


@dataclass(frozen=True)
class ZeroPad1d(_ZeroPad):
    """Zeros before and behind a (channels, length) map.

    Args:
        padding: how many, an int or (left, right), each >= 0.
    """

    space: ClassVar[int] = 1


@dataclass(frozen=True)
class ZeroPad2d(_ZeroPad):
    """Zeros around a (channels, height, width) map.

    Args:
        padding: how many, an int or (left, right, top, bottom), each >= 0.
    """

    space: ClassVar[int] = 2

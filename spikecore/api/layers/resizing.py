"""Layers that make maps larger without weights: upsampling, padding. Adaptive pooling makes them smaller."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Dict, Literal, Optional, Tuple, Union, cast, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import float64
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Tree, as_batch, layer_name
from spikecore.api.core.sizes import Sizes, is_size, map_names, spread
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.spatial import Spatial

Mode = Literal["nearest", "linear", "bilinear", "trilinear"]
AXES: Dict[str, int] = {"linear": 1, "bilinear": 2, "trilinear": 3}  # modes for maps with so many axes of space
MOST = 3  # axes of space
Whole = Tuple[int, ...]


class Resizing(Spatial):
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
        return as_batch(engine.xp, lambda flat: self._resized(engine, flat), x), buffers


# ---- upsampling ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upsample(Resizing):
    """Maps of another size, by repetition or by interpolation, as in torch.

    Output position i of m, from a map with n positions along an axis:

        "nearest"               the value at floor(i n / m)
        "linear" and others     between the two values around (i + 1/2) n / m - 1/2, by distance; not beyond the border
        with align_corners      around i (n - 1) / (m - 1): first and last positions stay where they are

    Repeated spikes are spikes; interpolated ones are numbers between 0 and 1.

    Args:
        size: size of the output, an int or one per axis of space; None: ``scale_factor`` gives it.
        scale_factor: how many times larger the output is, an int or one per axis; None: ``size`` gives it.
        mode: "nearest", for maps with any number of axes, "linear" for (channels, length), "bilinear" for (channels,
            height, width), "trilinear" for (channels, depth, height, width); default "nearest".
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
            raise ValueError("Upsample: align_corners=True is for interpolation, not for mode='nearest'")
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
    """Maps enlarged to size ``out``, a multiple of theirs along each axis, by repeating each position."""
    space, first = tuple(maps.shape[2:]), tuple(maps.shape[:2])
    narrow = tuple(k for n in space for k in (n, 1))
    wide = tuple(k for n, m in zip(space, out) for k in (n, m // n))
    return xp.reshape(xp.broadcast_to(xp.reshape(maps, (*first, *narrow)), (*first, *wide)), (*first, *out))


def _along(xp: Vocabulary, maps: Array, weight: Array, axis: int) -> Any:
    """Maps resized along one axis: each new position is a weighted sum of the old ones, ``weight`` (out, n)."""
    last = maps.ndim - 1
    turned = tuple(last if i == axis else axis if i == last else i for i in range(maps.ndim))  # its own inverse
    moved = xp.permute_dims(maps, turned)
    sums = xp.linear(xp.reshape(moved, (-1, weight.shape[1])), weight, None)
    return xp.permute_dims(xp.reshape(sums, (*moved.shape[:-1], weight.shape[0])), turned)


@lru_cache(maxsize=64)
def _interpolation(mode: str, n: int, out: int, align_corners: bool) -> Any:
    """Share of each of n positions in each of ``out`` positions, as a NumPy array (out, n)."""
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
class _ZeroPad(Resizing):
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

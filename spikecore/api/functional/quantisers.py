"""Grids of integers: numbers rounded to an integer of a few bits times a scale, for weights, parameters and states.

    q(x) = scale clip(floor(x / scale + 1/2), lowest, highest)

Every grid is written as these words, in this order: multiply by 1/scale, add 1/2, floor, clip, multiply by the scale.
Where the scale is a power of two, the first and the last of them are exact, so a program in integers that rounds the
same way has the same values. The derivative is the straight-through estimator: one by x where the rounded integer is on
the grid, zero where it was clipped.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Tuple, Union, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.messages import unknown
from spikecore.api.core.words import Array, Vocabulary
from spikecore.arguments import Checked, argument_kind, is_number
from spikecore.printing import Concise

#: Scales that are not given are within these bounds.
SMALLEST, LARGEST = 2.0**-40, 2.0**23
Scale = Literal["max", "learned"]
Per = Literal["tensor", "channel"]


@dataclass(frozen=True)
class Grid(Concise, Checked, abc.ABC):
    """Base of the grids: the integers from ``lowest`` to ``highest`` times a scale.

    Args:
        bits: number of bits of the integers.
    """

    bits: int

    most: ClassVar[int] = 24  # a float32 holds every integer of so many bits

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 2 <= self.bits <= self.most:
            raise ValueError(f"{type(self).__name__}: bits={self.bits!r} must be an int in [2, {self.most}]")

    @property
    @abc.abstractmethod
    def limits(self) -> Tuple[int, int]:
        """The lowest and the highest integer."""

    @property
    def learns(self) -> bool:
        """Whether the scale is a parameter."""
        return False

    @abc.abstractmethod
    def scale_of(self, engine: Engine, x: Array, axis: int = 0, learned: Any = None) -> Any:
        """The scale on which ``quantised`` puts an array: a number, or an array that broadcasts to x.

        Args:
            engine: the engine of x.
            x: the array.
            axis: the axis of x that runs over output channels.
            learned: the parameter, if the scale is learned.
        """

    def quantised(self, engine: Engine, x: Array, axis: int = 0, learned: Any = None) -> Any:
        """The nearest values on the grid, with the straight-through derivative; arguments as for ``scale_of``."""
        scale = self.scale_of(engine, x, axis, learned)
        return self.integers(engine, x, scale) * scale

    def integers(self, engine: Engine, x: Array, scale: Any) -> Any:
        """The integers of ``quantised`` as floating-point numbers; ``scale``: from ``scale_of``."""
        return rounded(engine, x * (1.0 / scale) if type(scale) is float else x / scale, *self.limits)

    def number(self, value: float) -> float:
        """A constant on the grid."""
        return float(self.quantised(NUMBERS, value))  # type: ignore[arg-type]  # a number in place of an array


argument_kind(Grid, "a grid such as spikecore.compression.ScaledInteger(8)")


def rounded(engine: Engine, x: Array, lowest: int, highest: int) -> Any:
    """The nearest integers between two bounds, halves rounded up; the derivative is one where nothing was clipped."""
    xp = engine.xp
    nearest = xp.clip(xp.floor(x + 0.5), float(lowest), float(highest))
    through = xp.clip(x, lowest - 0.5, highest + 0.5)
    return engine.stop_gradient(nearest) + (through - engine.stop_gradient(through))


@dataclass(frozen=True)
class FixedPoint(Grid):
    """Fixed-point numbers: an integer of ``bits`` bits times 2^-fraction; values beyond the range saturate.

        q(x) = 2^-f clip(floor(2^f x + 1/2), -2^(bits-1), 2^(bits-1) - 1)

    It is for states, ``sc.Leaky(state_quant=compression.FixedPoint(16, 8))``, for inputs and biases of
    ``sc.Quantized``, and can be called on an array of any engine. Its derivative is one inside the range and zero
    beyond it.

    Args:
        bits: number of bits, 2 to 24, the sign included; default 16.
        fraction: f, how many of them are behind the binary point, -32 to 32; the step is 2^-f. Default 8.
        signed: whether there are negative values; False: from 0 to 2^bits - 1 steps. Default True.

    Raises:
        ValueError: ``bits`` or ``fraction`` is out of range.
    """

    bits: int = 16
    fraction: int = 8
    signed: bool = True

    _told: ClassVar[Tuple[str, ...]] = ("bits", "fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.fraction, int) or not -32 <= self.fraction <= 32:
            raise ValueError(f"FixedPoint: fraction={self.fraction!r} must be an int in [-32, 32]")

    @property
    def limits(self) -> Tuple[int, int]:
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    def scale_of(self, engine: Engine, x: Array, axis: int = 0, learned: Any = None) -> Any:
        return 2.0**-self.fraction

    @property
    def span(self) -> Tuple[float, float]:
        """The lowest and the highest value."""
        lowest, highest = self.limits
        return lowest * 2.0**-self.fraction, highest * 2.0**-self.fraction

    def __call__(self, x: Array) -> Any:
        """The quantised array, an array of the same engine as ``x``."""
        return self.apply(engine_of(x), x)

    def apply(self, engine: Engine, x: Array) -> Any:
        """The quantised array on a given engine."""
        return self.quantised(engine, x)


argument_kind(FixedPoint, "a spikecore.compression.FixedPoint")


@dataclass(frozen=True)
class ScaledInteger(Grid):
    """Integers of ``bits`` bits times a scale that follows the weights, is learned, or is given.

        q(w) = s clip(floor(w / s + 1/2), -n, n),   n = 2^(bits-1) - 1

    The scale s is one of these:

    - ``"max"``: max |w| / n of the weights as they are now, so that nothing is clipped; rounded up to a power of two
      unless ``power_of_two=False``. The derivative by the largest weight takes the scale into account; a power of two
      is constant.
    - ``"learned"``: a parameter named like the weight, with ``_scale`` appended, that begins at 2 mean |w| / sqrt(n).
      Its derivative is floor(w / s + 1/2) - w / s inside the range and the bound outside it, times 1 / sqrt(n N) for a
      weight of N entries. With ``power_of_two`` the nearest power of two is used, and the derivative goes to s as if it
      were s.
    - a number, or one per output channel.

    Two bits are ternary weights: -s, 0 and s.

    Args:
        bits: number of bits, 2 to 24; default 8.
        per: "tensor", the default: one scale; or "channel": one per output channel.
        scale: "max" (the default), "learned", a number > 0, or with ``per="channel"`` a tuple of them.
        power_of_two: whether scales that are computed are powers of two, so that integers and shifts give exactly the
            same values; default True.
        narrow: whether the lowest integer is -n; False: it is -n - 1. Default True.

    Raises:
        ValueError: an argument is out of range, or a given scale is no power of two although ``power_of_two`` is True.

    Source: Esser et al., Learned step size quantization, ICLR 2020; Jacob et al., Quantization and training of neural
    networks for efficient integer-arithmetic-only inference, CVPR 2018; Jain et al., Trained quantization thresholds
    for accurate and efficient fixed-point inference, MLSys 2020.
    """

    bits: int = 8
    per: Per = "tensor"
    scale: Union[Scale, float, Tuple[float, ...]] = "max"
    power_of_two: bool = True
    narrow: bool = True

    _told: ClassVar[Tuple[str, ...]] = ("bits",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per not in get_args(Per):
            raise ValueError(f"ScaledInteger: {unknown('per', self.per, get_args(Per))}")
        if isinstance(self.scale, str):
            if self.scale not in get_args(Scale):
                raise ValueError(f"ScaledInteger: {unknown('scale', self.scale, get_args(Scale))}")
            return
        if isinstance(self.scale, (list, tuple)):
            object.__setattr__(self, "scale", tuple(map(self._checked, self.scale)))
            if not self.scale:
                raise ValueError("ScaledInteger: scale=() has no number; give one per output channel")
            if self.per != "channel":
                raise ValueError(f"ScaledInteger: scale={self.scale!r} has several numbers; they need per='channel'")
        else:
            object.__setattr__(self, "scale", self._checked(self.scale))

    def _checked(self, value: Any) -> float:
        if not is_number(value) or not SMALLEST <= float(value) <= LARGEST:
            raise ValueError(f"ScaledInteger: scale={value!r} must be in [2^-40, 2^23]")
        if self.power_of_two and not float(value).hex().startswith("0x1.0000000000000p"):
            raise ValueError(
                f"ScaledInteger: scale={value!r} is no power of two; pass power_of_two=False if it need not be"
            )
        return float(value)

    @property
    def limits(self) -> Tuple[int, int]:
        highest = 2 ** (self.bits - 1) - 1
        return -highest - (not self.narrow), highest

    @property
    def learns(self) -> bool:
        return self.scale == "learned"

    def scale_of(self, engine: Engine, x: Array, axis: int = 0, learned: Any = None) -> Any:
        xp, highest = engine.xp, float(self.limits[1])
        if isinstance(self.scale, float):
            return self.scale
        if isinstance(self.scale, tuple):
            if not x.ndim or x.shape[axis] != len(self.scale):
                raise ValueError(f"ScaledInteger: {len(self.scale)} scales for axis {axis} of shape {tuple(x.shape)}")
            return _along(xp, engine.asarray(list(self.scale)), axis, x.ndim)
        if self.scale == "max":
            return self._fitting(xp, self._over(xp, "max", xp.abs(x), axis) / highest)
        return _along(xp, self._trained(xp, x, learned), axis, x.ndim)

    def first_scale(self, xp: Vocabulary, x: Array, axis: int = 0) -> Any:
        """The initial value of a learned scale: (), or (channels,)."""
        mean = self._over(xp, "mean", xp.abs(x), axis)
        return xp.reshape(xp.clip(2.0 * mean / self.limits[1] ** 0.5, SMALLEST, LARGEST), self.scale_shape(x, axis))

    def scale_shape(self, x: Array, axis: int = 0) -> Tuple[int, ...]:
        """The shape of a learned scale of ``x``."""
        return (x.shape[axis],) if self.per == "channel" and x.ndim else ()

    def _over(self, xp: Any, word: str, x: Any, axis: int) -> Any:
        """A statistic of the whole array, or of each channel; it broadcasts to x."""
        if not getattr(x, "ndim", 0):
            return x
        kept = (axis,) if self.per == "channel" else ()
        return getattr(xp, word)(x, axis=tuple(i for i in range(x.ndim) if i not in kept), keepdims=True)

    def _fitting(self, xp: Any, least: Any) -> Any:
        """The scale with steps of at least this size."""
        return power_of_two(xp, least) if self.power_of_two else xp.clip(least, SMALLEST, LARGEST)

    def _trained(self, xp: Any, x: Any, learned: Any) -> Any:
        """The scale in effect for the parameter ``learned``, whose derivative is scaled."""
        size = math.prod(x.shape) // math.prod(learned.shape)
        factor = (size * self.limits[1]) ** -0.5
        free = xp.clip(xp.abs(learned), SMALLEST, LARGEST)
        value = power_of_two(xp, free * 0.5**0.5) if self.power_of_two else free
        return xp.stop_gradient(value) + factor * (free - xp.stop_gradient(free))


#: The words that a grid needs, on numbers of Python: constants are rounded while a network is compiled, too.
NUMBERS = SimpleNamespace(
    stop_gradient=lambda x: x,
    xp=Vocabulary(
        abs=abs,
        clip=lambda x, low, high: min(max(x, low), high),
        floor=math.floor,
        where=lambda condition, x, y: x if condition else y,
        zeros_like=lambda x: 0.0,
    ),
)


def power_of_two(xp: Vocabulary, least: Array) -> Any:
    """The smallest power of two that is not below ``least``, between 2^-40 and 2^23, by exact comparisons."""
    below = xp.zeros_like(least) + SMALLEST / 2.0
    for exponent in (32, 16, 8, 4, 2, 1):
        higher = below * 2.0**exponent
        below = xp.where(higher < least, higher, below)
    return below * 2.0


def _along(xp: Any, scale: Any, axis: int, ndim: int) -> Any:
    """A scale (), or (channels,), shaped so that it broadcasts to an array whose channels are ``axis``."""
    if not scale.ndim:
        return scale
    return xp.reshape(scale, tuple(scale.shape[0] if i == axis else 1 for i in range(ndim)))

"""``Fixed``: numbers that are integers times a power of two, with the range of the integers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Tuple

import numpy as np

WIDTHS = 8, 16, 32, 64


@dataclass(frozen=True)
class Fixed:
    """Numbers n 2^-fraction with integers n from ``low`` to ``high``.

    Args:
        fraction: bits behind the binary point; negative for multiples of a power of two.
        low, high: the least and the largest integer.
    """

    fraction: int
    low: int
    high: int

    def at(self, fraction: int) -> Fixed:
        """The same numbers on a finer grid."""
        shift = fraction - self.fraction
        return Fixed(fraction, self.low << shift, self.high << shift)

    def union(self, *others: Fixed) -> Fixed:
        """The numbers of all, on the finest of their grids."""
        parts = aligned(self, *others)
        return Fixed(parts[0].fraction, min(p.low for p in parts), max(p.high for p in parts))

    @property
    def largest(self) -> int:
        """The largest magnitude of an integer."""
        return max(abs(self.low), abs(self.high))

    @property
    def width(self) -> int:
        """The bits of the smallest signed C type that has the integers: 8, 16, 32, 64; 0 where there is none."""
        fits = (w for w in WIDTHS if -(1 << (w - 1)) <= self.low and self.high < 1 << (w - 1))
        return next(fits, 0)

    @property
    def span(self) -> Tuple[float, float]:
        """The least and the largest number."""
        step = Fraction(2) ** -self.fraction
        return float(self.low * step), float(self.high * step)

    def rounds_in(self, dtype: str) -> bool:
        """Whether a floating-point type does not have all of these numbers."""
        digits = np.finfo(dtype).nmant + 1
        return self.largest > 1 << digits or self.fraction > -np.finfo(dtype).minexp


def aligned(*parts: Fixed) -> Tuple[Fixed, ...]:
    """All on the finest of their grids."""
    fraction = max(part.fraction for part in parts)
    return tuple(part.at(fraction) for part in parts)


def fixed(array: Any) -> Fixed:
    """The coarsest grid on which all numbers of an array are, and their range.

    Raises:
        ValueError: a number is not finite.
    """
    values = np.asarray(array, "float64")
    if not np.isfinite(values).all():
        raise ValueError("has numbers that are not finite")
    nonzero = values[values != 0.0]
    if not nonzero.size:
        return Fixed(0, 0, 0)
    mantissas, exponents = np.frexp(nonzero)
    whole = np.ldexp(mantissas, 53).astype("int64")
    trailing = np.frexp((whole & -whole).astype("float64"))[1] - 1
    fraction = int((53 - exponents - trailing).max())
    scale = Fraction(2) ** fraction
    return Fixed(fraction, *(int(Fraction(float(end)) * scale) for end in (values.min(), values.max())))


def integers(array: Any, fraction: int) -> np.ndarray:
    """The integers of the numbers of an array on a grid that has them, as int64."""
    return np.ldexp(np.asarray(array, "float64"), fraction).astype("int64")

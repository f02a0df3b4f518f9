"""Agreement of one gradient with another: the angle between them, their sizes and their difference."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

ALL = "all"  # the name of the comparison of all parameters together


class Agreement(NamedTuple):
    """A gradient g compared with the exact gradient e.

    Attributes:
        name: of the parameter; "all" for all parameters together.
        shape: of the parameter; () for all together.
        cosine: g e / (|g| |e|), 1 for the same direction; NaN if one of them is zero.
        ratio: |g| / |e|, 1 for the same size; NaN if e is zero.
        difference: |g - e| / |e|, the share of the exact gradient that is missing or wrong; 0 if both are zero, inf if
            only e is.
    """

    name: str
    shape: Tuple[int, ...]
    cosine: float
    ratio: float
    difference: float


def agreement(name: str, found: Any, exact: Any) -> Agreement:
    """One gradient compared with the exact one, NumPy arrays of the same shape."""
    return _from_sums(name, tuple(exact.shape), _sums(found, exact))


def agreements(found: Mapping[str, Any], exact: Mapping[str, Any]) -> List[Agreement]:
    """Gradients by parameter compared with the exact ones; the last entry is for all parameters together."""
    sums = {name: _sums(found[name], exact[name]) for name in exact}
    rows = [_from_sums(name, tuple(exact[name].shape), each) for name, each in sums.items()]
    return [*rows, _from_sums(ALL, (), _together(sums))]


class _GradientProducts(NamedTuple):
    """Products of two gradients that were divided by ``scale``, so that no square is too large or too small."""

    scale: float
    product: float
    found: float
    exact: float
    difference: float


def _sums(found: Any, exact: Any) -> _GradientProducts:
    largest = max((float(abs(g).max()) for g in (found, exact) if g.size), default=0.0)
    scale = largest if 0.0 < largest < math.inf else 1.0
    g, e = found / scale, exact / scale
    return _GradientProducts(scale, *(float((a * b).sum()) for a, b in ((g, e), (g, g), (e, e), (g - e, g - e))))


def _together(sums: Dict[str, _GradientProducts]) -> _GradientProducts:
    scale = max((each.scale for each in sums.values() if each.found > 0.0 or each.exact > 0.0), default=1.0)
    parts = [[value * (each.scale / scale) ** 2 for value in each[1:]] for each in sums.values()]
    return (
        _GradientProducts(scale, *(math.fsum(column) for column in zip(*parts)))
        if parts
        else _GradientProducts(1.0, 0.0, 0.0, 0.0, 0.0)
    )


def _from_sums(name: str, shape: Tuple[int, ...], sums: _GradientProducts) -> Agreement:
    found, exact, difference = (math.sqrt(square) for square in sums[2:])
    cosine = sums.product / (found * exact) if found > 0.0 and exact > 0.0 else math.nan
    if exact == 0.0:
        return Agreement(name, shape, cosine, math.nan, 0.0 if found == 0.0 else math.inf)
    return Agreement(name, shape, cosine, found / exact, difference / exact)

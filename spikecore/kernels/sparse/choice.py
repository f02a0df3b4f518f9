"""Whether a convolution is faster by its spikes than as a dense product.

What is estimated are nanoseconds of one core for one position of the output. Only their ratio matters, which is much
the same for CPUs of other widths. The choice depends on shapes and on the number of spikes alone: the same input gives
the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spikecore.kernels.sparse.patches import MOST, Geometry, Plan

SAMPLE = 1 << 16  # elements that are looked at before all are
DENSE = 50.0  # multiplications in a nanosecond, of libraries at their best
MARGIN = 1.1  # the estimate may be wrong by as much
GAIN = 2e6  # nanoseconds to win, for which it is worth to find out


def sampled_rate(matrix: Any) -> float:
    """About which part of a matrix is not zero, from some of its rows, evenly spaced."""
    rows, columns = matrix.shape
    count = max(1, min(rows, SAMPLE // max(1, columns)))
    some = matrix[np.arange(count) * rows // count, :SAMPLE]
    return float(np.count_nonzero(some) / max(1, some.size))


def forward_gains(geometry: Geometry, plan: Plan, filters: int, samples: int, rate: float) -> bool:
    """Whether a convolution of so many samples is faster by its spikes, a part ``rate`` of all elements."""
    if plan.rows >= MOST:
        return False
    packing = 0.25 * math.prod(geometry.shape) / plan.positions
    sparse = MARGIN * (packing + _by_lists(geometry, plan, filters, rate, 0.9, 0.55))
    dense = _dense(plan, filters, geometry.groups)
    return sparse < dense and (dense - sparse) * samples * plan.positions >= GAIN


def gradient_gains(geometry: Geometry, plan: Plan, filters: int, rate: float) -> bool:
    """The same for the gradient by the weight, once bits are there."""
    sparse = _by_lists(geometry, plan, filters, rate, 1.9, 0.6) + 0.08 * len(plan.place) * geometry.groups
    return MARGIN * sparse < _dense(plan, filters, geometry.groups)


def _by_lists(geometry: Geometry, plan: Plan, filters: int, rate: float, each: float, lanes: float) -> float:
    """Making lists, and for each of their entries a part that depends on the number of filters and one that does not."""
    words, pieces = int(plan.numbers[15]), int(plan.numbers[16])
    entry = each + lanes * math.ceil(filters / geometry.groups / 16)
    return geometry.groups * (12.0 + 4.5 * words + 1.5 * pieces + rate * len(plan.place) * entry)


def _dense(plan: Plan, filters: int, groups: int) -> float:
    return len(plan.place) * groups * math.ceil(filters / groups / 16) * 16 / DENSE

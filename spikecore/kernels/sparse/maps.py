"""Convolutions of maps of spikes, dense, by lists, or spike by spike: whichever is expected to take less time.

Which one it is depends on the maps' values and shapes alone, not on earlier calls or on threads. The same operands
therefore always give the same bits. Where no spike meets a weight, the weight is not read, not even if it is infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

import numpy as np

from spikecore.api.core.windows import window_counts
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sizes import has_numba, times_larger
from spikecore.kernels.sparse import scatter
from spikecore.kernels.sparse.patches import MOST, Geometry, PatchPlan, Sizes, plan_of
from spikecore.kernels.sparse.product import note, sampled_rate

GUESSED, COUNTED = 0.8, 0.9  # lists must take less than this part of the dense convolution's time
LEAST = 1 << 22  # multiplications from which on it is worth to think about it
WORTH = 1e6  # nanoseconds to win at most, for which it is worth to look at the values
# Nanoseconds on one core of an AMD EPYC of 2023. Only their ratios matter, and these differ less between machines.
DENSE, LANES = 0.02, 16  # a multiplication of a library's convolution; filters are taken so many at once
PACK, POSITION, WORDS, PIECE = 0.25, 12.0, 4.0, 1.0  # bits of an element; lists: a position, its words, runs of bits
FORWARD, BACKWARD = (0.9, 0.55), (1.9, 0.6)  # a spike under the kernel: once, and for every 16 filters
TAP = 0.08  # a tap, in the gradient by the weight
GRADED = 2.4  # a spike that is not one takes so many times as long


@dataclass(frozen=True)
class SpikeMaps:
    """Maps that are zero almost everywhere, and what a convolution does with them.

    Args:
        shape: (samples, channels, *space).
        weight_shape: (filters, channels of a group, *kernel).
        geometry: of the convolution.
        bits: where the maps are not zero, a row for each sample in the order of its memory.
        values: the samples as a matrix; None where all that is not zero is one.
    """

    shape: Tuple[int, ...]
    weight_shape: Tuple[int, ...]
    geometry: Geometry
    bits: Any
    values: Any

    def convolved(self, weight: Any, bias: Any) -> Any:
        """The convolution (samples, filters, *space), in memory with channels last; ``bias`` may be None."""
        if self._one_by_one(FORWARD):
            flat = scatter.convolve(self.bits, self.values, self.geometry, weight, bias)
        else:
            from spikecore.kernels.sparse.convolution import convolve

            flat = convolve(self.bits, self.values, plan_of(self.geometry), weight, bias, self.geometry.groups)
        space = self.geometry.out[4 - len(self.shape) :]
        return _channels_first(flat.reshape(len(flat), *space, len(weight)))

    @property
    def relative_time(self) -> float:
        """Time of ``convolved``, as a part of the dense convolution's."""
        plan, filters = plan_of(self.geometry), self.weight_shape[0]
        lists = _forward(self.geometry, plan, filters, self.bits.rate, self.values is None)
        return lists / _dense(self.geometry, plan, filters)

    @property
    def relative_time_by_weight(self) -> float:
        """Time of ``by_weight``, as a part of the dense gradient's."""
        plan, filters = plan_of(self.geometry), self.weight_shape[0]
        by_spikes = _by_spikes(self.geometry, plan, filters, self.bits.rate, self.values is None, BACKWARD)
        return by_spikes / _dense(self.geometry, plan, filters)

    def by_weight(self, g: Any) -> Any:
        """The gradient by the weight from that by the convolution; None where a dense one is faster."""
        plan, filters = plan_of(self.geometry), self.weight_shape[0]
        if self.relative_time_by_weight > COUNTED:
            return None
        rows = np.ascontiguousarray(_channels_last(g)).reshape(len(g), -1, filters)
        if self._one_by_one(BACKWARD):
            return scatter.by_weight(self.bits, self.values, self.geometry, rows).reshape(self.weight_shape)
        from spikecore.kernels.sparse.convolution import by_weight

        return by_weight(self.bits, self.values, plan, rows, self.geometry.groups).reshape(self.weight_shape)

    def _one_by_one(self, way: Any) -> bool:
        """Whether spikes one by one take less time than lists for each position."""
        given = self.geometry, plan_of(self.geometry), self.weight_shape[0], self.bits.rate
        return _one_by_one(*given, way) <= _lists(*given, self.values is None, way)

    def with_values(self, x: Any) -> SpikeMaps:
        """The same with the maps, if there are any."""
        values = None if x is None else _matrix(x, self.geometry.last)
        return SpikeMaps(self.shape, self.weight_shape, self.geometry, self.bits, values)

    def dense(self, dtype: Any) -> Any:
        """The maps."""
        from spikecore.kernels.sparse.bits import unpack

        flat, (samples, channels, *space) = self.values, self.shape
        if flat is None:
            flat = unpack(self.bits, dtype)
        if not self.geometry.last:
            return flat.reshape(self.shape)
        return _channels_first(flat.reshape(samples, *space, channels))


def spike_maps_of(
    x: Any,
    weight_shape: Tuple[int, ...],
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    threads: Optional[int] = None,
) -> Optional[SpikeMaps]:
    """Samples as maps of spikes, if lists make their convolution faster; None otherwise, and if operands do not fit.

    Args:
        x: a NumPy array (samples, channels, *space).
        weight_shape: (filters, channels of a group, *kernel).
        stride, padding, dilation: a number for each axis of space.
        groups: number of groups.
        threads: how many kernels may take from now on; None leaves it at what it is.
    """
    shape, axes, filters = x.shape, x.ndim - 2, weight_shape[0]
    if axes not in (1, 2) or len(weight_shape) != x.ndim or x.dtype.char not in "fd":
        return None
    if groups < 1 or shape[1] != weight_shape[1] * groups or filters % groups or not x.flags.aligned:
        return None
    out = window_counts(shape[2:], weight_shape[2:], stride, padding, dilation)
    if not x.size or min(out) < 1 or not has_numba():
        return None
    times, compared = times_larger(), times_larger() != 1.0  # a check goes the way that the whole may go
    if shape[0] * math.prod(out) * math.prod(weight_shape) * times < LEAST:
        return None
    last = _channels_last(x[:1]).flags.c_contiguous
    ones, zeros = (1,) * (2 - axes), (0,) * (2 - axes)
    sizes = (*ones, *weight_shape[2:]), (*ones, *stride), (*zeros, *padding), (*ones, *dilation)
    geometry = Geometry((shape[1], *ones, *shape[2:]), *sizes, groups, last)
    plan = plan_of(geometry)
    dense = _dense(geometry, plan, filters)
    gain = (dense - _forward(geometry, plan, filters, 0.0, True)) * shape[0] * times * plan.positions
    if gain < WORTH or plan.rows >= MOST:
        return None
    matrix = _matrix(x, last)
    guess = sampled_rate(matrix)
    if not compared and _forward(geometry, plan, filters, guess, True) > GUESSED * dense:
        note(guess, lists=False, counted=False)
        return None
    from spikecore.kernels.sparse.bits import pack

    if threads is not None:
        use_threads(threads)
    bits = pack(matrix)
    lists = compared or _forward(geometry, plan, filters, bits.rate, bits.binary) <= COUNTED * dense
    note(bits.rate, lists)
    if not lists:
        return None
    return SpikeMaps(tuple(shape), tuple(weight_shape), geometry, bits, None if bits.binary else matrix)


def _matrix(x: Any, last: bool) -> Any:
    """The memory of samples, a row without gaps for each."""
    rows = (_channels_last(x) if last else x).reshape(len(x), -1)
    return rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)


def _channels_last(x: Any) -> Any:
    return x.transpose(0, *range(2, x.ndim), 1)


def _channels_first(x: Any) -> Any:
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def _dense(geometry: Geometry, plan: PatchPlan, filters: int) -> float:
    """Time of a dense convolution, in nanoseconds per position."""
    return len(plan.place) * geometry.groups * LANES * math.ceil(filters / geometry.groups / LANES) * DENSE


def _forward(geometry: Geometry, plan: PatchPlan, filters: int, rate: float, binary: bool) -> float:
    """Time of a convolution by lists, in nanoseconds per position; ``rate``: part of the elements that are not zero."""
    packing = PACK * math.prod(geometry.shape) / plan.positions
    return packing + _by_spikes(geometry, plan, filters, rate, binary, FORWARD)


def _by_spikes(geometry: Geometry, plan: PatchPlan, filters: int, rate: float, binary: bool, way: Any) -> float:
    """The same without the bits, or that of the gradient by the weight; ``way`` is FORWARD or BACKWARD."""
    lists = _lists(geometry, plan, filters, rate, binary, way)
    return min(lists, _one_by_one(geometry, plan, filters, rate, way))


def _one_by_one(geometry: Geometry, plan: PatchPlan, filters: int, rate: float, way: Any) -> float:
    """The time spike by spike; infinite where there is no such way."""
    if not scatter.fits(geometry, filters):
        return math.inf
    return scatter.time(geometry, filters, rate, way is BACKWARD) / plan.positions


def _lists(geometry: Geometry, plan: PatchPlan, filters: int, rate: float, binary: bool, way: Any) -> float:
    """The time with lists."""
    words, pieces, (once, lanes) = int(plan.numbers[15]), int(plan.numbers[16]), way
    spikes = rate * len(plan.place) * (1.0 if binary else GRADED)
    each = (
        POSITION
        + WORDS * words
        + PIECE * pieces
        + spikes * (once + lanes * math.ceil(filters / geometry.groups / LANES))
    )
    return geometry.groups * (each + (TAP * len(plan.place) if way is BACKWARD else 0.0))

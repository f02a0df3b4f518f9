"""Convolutions with a weight that is mostly zeros, and their gradients by the input: see ``pruned.py`` for the sums.

The gradient by the input is the convolution of the gradient with the weight turned around, its filters and channels
exchanged. Only filters that move by one position at a time, in one group, are made so.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Tuple

import numpy as np

from spikecore.api.core.windows import window_counts
from spikecore.kernels.runtime import allocator
from spikecore.kernels.sizes import has_numba, times_larger
from spikecore.kernels.sparse.maps import DENSE, LANES, LEAST
from spikecore.kernels.sparse.product import GUESSED, sampled_rate
from spikecore.kernels.sparse.weights import COMPARED
from spikecore.kernels.sparse.words import WIDE

Sizes = Tuple[int, ...]
TOGETHER = 256  # positions of a panel, at least, where there are as many
# Nanoseconds, as those in product.py: an entry at a position, laying out an element or reading one, a call from Python.
ENTRY, ELEMENT, CALL = 0.056, 0.3, 150_000.0


def convolved(x: Any, weight: Any, bias: Any, padding: Sizes, dilation: Sizes, last: bool = False) -> Any:
    """The convolution of x (samples, channels, *space), in one or two dimensions, by the entries of the weight.

    Args:
        x: of any strides.
        weight: (filters, channels, *kernel).
        bias: (filters,); None is zero.
        padding: zeros before and behind each axis of space.
        dilation: positions from one tap to the next.
        last: whether channels are next to each other in the result's memory.

    Returns:
        (samples, filters, *space).
    """
    from spikecore.kernels.sparse.pruned import summing

    axes, filters, dtype = x.ndim - 2, len(weight), x.dtype
    space = window_counts(x.shape[2:], weight.shape[2:], (1,) * axes, padding, dilation)
    shape = (len(x), *space, filters) if last else (len(x), filters, *space)
    out = allocator.empty(shape, dtype)
    made = np.moveaxis(out, -1, 1) if last else out
    begin, index, factors = entries_of(np.ascontiguousarray(weight).reshape(filters, -1))
    kernel, padding, dilation = (_two(n, of) for n, of in ((weight.shape[2:], 1), (padding, 0), (dilation, 1)))
    tall, wide, together, length = _panel(len(x), _two(x.shape[2:], 1), _two(space, 1), padding)
    reach = (kernel[0] - 1) * dilation[0] * wide + (kernel[1] - 1) * dilation[1]
    plane = -(-(length + reach) // LANES) * LANES
    plane += LANES * (plane % 512 == 0)  # rows of channels begin in different sets of a cache
    places = _places(x.shape[1], kernel, dilation, wide, plane)
    begins = np.zeros(filters, dtype) if bias is None else np.ascontiguousarray(bias)
    apart, pads = tall * wide, (padding[0] * wide + padding[1], 0)
    ends = [lines_of(a, together, apart, (pad, wide)) for a, pad in zip((x, made), pads)]
    sizes = x.shape[1], x.shape[1], plane, length
    summing((begin, places[index], factors, 1), begins, sizes, ends)(x, out)
    return made


def entries_of(matrix: Any) -> Tuple[Any, Any, Any]:
    """Of the entries of a matrix that are not zero: where those of a row begin, their columns, and their values."""
    from spikecore.kernels.sparse.bits import pack
    from spikecore.kernels.sparse.lists import BLOCK, by_rows

    lists = by_rows(pack(matrix), matrix)
    parts = np.arange(len(lists.begin) - 1) % lists.blocks * BLOCK
    columns = lists.index + np.repeat(parts, np.diff(lists.begin))
    return np.ascontiguousarray(lists.begin[:: lists.blocks]), columns, lists.factors


def by_input(g: Any, weight: Any, padding: Sizes, dilation: Sizes, last: bool = False) -> Any:
    """The gradient by the input of a convolution from that by its result; arguments as for ``convolved``."""
    turned = np.flip(weight, tuple(range(2, weight.ndim))).swapaxes(0, 1)
    rest = tuple(d * (k - 1) - p for k, p, d in zip(weight.shape[2:], padding, dilation))
    return convolved(g, turned, None, rest, dilation, last)


def are_fewer(shape: Sizes, weight: Any, options: Tuple[Any, ...], most: float = GUESSED) -> bool:
    """Whether the entries of a weight that are not zero make a convolution, and the gradient by its input, faster: they
    take less than the part ``most`` of the dense convolution's time. A sample of them is looked at first.

    Args:
        shape: of the input, whose dtype is the weight's.
        weight: (filters, channels, *kernel).
        options: stride, padding and dilation, for each axis of space, and the number of groups.
        most: see above.
    """
    stride, padding, dilation, groups = options
    if len(shape) not in (3, 4) or len(shape) != weight.ndim or groups != 1 or set(stride) != {1} or not has_numba():
        return False
    if weight.dtype.name not in ("float32", "float64") or shape[1] != weight.shape[1] or 0 in shape:
        return False
    if any(p > d * (k - 1) for k, p, d in zip(weight.shape[2:], padding, dilation)):
        return False
    space = window_counts(shape[2:], weight.shape[2:], stride, padding, dilation)
    if min(space) < 1 or shape[0] * math.prod(space) * weight.size * times_larger() < LEAST:
        return False
    rate = sampled_rate(weight.reshape(len(weight), -1))
    if times_larger() != 1.0:
        return rate < COMPARED
    if relative_time(shape, space, weight.shape, padding, rate) > most:
        return False
    rate = float(np.count_nonzero(weight) / weight.size)
    return relative_time(shape, space, weight.shape, padding, rate) <= most


def relative_time(shape: Sizes, space: Sizes, weight: Sizes, padding: Sizes, rate: float) -> float:
    """Time of a convolution by the entries of a weight of which ``rate`` is not zero, as a part of the dense one's."""
    (filters, channels), samples = weight[:2], shape[0]
    *_, together, length = _panel(samples, _two(shape[2:], 1), _two(space, 1), _two(padding, 0))
    positions = -(-samples // together) * length
    entries = positions * rate * math.prod(weight) * ENTRY
    elements = positions * (channels + filters) * ELEMENT
    dense = samples * math.prod(space) * math.prod(weight[1:]) * LANES * -(-filters // LANES) * DENSE
    return (CALL + entries + elements) / dense


def _panel(samples: int, space: Sizes, out: Sizes, padding: Sizes) -> Sizes:
    """Of a panel: height and width of a sample with its padding, samples, and positions."""
    tall, wide = (n + 2 * p for n, p in zip(space, padding))
    together = max(1, min(samples, TOGETHER // (tall * wide)))
    positions = ((together - 1) * tall + out[0]) * wide  # what lies behind is not read
    return tall, wide, together, -(-positions // WIDE) * WIDE


@lru_cache(maxsize=64)
def _places(channels: int, kernel: Sizes, dilation: Sizes, wide: int, plane: int) -> Any:
    """Where in a panel each tap (channel, y, x) finds the element for the first position."""
    c, y, x = np.ogrid[:channels, : kernel[0], : kernel[1]]
    return (c * plane + y * dilation[0] * wide + x * dilation[1]).astype(np.uint32).reshape(-1)


def lines_of(maps: Any, together: int, apart: int, place: Tuple[int, int]) -> Any:
    """The lines of maps (samples, channels, *space) in panels of ``together`` samples, as ``Places``.

    Args:
        maps: an array, of which only shape and strides matter.
        together: samples of a panel.
        apart: positions from one sample to the next.
        place: the position of the first line, and how many lie between two lines.
    """
    strides = tuple(n // maps.itemsize for n in maps.strides)
    return _lines(len(maps), _two(maps.shape[2:], 1), strides[:2] + _two(strides[2:], 0), together, apart, place)


@lru_cache(maxsize=64)
def _lines(samples: int, space: Sizes, strides: Sizes, together: int, apart: int, place: Tuple[int, int]) -> Any:
    from spikecore.kernels.sparse.pruned import Places

    by_sample, by_channel, by_line, by_position = strides
    s, y = np.ogrid[:samples, : space[0]]
    at, begins = s * by_sample + y * by_line, s % together * apart + place[0] + y * place[1]
    lines = np.stack([at, begins, np.full_like(at, space[1])], -1).reshape(-1, 3).astype(np.int64)
    of_panel = np.minimum(np.arange(-(-samples // together) + 1) * together, samples) * space[0]
    return Places(lines, of_panel.astype(np.int64), by_channel, by_position)


def _two(sizes: Sizes, missing: int) -> Sizes:
    return (*(missing,) * (2 - len(sizes)), *sizes)

"""The gradient by a convolution's weight whose zeros are kept: only the taps that are there have one.

    gradient[f, tap] = sum of g[f, q - shift of the tap] over the positions q where the tap's channel spikes

Some samples are laid out one after another with their padding, as in ``pruned.py``: the spikes of a channel are a list
of positions, and a tap moves all of them by one number. What lies between the rows of g is zero. Every sum is taken in
the order of its list: threads do not change the bits.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import address
from spikecore.kernels.sparse.kept import LIST, SPIKE
from spikecore.kernels.sparse.maps import COUNTED, DENSE, LANES, SpikeMaps
from spikecore.kernels.sparse.patches import Geometry
from spikecore.kernels.sparse.product import keeps_zeros
from spikecore.kernels.sparse.pruned import LAYING
from spikecore.kernels.sparse.taps import entries_of, lines_of
from spikecore.kernels.sparse.words import TURN, digest

TOGETHER, MOST = 4096, 1 << 16  # positions of a panel, about, and at most
AT_ONCE = 16  # filters whose gradients are laid out

BEFORE = """
from spikecore.kernels.sparse.vectors import lowest, turn  # {digest}

numbers, whole, words, one = pointer_to("uint16"), pointer_to("int64"), pointer_to("uint64"), np.uint64(1)
{turn}{laying}"""
SOURCE = """\
def kept_taps(worker, workers, table):
    filters, channels, samples, together, apart, plane, slack, width, room = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6], table[7], table[8])
    begin, channel_of, shift_of, taps = whole(table[9]), whole(table[10]), whole(table[11]), whole(table[12])
    bits, channel_at, place_at = table[13], numbers(table[14]), numbers(table[15])
    lines, of_panel, by_channel, between = whole(table[16]), whole(table[17]), table[18], table[19]
    counts, lists = whole(table[20] + worker * channels * 8), numbers(table[21] + worker * channels * room * 2)
    g, out, step_out, panel = table[22], table[23], table[24], table[25] + worker * table[26] * SIZE
    low, high = worker * filters // workers, (worker + 1) * filters // workers
    for n in range((samples + together - 1) // together):
        for c in range(channels):
            counts[c] = 0
        for s in range(n * together, min(samples, n * together + together)):
            for w in range(width):
                word = words(bits + (s * width + w) * 8)[0]
                while word != 0:
                    k = w * 64 + lowest(word)
                    c = np.int64(channel_at[k])
                    lists[c * room + counts[c]] = np.uint16((s - n * together) * apart + np.int64(place_at[k]))
                    counts[c] += 1
                    word &= word - one
        for first in range(low, high, {at_once}):
            some = min({at_once}, high - first)
            lay_out(g + first * by_channel * SIZE, by_channel, between, panel, plane, some,
                    lines, of_panel[n], of_panel[n + 1])
            for f in range(some):
                into = row(out + (first + f) * step_out * SIZE)
                for t in range(begin[first + f], begin[first + f + 1]):
                    tap = taps[t]
                    c = channel_of[tap]
                    given = row(panel + (f * plane + slack - shift_of[tap]) * SIZE)
                    k, end = c * room, c * room + counts[c]
                    a, b, d, e = F(0.0), F(0.0), F(0.0), F(0.0)
                    while k + 4 <= end:
                        a += given[lists[k]]
                        b += given[lists[k + 1]]
                        d += given[lists[k + 2]]
                        e += given[lists[k + 3]]
                        k += 4
                    while k < end:
                        a += given[lists[k]]
                        k += 1
                    into[tap] += (a + b) + (d + e)
"""


def by_kept_taps(maps: SpikeMaps, weight: Any, g: Any) -> Any:
    """The gradient by a weight whose zeros are kept, by the taps that are there; None where another way is faster, and
    where a weight's zeros are not kept.

    Args:
        maps: the spikes that were convolved, all of them one.
        weight: (filters, channels, *kernel).
        g: the gradient by the convolution, (samples, filters, *space).
    """
    geometry, (samples, channels, *_), filters = maps.geometry, maps.shape, len(weight)
    if (
        not keeps_zeros(weight)
        or maps.values is not None
        or geometry.groups != 1
        or set(geometry.stride) != {1}
        or g.dtype != weight.dtype
    ):
        return None
    (tall, wide), together = _padded(geometry), _together(geometry, samples)
    if tall * wide > MOST or not g.flags.aligned:
        return None
    rate = float(np.count_nonzero(weight) / weight.size)
    if _time(maps, rate, filters) > COUNTED * min(1.0, maps.relative_time_by_weight):
        return None
    begin, taps, _ = entries_of(weight.reshape(filters, -1))
    kernel, dilation, dtype, workers = geometry.kernel, geometry.dilation, weight.dtype, most_threads()
    reach = (kernel[0] - 1) * dilation[0] * wide + (kernel[1] - 1) * dilation[1]
    slack, plane = -(-reach // LANES) * LANES, -(-(reach + together * tall * wide) // LANES) * LANES + LANES
    places = lines_of(g, together, tall * wide, (slack, wide))
    channel_of, shift_of = _taps(channels, kernel, dilation, wide)
    of_bit, place_of = _of_bits(geometry, wide)
    room = together * math.prod(geometry.shape[1:])
    counts, lists = np.zeros((workers, channels), np.int64), np.empty((workers, channels * room), np.uint16)
    out, panel = np.zeros((filters, weight[0].size), dtype), allocator.zeros((workers, AT_ONCE * plane), dtype)
    sizes = (filters, channels, samples, together, tall * wide, plane, slack, maps.bits.words.shape[1], room)
    held = (begin, channel_of, shift_of, taps, maps.bits.words, of_bit, place_of, places.lines, places.of_panel)
    numbers = (
        *sizes,
        *map(address, held),
        places.by_channel,
        places.apart,
        address(counts),
        address(lists),
        address(g),
    )
    _kernel(dtype.name)(workers, numbers, (out, panel))
    return out.reshape(weight.shape)


def _time(maps: SpikeMaps, rate: float, filters: int) -> float:
    """Time of the gradient, as a part of the dense one's."""
    geometry, samples = maps.geometry, maps.shape[0]
    positions, taps = math.prod(geometry.out), math.prod(maps.weight_shape[1:])
    entries, elements = rate * taps * filters, samples * math.prod(geometry.shape)
    panels, spikes = -(-samples // _together(geometry, samples)), maps.bits.rate * elements
    lists = entries * (panels * LIST + spikes / geometry.shape[0] * SPIKE) + spikes * 3.0 + elements * 0.02
    dense = samples * positions * taps * LANES * -(-filters // LANES) * DENSE
    return (100_000.0 + lists + samples * positions * filters * 0.5) / dense


def _padded(geometry: Geometry) -> Tuple[int, int]:
    (_, tall, wide), (pad_y, pad_x) = geometry.shape, geometry.padding
    return tall + 2 * pad_y, wide + 2 * pad_x


def _together(geometry: Geometry, samples: int) -> int:
    """How many samples are in a panel."""
    return max(1, min(samples, TOGETHER // math.prod(_padded(geometry))))


@lru_cache(maxsize=64)
def _taps(channels: int, kernel: Tuple[int, ...], dilation: Tuple[int, ...], wide: int) -> Tuple[Any, Any]:
    """Of each tap its channel, and by how much it moves positions."""
    c, y, x = (np.arange(n) for n in (channels, *kernel))
    shifts = (y[:, None] * dilation[0] * wide + x * dilation[1]).reshape(-1)
    return np.repeat(c, len(shifts)), np.tile(shifts, channels)


@lru_cache(maxsize=64)
def _of_bits(geometry: Geometry, wide: int) -> Tuple[Any, Any]:
    """Of each bit of a sample its channel, and its position in a panel."""
    c, y, x = np.indices(geometry.shape).reshape(3, *geometry.shape)
    place = (y + geometry.padding[0]) * wide + x + geometry.padding[1]
    order = (1, 2, 0) if geometry.last else (0, 1, 2)
    of_bit, place_of = (np.ascontiguousarray(a.transpose(order)).reshape(-1).astype(np.uint16) for a in (c, place))
    return of_bit, place_of


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the gradient."""
    before = BEFORE.format(digest=digest(), turn=TURN, laying=LAYING)
    return recipe_of_run(SOURCE.format(at_once=AT_ONCE), "kept_taps", dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Any:
    return kernel_of(recipe(dtype), dtype)

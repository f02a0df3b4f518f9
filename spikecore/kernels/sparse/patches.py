"""Patches of spikes: for each position of a convolution's output, the taps of the kernel that meet a spike.

The bits of a sample are laid out with its padding and with channels last. What a kernel meets at a position is then a
few runs of bits, one for each row of the kernel; a *plan* says where they are and which row of the weight, as a matrix
(taps, filters), belongs to each bit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from spikecore.api.core.windows import window_counts
from spikecore.kernels.sparse.words import WORD

Sizes = Tuple[int, ...]
MOST = 1 << 14  # taps; so many lists of positions are still of some megabytes


class Geometry(NamedTuple):
    """The geometry of a convolution on one sample.

    Args:
        shape: (channels, height, width); (channels, 1, length) in one dimension.
        kernel, stride, padding, dilation: of the kernel, for height and width.
        groups: into how many parts channels and filters are divided.
        last: whether the channels of a pixel are next to each other in memory.
    """

    shape: Sizes
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int
    last: bool

    @property
    def out(self) -> Sizes:
        """Height and width of the output."""
        return _out(self)


@lru_cache(maxsize=128)
def _out(geometry: Geometry) -> Sizes:
    return window_counts(geometry.shape[1:], geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)


class PatchPlan(NamedTuple):
    """A geometry as kernels read it.

    Args:
        numbers: see ``plan_of`` for their order.
        rows: rows of the weight as a matrix, some of them not in use.
        place: for each tap, in the order of the weight (channel, y, x), its row.
        placed: words that the bits of a sample take with padding.
        positions: of the output.
    """

    numbers: Any
    rows: int
    place: Any
    placed: int
    positions: int


@lru_cache(maxsize=128)
def plan_of(geometry: Geometry) -> PatchPlan:
    """Make the plan of a geometry."""
    (channels, height, width), (pad_y, pad_x), groups = geometry.shape, geometry.padding, geometry.groups
    padded_width, inputs = width + 2 * pad_x, channels // groups
    pieces, tap_at = _pieces(geometry, padded_width, inputs)
    words = 1 + pieces[-1][3]
    by_y, by_x, by_channel = (width * channels, channels, 1) if geometry.last else (width, 1, height * width)
    elements, place = np.zeros(words * WORD, np.int64), np.zeros((inputs, *geometry.kernel), np.int64)
    for (c, i, j), row in tap_at.items():
        y, x = i * geometry.dilation[0] - pad_y, j * geometry.dilation[1] - pad_x
        elements[row], place[c, i, j] = y * by_y + x * by_x + c * by_channel, row
    lines = (height, width) if pad_y or pad_x else (1, height * width)
    placed = -(-(height + 2 * pad_y) * padded_width * channels // WORD) + 1
    out, (step_y, step_x) = geometry.out, geometry.stride
    first = np.searchsorted([word for *_, word in pieces], range(words + 1))
    header = [
        *(math.prod(out), out[1], channels, *lines, pad_y, pad_x, int(geometry.last), placed),  # 0 to 8
        *(
            step_y * padded_width * channels,
            step_x * channels,
            inputs,
            step_y * by_y,
            step_x * by_x,
            inputs * by_channel,
        ),  # to 14
        *(words, len(pieces)),
    ]
    masks = np.array([2**length - 1 for _, length, _, _ in pieces], np.uint64).view(np.int64)
    offsets, shifts = [piece[0] for piece in pieces], [piece[2] for piece in pieces]
    numbers = np.concatenate([header, first, offsets, masks, shifts, elements]).astype(np.int64)
    return PatchPlan(numbers, words * WORD, place.reshape(-1), placed, math.prod(out))


def _pieces(geometry: Geometry, wide: int, own: int) -> Tuple[List[Sizes], Dict[Sizes, int]]:
    """Runs of bits that a patch consists of, none of which goes beyond a word, and the row of each tap.

    A run is (its offset from the first bit of the patch, its length, its place in a word, the word).
    """
    channels, (rows, columns), (by_y, by_x) = geometry.shape[0], geometry.kernel, geometry.dilation
    together = columns if geometry.groups == 1 and by_x == 1 else 1  # taps of a row without gaps between them
    pieces: List[Sizes] = []
    tap_at: Dict[Sizes, int] = {}
    word = used = 0
    for i in range(rows):
        for j in range(0, columns, together):
            begin, length = (i * by_y * wide + j * by_x) * channels, together * own
            for k in range(0, length, WORD):
                size = min(WORD, length - k)
                if used + size > WORD:
                    word, used = word + 1, 0
                pieces.append((begin + k, size, used, word))
                for bit in range(size):
                    tap_at[(k + bit) % own, i, j + (k + bit) // own] = word * WORD + used + bit
                used += size
    return pieces, tap_at


FUNCTIONS = """
from spikecore.kernels.sparse.vectors import adder, lowest, ones  # {digest}

words, whole, numbers = pointer_to("uint64"), pointer_to("int64"), pointer_to("uint16")
one, all_ones = np.uint64(1), ~np.uint64(0)
{add}

@njit(error_model="numpy", forceinline=True)
def some(bits, at, length):
    n, shift = at >> 6, at & 63
    word = bits[n] >> np.uint64(shift)
    if shift + length > 64:
        word |= bits[n + 1] << np.uint64(64 - shift)
    return word & (all_ones >> np.uint64(64 - length))


@njit(error_model="numpy", forceinline=True)
def lay_out(plan, given, placed):
    channels, height, width, pad_y, pad_x = plan[2], plan[3], plan[4], plan[5], plan[6]
    for n in range(plan[8]):
        placed[n] = np.uint64(0)
    if plan[7] != 0:
        line, wide = width * channels, (width + 2 * pad_x) * channels
        for y in range(height):
            into = (y + pad_y) * wide + pad_x * channels
            for k in range(0, line, 64):
                word = some(given, y * line + k, min(64, line - k))
                n, shift = (into + k) >> 6, (into + k) & 63
                placed[n] |= word << np.uint64(shift)
                placed[n + 1] |= (word >> one) >> np.uint64(63 - shift)
        return
    for c in range(channels):
        for y in range(height):
            line, into = (c * height + y) * width, ((y + pad_y) * (width + 2 * pad_x) + pad_x) * channels + c
            for k in range(0, width, 64):
                word = some(given, line + k, min(64, width - k))
                while word != 0:
                    at = into + (k + lowest(word)) * channels
                    placed[at >> 6] |= one << np.uint64(at & 63)
                    word &= word - one


@njit(error_model="numpy", forceinline=True)
def patches(plan_at, bits, width, x, step, held, placed, first, count, group, begin, index, by):
    plan = whole(plan_at)
    positions, across, by_y, by_x = plan[0], plan[1], plan[9], plan[10]
    blocks, pieces = plan[15], plan[16]
    starts, offsets = whole(plan_at + 8 * 17), whole(plan_at + 8 * (18 + blocks))
    masks, shifts = words(plan_at + 8 * (18 + blocks + pieces)), whole(plan_at + 8 * (18 + blocks + 2 * pieces))
    elements = whole(plan_at + 8 * (18 + blocks + 3 * pieces))
    sample = first // positions
    v = (first - sample * positions) // across
    u = first - sample * positions - v * across
    n = 0
    for i in range(count):
        if sample != held:
            lay_out(plan, words(bits + sample * width * 8), placed)
            held = sample
        origin = v * by_y + u * by_x + group * plan[11]
        begin[i] = n
        for w in range(blocks):
            if blocks == pieces:
                at = origin + offsets[w]
                near, shift = at >> 6, np.uint64(at & 63)
                word = ((placed[near] >> shift) | ((placed[near + 1] << one) << (np.uint64(63) - shift))) & masks[w]
            else:
                word = np.uint64(0)
                for p in range(starts[w], starts[w + 1]):
                    at = origin + offsets[p]
                    near, shift = at >> 6, np.uint64(at & 63)
                    part = (placed[near] >> shift) | ((placed[near + 1] << one) << (np.uint64(63) - shift))
                    word |= (part & masks[p]) << np.uint64(shifts[p])
            base = w * 64
            if {weighted}:
                element = row(x + (sample * step + v * plan[12] + u * plan[13] + group * plan[14]) * SIZE)
                while word != 0:
                    k = base + lowest(word)
                    index[n], by[n] = np.uint16(k), element[elements[k]]
                    word &= word - one
                    n += 1
            else:
                m = n + ones(word)
                while True:
                    for _ in range(4):
                        index[n] = np.uint16(base + (lowest(word) & 63))
                        word &= word - one
                        n += 1
                    if word == 0:
                        break
                n = m
        u += 1
        if u == across:
            u, v = 0, v + 1
            if v * across == positions:
                v, sample = 0, sample + 1
    begin[count] = n
    return held
"""

"""Convolutions of few spikes, and their gradients by the weight, spike by spike.

    out[position] = bias + sum of x[element] weight[tap] over the elements that a tap of the kernel brings here

A spike meets, in each row of the output that its kernel reaches, some positions one behind another. With channels last,
and the taps of a row of the kernel in reverse, both they and the taps are without gaps in memory: a spike adds one line
of the weight to one line of the output for each row of the kernel. For the gradient it adds that line of the output's
gradient to the line of the weight's. ``sparse/convolution.py`` makes lists for each position first, which pays off
where many spikes share one.

Each element of a sample has a row in a table: where its first line begins in the output and in the weight, how many
elements a line has, and how many lines there are.
"""

from __future__ import annotations

import math
from array import array
from functools import lru_cache
from typing import Any, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.kernel import Kernel
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import Bits, address
from spikecore.kernels.sparse.patches import Geometry
from spikecore.kernels.sparse.words import digest

PARTS, SAMPLES = 32, 8  # as many threads can share a gradient; samples whose sum is one
MOST = 1 << 17  # elements of a sample, and of its output, which stay in the cache
# Nanoseconds: a spike, a line of it, eight elements of a line; an element of the output that gets its bias.
SPIKE, LINE, EIGHT, BEGUN = 4.0, 2.0, 0.6, 0.1
BEFORE = """
from spikecore.kernels.sparse.vectors import lowest, shifter  # {digest}

words, places = pointer_to("uint64"), pointer_to("uint32")
shift_4, shift_8, shift_32 = (shifter(width) for width in (4, 8, 32))


@njit(error_model="numpy", forceinline=True)
def add_line(count, given, factor, to, none):
    # to[k] += factor[0] given[k]
    done = count // 32 * 32
    for k in range(0, done, 32):
        shift_32(row(given + k * SIZE), none, factor, 1, row(to + k * SIZE))
    for k in range(done, count // 8 * 8, 8):
        shift_8(row(given + k * SIZE), none, factor, 1, row(to + k * SIZE))
    done = count // 8 * 8
    if count - done >= 4:
        shift_4(row(given + done * SIZE), none, factor, 1, row(to + done * SIZE))
        done += 4
    one, into = row(given), row(to)
    for k in range(done, count):
        into[k] += factor[0] * one[k]
"""
SPIKES = """\
        given = words(bits + sample * width * 8)
        for w in range(width):
            word = given[w]
            while word != np.uint64(0):
                element = w * 64 + lowest(word)
                word &= word - np.uint64(1)
                of = places(table_at + element * 16)
                begins, lines, length, tap = np.int64(of[0]), np.int64(of[1]), np.int64(of[2]), np.int64(of[3])
                factor = row(x + (sample * step_x + element * step_k) * SIZE)
                for i in range(lines):
                    out_at = out + (begins + i * down) * SIZE
                    tap_at = weight + (tap + i * across) * SIZE
                    add_line(length, {given}, factor, {to}, none)
"""
HEAD = """\
def {name}(worker, workers, table):
    samples, width, rows, down, across, size, bits, table_at, x, step_x, step_k = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6], table[7], table[8], table[9], table[10])
    none = places(table[11])
"""
SCATTER = """\
    weight, biases = table[12], row(table[13])
    for sample in range(worker * samples // workers, (worker + 1) * samples // workers):
        out = table[14] + sample * rows * down * SIZE
        for i in range(rows):
            line = row(out + i * down * SIZE)
            for k in range(down):
                line[k] = biases[k]
{spikes}"""
GATHER = """\
    parts, weight = table[12], table[13] + worker * size * SIZE
    own = row(weight)
    for part in range(worker * parts // workers, (worker + 1) * parts // workers):
        total, behind = row(table[14] + part * size * SIZE), (part + 1) * samples // parts
        for k in range(size):
            total[k] = F(0.0)
        for first in range(part * samples // parts, behind, {few}):
            for k in range(size):
                own[k] = F(0.0)
            for sample in range(first, min(first + {few}, behind)):
                out = table[15] + sample * rows * down * SIZE
{spikes}            for k in range(size):
                total[k] += own[k]
"""


@lru_cache(maxsize=128)
def fits(geometry: Geometry, filters: int) -> bool:
    """Whether there is a table for a convolution: it moves by one position at a time, in one group, and is small."""
    plain = geometry.stride == geometry.dilation == (1, 1) and geometry.groups == 1
    return plain and max(math.prod(geometry.shape), math.prod(geometry.out) * filters) <= MOST


def time(geometry: Geometry, filters: int, rate: float, back: bool = False) -> float:
    """Nanoseconds for one sample of which ``rate`` is not zero; ``back``: those of the gradient by the weight."""
    (down, across), elements = geometry.kernel, math.prod(geometry.shape)
    spike = SPIKE + down * (LINE + EIGHT * across * filters / 8.0)
    begun = geometry.shape[0] * down * across / SAMPLES if back else math.prod(geometry.out)
    return rate * elements * spike + BEGUN * begun * filters


def convolve(bits: Bits, x: Any, geometry: Geometry, weight: Any, bias: Any) -> Any:
    """The convolution of spikes (samples, positions, filters); arguments as in ``sparse/convolution.py``."""
    filters, dtype, (tall, wide) = len(weight), weight.dtype, geometry.out
    biases = np.tile(np.zeros(filters, dtype) if bias is None else bias, wide)
    out = allocator.empty((len(bits.words), tall * wide, filters), dtype)
    _run("scatter", bits, x, geometry, filters, (_lines_of(weight, geometry), biases, out), most_threads())
    return out


def by_weight(bits: Bits, x: Any, geometry: Geometry, g: Any) -> Any:
    """The gradient by the weight (filters, channels, height, width) from that by the convolution, shaped like it."""
    (samples, _, filters), shape = g.shape, (geometry.shape[0], *geometry.kernel, g.shape[2])
    parts = min(PARTS, -(-samples // SAMPLES))
    workers, sums = min(parts, most_threads()), allocator.empty((parts, math.prod(shape)), g.dtype)
    some = allocator.empty((workers, sums.shape[1]), g.dtype)
    _run("gather", bits, x, geometry, filters, (some, sums, g), workers, parts)
    turned = sums.sum(0).reshape(shape)[:, ::-1, ::-1].transpose(3, 0, 1, 2)
    return turned.copy("C")  # torch takes no steps backwards, not even along an axis of one


def _run(
    name: str, bits: Bits, x: Any, geometry: Geometry, filters: int, arrays: Tuple[Any, ...], workers: int, *parts: int
) -> None:
    (samples, width), (tall, wide), across = bits.words.shape, geometry.out, geometry.kernel[1] * filters
    dtype, lines, none = arrays[0].dtype, _table(geometry, filters), _none()
    values, *steps = (_one(dtype), 0, 0) if x is None else (x, x.strides[0] // x.itemsize, 1)
    numbers = samples, width, tall, wide * filters, across, geometry.shape[0] * geometry.kernel[0] * across
    places = address(bits.words), address(lines), address(values), *steps, address(none), *parts, *map(address, arrays)
    table = array("q", (*numbers, *places))
    _kernel(name, dtype).start(workers, table.buffer_info()[0])


def _lines_of(weight: Any, geometry: Geometry) -> Any:
    """The weight as lines (channels, height, width, filters), height and width in reverse."""
    turned = weight.reshape(len(weight), geometry.shape[0], *geometry.kernel)[:, :, ::-1, ::-1]
    return np.ascontiguousarray(turned.transpose(1, 2, 3, 0))


@lru_cache(maxsize=64)
def _table(geometry: Geometry, filters: int) -> Any:
    """For each element of a sample, in the order of its memory: see the head of this file."""
    (channels, *space), out = geometry.shape, geometry.out
    begin, count, tap = [], [], []  # of positions and taps along both axes
    for extent, kernel, padding, most in zip(space, geometry.kernel, geometry.padding, out):
        first = np.arange(extent) + padding - kernel + 1  # where the last tap brings an element
        low, high = np.maximum(first, 0), np.minimum(first + kernel, most)
        begin.append(low)
        count.append(np.maximum(high - low, 0))
        tap.append(low - first)
    c, y, x = (i.reshape(-1) for i in np.indices((channels, *space)))
    lines, length = np.where(count[1][x] > 0, count[0][y], 0), count[1][x] * filters
    of_tap = ((c * geometry.kernel[0] + tap[0][y]) * geometry.kernel[1] + tap[1][x]) * filters
    table = np.stack([(begin[0][y] * out[1] + begin[1][x]) * filters, lines, length, of_tap], -1)
    if geometry.last:
        table = table.reshape(channels, -1, 4).swapaxes(0, 1)
    return np.ascontiguousarray(table.reshape(-1, 4), np.uint32)


@lru_cache(maxsize=None)
def _kernel(name: str, dtype: Any) -> Kernel:
    return kernel_of(recipe(name, dtype.name), dtype.name)


@lru_cache(maxsize=None)
def _one(dtype: Any) -> Any:
    return np.ones(1, dtype)


@lru_cache(maxsize=None)
def _none() -> Any:
    return np.zeros(1, np.uint32)


def recipe(name: str, dtype: str) -> KernelRecipe:
    """The recipe of "scatter" or of "gather"."""
    given, to, body = ("tap_at", "out_at", SCATTER) if name == "scatter" else ("out_at", "tap_at", GATHER)
    spikes = SPIKES.format(given=given, to=to)
    if name == "gather":
        spikes = spikes.replace("\n        ", "\n                ").replace("        given", "                given", 1)
    source = HEAD.format(name=name) + body.format(spikes=spikes, few=SAMPLES)
    return recipe_of_run(source, name, dtype, before=BEFORE.format(digest=digest()))

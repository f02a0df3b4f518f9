"""Convolutions of spikes, and their gradients by the weight, at a cost that follows the number of spikes.

    out[position] = bias + sum of matrix[tap] over the taps that meet a spike at this position
    gradient[tap] = sum of g[position] over the positions at which the tap meets a spike

Lists of taps are made for a few positions at a time and stay in the cache. For the gradient they are turned into lists
of positions. Its sums are those of ``PARTS`` parts of all positions, added up in order: threads do not change the bits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import Bits, address
from spikecore.kernels.sparse.patches import FUNCTIONS, PatchPlan
from spikecore.kernels.sparse.words import ADD, WORD, digest

FEW, MANY = 32, 512  # positions whose lists are made at once: of taps, and of positions for each tap
PARTS = 32  # as many threads can share a gradient
LARGEST = 1 << 22  # elements of the sums of all parts

CONVOLVE = """\
def convolve(worker, workers, table):
    total, plan, bits, width, groups, filters, rows = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6])
    begin = whole(table[7] + worker * ({few} + 1) * 8)
    placed = words(table[8] + worker * table[9] * 8)
    index_at, by_at = table[10] + worker * table[11] * 2, table[12] + worker * table[11] * SIZE
    x, step, panels, biases, out = table[13], table[14], table[15], table[17], table[19]
    line = row(table[21] + worker * 64 * SIZE)
    index, by = numbers(index_at), row(by_at)
    held = -1
    last = (worker + 1) * total // workers
    for first in range(worker * total // workers, last, {few}):
        count = min({few}, last - first)
        for group in range(groups):
            held = patches(plan, bits, width, x, step, held, placed, first, count, group, begin, index, by)
            for column in range(0, filters, 64):
                valid = min(64, filters - column)
                wide = (valid + 15) // 16 * 16
                across = (filters + 15) // 16 * 16
                panel = row(panels + (group * rows * across + rows * column) * SIZE)
                bias = row(biases + (group * across + column) * SIZE)
                to = out + ((first * groups + group) * filters + column) * SIZE
                for i in range(count):
                    n = begin[i]
                    taps, factors = numbers(index_at + n * 2), row(by_at + n * SIZE)
                    place = row(to + i * groups * filters * SIZE)
                    if valid == wide:
                        add(wide, panel, taps, factors, begin[i + 1] - n, bias, place)
                    else:
                        add(wide, panel, taps, factors, begin[i + 1] - n, bias, line)
                        for c in range(valid):
                            place[c] = line[c]
"""
BY_WEIGHT = """\
def by_weight(worker, workers, table):
    total, plan, bits, width, groups, filters, rows = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6])
    begin = whole(table[7] + worker * ({few} + 1) * 8)
    placed = words(table[8] + worker * table[9] * 8)
    index_at, by_at = table[10] + worker * table[11] * 2, table[12] + worker * table[11] * SIZE
    x, step, sums, g = table[18], table[19], table[20], table[22]
    panel_at = table[24] + worker * {many} * 64 * SIZE
    length, parts = table[13], table[14]
    counts = whole(table[15] + worker * rows * 8)
    lists_at, factors_at = table[16] + worker * rows * length * 2, table[17] + worker * rows * length * SIZE
    index, by, lists, factors = numbers(index_at), row(by_at), numbers(lists_at), row(factors_at)
    across = (filters + 15) // 16 * 16
    held = -1
    for tap in range(rows):
        counts[tap] = 0
    for part in range(worker * parts // workers, (worker + 1) * parts // workers):
        mine = sums + part * groups * rows * across * SIZE
        zeros = row(mine)
        for n in range(groups * rows * across):
            zeros[n] = F(0.0)
        last = (part + 1) * total // parts
        for first in range(part * total // parts, last, {many}):
            high = min({many}, last - first)
            for group in range(groups):
                for low in range(0, high, {few}):
                    few = min({few}, high - low)
                    held = patches(plan, bits, width, x, step, held, placed, first + low, few, group, begin, index, by)
                    for i in range(few):
                        for n in range(begin[i], begin[i + 1]):
                            tap = np.int64(index[n])
                            at = counts[tap]
                            lists[tap * length + at] = np.uint16(low + i)
                            if {weighted}:
                                factors[tap * length + at] = by[n]
                            counts[tap] = at + 1
                for column in range(0, filters, 64):
                    valid = min(64, filters - column)
                    wide = (valid + 15) // 16 * 16
                    given = g + ((first * groups + group) * filters + column) * SIZE
                    if groups == 1 and wide == filters and given & 63 == 0:
                        panel = row(given)
                    else:
                        panel = row(panel_at)
                        for i in range(high):
                            one_row, into = row(given + i * groups * filters * SIZE), row(panel_at + i * wide * SIZE)
                            for c in range(valid):
                                into[c] = one_row[c]
                            for c in range(valid, wide):
                                into[c] = F(0.0)
                            for c in range(valid, wide):
                                into[c] = F(0.0)
                    own = mine + (group * rows * across + rows * column) * SIZE
                    for tap in range(rows):
                        count = counts[tap]
                        if count != 0:
                            sum_of = row(own + tap * wide * SIZE)
                            positions = numbers(lists_at + tap * length * 2)
                            add(wide, panel, positions, row(factors_at + tap * length * SIZE), count, sum_of, sum_of)
                for tap in range(rows):
                    counts[tap] = 0
"""


def convolve(bits: Bits, x: Any, plan: PatchPlan, weight: Any, bias: Any, groups: int) -> Any:
    """The convolution of spikes.

    Args:
        bits: of the samples, a row for each, in the memory order that the plan is for.
        x: the same samples as a matrix, if there are values other than zero and one; else None.
        plan: of the geometry.
        weight: (filters, channels of a group, ...).
        bias: (filters,); None is zero.
        groups: number of groups.

    Returns:
        (samples, positions, filters).
    """
    samples, filters, dtype = len(bits.words), len(weight) // groups, weight.dtype
    panels, biases = _panels(weight, plan, groups), np.zeros((groups, _wide(filters)), dtype)
    if bias is not None:
        biases[:, :filters] = bias.reshape(groups, filters)
    out = allocator.empty((samples, plan.positions, groups * filters), dtype)
    workers = most_threads()
    line = allocator.empty((workers, WORD), dtype)
    numbers, given, held = _shared(bits, x, plan, groups, filters, workers, dtype)
    _kernel("convolve", dtype.name, x is not None)(workers, numbers, (*given, panels, biases, out, line))
    return out


def by_weight(bits: Bits, x: Any, plan: PatchPlan, g: Any, groups: int) -> Any:
    """The gradient by the weight, (filters, taps), from that by the result, (samples, positions, filters).

    ``bits``, ``x``, ``plan`` and ``groups`` are as for ``convolve``; a tap is (channel of a group, y, x).
    """
    samples, filters, dtype = len(bits.words), g.shape[-1] // groups, g.dtype
    size = groups * plan.rows * _wide(filters)
    total = samples * plan.positions
    parts, workers = max(1, min(PARTS, -(-total // MANY), LARGEST // size)), most_threads()
    sums, panel = allocator.empty((parts, size), dtype), allocator.empty((workers, MANY * WORD), dtype)
    numbers, given, held = _shared(bits, x, plan, groups, filters, workers, dtype)
    length = MANY + 32  # lists begin in different sets of a cache
    counts, lists = (
        allocator.empty((workers, plan.rows), np.int64),
        allocator.empty((workers, plan.rows * length), np.uint16),
    )
    factors = lists if x is None else allocator.empty((workers, plan.rows * length), dtype)
    rest = (length, parts, address(counts), address(lists), address(factors))
    arrays = (*given, sums, g.reshape(total, -1), panel)
    _kernel("by_weight", dtype.name, x is not None)(workers, (*numbers, *rest), arrays)
    whole, begin = sums.sum(0).reshape(groups, -1), 0
    gradient = np.empty((groups, filters, len(plan.place)), dtype)
    for column in range(0, filters, WORD):
        valid = min(WORD, filters - column)
        rows = whole[:, begin : begin + plan.rows * _wide(valid)].reshape(groups, plan.rows, -1)
        gradient[:, column : column + valid] = rows[:, plan.place, :valid].swapaxes(1, 2)
        begin += plan.rows * _wide(valid)
    return gradient.reshape(groups * filters, -1)


def _wide(filters: int) -> int:
    return -(-filters // 16) * 16


def _panels(weight: Any, plan: PatchPlan, groups: int) -> Any:
    """The weight as matrices (rows of the plan, filters), one for every 64 filters of a group."""
    filters = len(weight) // groups
    taps = weight.reshape(groups, filters, -1).swapaxes(1, 2)
    panels = allocator.zeros((groups, plan.rows * _wide(filters)), weight.dtype)
    for column in range(0, filters, WORD):
        valid, begin = min(WORD, filters - column), plan.rows * column
        block = panels[:, begin : begin + plan.rows * _wide(valid)].reshape(groups, plan.rows, -1)
        block[:, plan.place, :valid] = taps[:, :, column : column + valid]
    return panels


def _shared(
    bits: Bits, x: Any, plan: PatchPlan, groups: int, filters: int, workers: int, dtype: Any
) -> Tuple[Tuple[int, ...], Tuple[Any, ...], Any]:
    """The arguments of both kernels: numbers, the first array, and objects that must live as long as they run."""
    room = FEW * plan.rows + 4
    begin, placed = (
        allocator.empty((workers, FEW + 1), np.int64),
        allocator.empty((workers, plan.placed + 1), np.uint64),
    )
    index = allocator.empty((workers, room), np.uint16)
    by = index if x is None else allocator.empty((workers, room), dtype)
    sizes = len(bits.words) * plan.positions, address(plan.numbers), address(bits.words), bits.words.shape[1]
    scratch = address(begin), address(placed), placed.shape[1], address(index), room, address(by)
    arrays = (_nothing(dtype.name),) if x is None else (x,)
    return (*sizes, groups, filters, plan.rows, *scratch), arrays, (begin, placed, index, by)


@lru_cache(maxsize=None)
def _nothing(dtype: str) -> Any:
    return np.zeros((1, 1), dtype)


@lru_cache(maxsize=None)
def _kernel(name: str, dtype: str, weighted: bool) -> Any:
    return kernel_of(recipe(name, dtype, weighted), dtype)


def recipe(name: str, dtype: str, weighted: bool) -> KernelRecipe:
    """The recipe of "convolve" or "by_weight", with factors if ``weighted``."""
    source = {"convolve": CONVOLVE, "by_weight": BY_WEIGHT}[name]
    before = FUNCTIONS.format(digest=digest(), weighted=weighted, add=ADD.format(weighted=weighted))
    return recipe_of_run(source.format(few=FEW, many=MANY, weighted=weighted), name, dtype, before=before)

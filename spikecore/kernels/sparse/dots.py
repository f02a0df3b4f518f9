"""Some elements of a matrix product, by lists: the others are zero.

    out[i, j] = sum over c of left[i, c] right[j, c]     for j in list i

As in ``gather.py``, blocks of ``right`` are copied into panels that stay in second-level cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import address
from spikecore.kernels.sparse.lists import BLOCK, Lists
from spikecore.kernels.sparse.product import CALLS, DENSE, DENSE_ROW
from spikecore.kernels.sparse.words import digest

WIDTH = 128  # columns of a panel

BEFORE = """
from spikecore.kernels.sparse.vectors import dotter  # {digest}

BLOCK, WIDTH, numbers, words = {block}, {width}, pointer_to("uint16"), pointer_to("int64")
dot = dotter({width})
"""
SOURCE = """\
def dots(worker, workers, table):
    rows, inner, others, blocks, begin, index = table[0], table[1], table[2], table[3], words(table[4]), table[5]
    by_row, by_column, step_left, by_left = table[6], table[7], table[8], table[9]
    left, right, out, step_out, scratch = table[10], table[12], table[14], table[15], table[16]
    panel_at = scratch + worker * table[17] * SIZE
    line_at = panel_at + BLOCK * WIDTH * SIZE
    panel, line = row(panel_at), row(line_at)
    low, high = worker * rows // workers, (worker + 1) * rows // workers
    for i in range(low, high):
        result = row(out + i * step_out * SIZE)
        for j in range(others):
            result[j] = F(0.0)
    for block in range(blocks):
        lowest = block * BLOCK
        height = min(BLOCK, others - lowest)
        for first in range(0, inner, WIDTH):
            valid = min(WIDTH, inner - first)
            for c in range(valid):
                given = row(right + (lowest * by_row + (first + c) * by_column) * SIZE)
                for j in range(height):
                    panel[j * WIDTH + c] = given[j * by_row]
            for c in range(valid, WIDTH):
                for j in range(height):
                    panel[j * WIDTH + c] = F(0.0)
            for i in range(low, high):
                begins = begin[i * blocks + block]
                count = begin[i * blocks + block + 1] - begins
                if count == 0:
                    continue
                given = row(left + (i * step_left + first * by_left) * SIZE)
                result, listed = row(out + (i * step_out + lowest) * SIZE), numbers(index + begins * 2)
                if by_left == 1 and valid == WIDTH:
                    dot(panel, listed, count, given, result)
                    continue
                for c in range(valid):
                    line[c] = given[c * by_left]
                for c in range(valid, WIDTH):
                    line[c] = F(0.0)
                dot(panel, listed, count, line, result)
"""


def dots(lists: Lists, left: Any, right: Any) -> Any:
    """Elements of ``left @ right.T`` that are listed by rows; zeros elsewhere.

    Args:
        lists: which columns of the result.
        left: (rows, inner), of any strides.
        right: (columns, inner), of any strides.
    """
    (rows, inner), others, dtype = left.shape, len(right), left.dtype
    out, workers = allocator.empty((rows, others), dtype), most_threads()
    scratch = allocator.empty((workers, BLOCK * WIDTH + WIDTH), dtype)
    strides = [stride // dtype.itemsize for a in (right, left) for stride in a.strides]
    numbers = (rows, inner, others, lists.blocks, address(lists.begin), address(lists.index), *strides)
    _kernel(dtype.name)(workers, numbers, (left, right, out, scratch))
    return out


def relative_time(rows: int, columns: int, inner: int, rate: float) -> float:
    """Time of elements of a product (rows, columns), with sums over ``inner``, where ``rate`` of them are wanted, as a
    part of the time of the dense product. Finding out which are takes a run of the neuron.
    """
    elements = rows * columns
    adding = elements * (2.0 + rate * (3.0 + 0.048 * inner)) + rows * inner * 0.5
    return (CALLS + adding) / max(1.0, elements * (DENSE * inner + DENSE_ROW))


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the dot products."""
    before = BEFORE.format(digest=digest(), block=BLOCK, width=WIDTH)
    return recipe_of_run(SOURCE, "dots", dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Any:
    return kernel_of(recipe(dtype), dtype)

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
from spikecore.kernels.sparse.words import TURN, digest

WIDTH, LINES = 128, 16  # columns of a panel; rows of the left operand that are copied at once

BEFORE = """
from spikecore.kernels.sparse.vectors import dotter, turn  # {digest}

BLOCK, WIDTH, LINES, numbers, words = {block}, {width}, {lines}, pointer_to("uint16"), pointer_to("int64")
dot = dotter({width})
{turn}"""
SOURCE = """\
def dots(worker, workers, table):
    rows, inner, others, blocks, begin, index = table[0], table[1], table[2], table[3], words(table[4]), table[5]
    by_row, by_column, step_left, by_left = table[6], table[7], table[8], table[9]
    left, right, out, step_out, scratch = table[10], table[12], table[14], table[15], table[16]
    panel_at = scratch + worker * table[17] * SIZE
    lines_at = panel_at + BLOCK * WIDTH * SIZE
    panel, lines = row(panel_at), row(lines_at)
    for c in range(LINES * WIDTH):
        lines[c] = F(0.0)
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
            square(right + (lowest * by_row + first * by_column) * SIZE, by_column, by_row,
                   panel_at, WIDTH, 1, valid, height)
            for c in range(valid, WIDTH):
                for j in range(height):
                    panel[j * WIDTH + c] = F(0.0)
            for i in range(low, high):
                if (i - low) % LINES == 0:
                    square(left + (i * step_left + first * by_left) * SIZE, by_left, step_left,
                           lines_at, WIDTH, 1, valid, min(LINES, high - i))
                begins = begin[i * blocks + block]
                count = begin[i * blocks + block + 1] - begins
                if count == 0:
                    continue
                result, listed = row(out + (i * step_out + lowest) * SIZE), numbers(index + begins * 2)
                dot(panel, listed, count, row(lines_at + (i - low) % LINES * WIDTH * SIZE), result)
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
    scratch = allocator.empty((workers, (BLOCK + LINES) * WIDTH), dtype)
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
    before = BEFORE.format(digest=digest(), block=BLOCK, width=WIDTH, lines=LINES, turn=TURN)
    return recipe_of_run(SOURCE, "dots", dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Any:
    return kernel_of(recipe(dtype), dtype)

"""The sums that all products with spikes come down to: rows of a matrix, added up by lists.

    out[i] = sum of matrix[j] over j in list i

A layer's product has the spikes of a sample as lists and the weights as matrix; the gradient by the weights has, for
each neuron, the samples in which it fired, and the gradients by the products as matrix. A convolution has patches.

A block of the matrix is copied into a panel, 64 columns wide, that stays in second-level cache, and all lists take
their rows from there. Lists therefore come in parts, one for each block of ``BLOCK`` rows. Every sum is taken in the
order of its list, block by block: threads do not change the bits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import address
from spikecore.kernels.sparse.lists import BLOCK, Lists
from spikecore.kernels.sparse.words import ADD, WORD, digest

BEFORE = """
from spikecore.kernels.sparse.vectors import adder  # {digest}

BLOCK, numbers, words = {block}, pointer_to("uint16"), pointer_to("int64")
{add}"""
SOURCE = """\
def gather(worker, workers, table):
    outs, inner, columns, blocks, shares, fresh = table[0], table[1], table[2], table[3], table[4], table[5]
    begin, index, factors, by_row, by_column = words(table[6]), table[7], table[8], table[9], table[10]
    matrix, start, out, step_out, scratch = table[11], row(table[13]), table[15], table[16], table[17]
    panel_at = scratch + worker * table[18] * SIZE
    panel, line = row(panel_at), row(panel_at + BLOCK * 64 * SIZE)
    across = (columns + 63) // 64
    for task in range(worker * across * shares // workers, (worker + 1) * across * shares // workers):
        first, share = task // shares * 64, task % shares
        valid = min(64, columns - first)
        width = (valid + 15) // 16 * 16
        for block in range(blocks):
            lowest = block * BLOCK
            height = min(BLOCK, inner - lowest)
            if by_column == 1:
                for j in range(height):
                    given = row(matrix + ((lowest + j) * by_row + first) * SIZE)
                    into = row(panel_at + j * width * SIZE)
                    for c in range(valid):
                        into[c] = given[c]
            else:
                for c in range(valid):
                    given = row(matrix + (lowest * by_row + (first + c) * by_column) * SIZE)
                    for j in range(height):
                        panel[j * width + c] = given[j * by_row]
            for i in range(outs * share // shares, outs * (share + 1) // shares):
                place = row(out + (i * step_out + first) * SIZE)
                if block == 0 and fresh != 0:
                    for c in range(valid):
                        place[c] = start[first + c]
                begins = begin[i * blocks + block]
                count = begin[i * blocks + block + 1] - begins
                if count == 0:
                    continue
                rows, by = numbers(index + begins * 2), row(factors + begins * SIZE)
                if width == valid:
                    add(width, panel, rows, by, count, place, place)
                else:
                    for c in range(valid):
                        line[c] = place[c]
                    add(width, panel, rows, by, count, line, line)
                    for c in range(valid):
                        place[c] = line[c]
"""


def sums(lists: Lists, matrix: Any, start: Any = None, out: Any = None) -> Any:
    """Sums of rows of ``matrix`` by lists.

    Args:
        lists: which rows.
        matrix: (inner, columns), of any strides.
        start: (columns,), what every sum begins with; None is zero.
        out: (lists.rows, columns) without gaps in a row. If it is given and ``start`` is not, sums are added to it.

    Returns:
        ``out``, (lists.rows, columns).
    """
    (inner, columns), outs, dtype = matrix.shape, lists.rows, matrix.dtype
    fresh = out is None or start is not None
    if out is None:
        out = allocator.empty((outs, columns), dtype)
    if start is None:
        start = _zeros(columns, dtype.name)
    across, workers = -(-columns // WORD), most_threads()
    shares = max(1, min(outs // 16, -(-4 * workers // across)))
    scratch = allocator.empty((workers, BLOCK * WORD + WORD), dtype)
    strides = [stride // dtype.itemsize for stride in matrix.strides]
    weighted = lists.factors is not None
    arrays = (lists.begin, lists.index, lists.factors if weighted else lists.index)
    numbers = (outs, inner, columns, lists.blocks, shares, int(fresh), *map(address, arrays), *strides)
    _gather(dtype.name, weighted)(workers, numbers, (matrix, start, out, scratch))
    return out


def recipe(dtype: str, weighted: bool) -> KernelRecipe:
    """The recipe of the sums, with factors if ``weighted``."""
    before = BEFORE.format(digest=digest(), block=BLOCK, add=ADD.format(weighted=weighted))
    return recipe_of_run(SOURCE, "gather", dtype, before=before)


@lru_cache(maxsize=None)
def _gather(dtype: str, weighted: bool) -> Any:
    return kernel_of(recipe(dtype, weighted), dtype)


@lru_cache(maxsize=8)
def _zeros(columns: int, dtype: str) -> Any:
    return np.zeros(columns, dtype)

"""Products with a matrix that is mostly zeros, such as a pruned weight, by the entries that are there.

    out[r, i] = start[i] + sum over j in list i of left[r, j] matrix[j, i]

Up to 64 rows of ``left`` are turned into a panel that stays in second-level cache, one line for each j, so that every
entry of the matrix is one multiplication of a line. Every sum is taken in the order of its list: threads do not change
the bits. A zero adds nothing; in a dense product 0 times NaN or infinity is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import address, pack
from spikecore.kernels.sparse.lists import BLOCK, Lists, by_columns, by_rows
from spikecore.kernels.sparse.words import ADD, WORD, digest

TILE = 16  # columns of the result that are turned back at once: a cache line of each row

BEFORE = """
from spikecore.kernels.sparse.vectors import adder  # {digest}

BLOCK, TILE, numbers, words = {block}, {tile}, pointer_to("uint16"), pointer_to("int64")
{add}"""
SOURCE = """\
def pruned(worker, workers, table):
    rows, inner, outs, blocks, shares = table[0], table[1], table[2], table[3], table[4]
    begin, index, factors = words(table[5]), table[6], table[7]
    left, step, start, out, step_out = table[8], table[9], row(table[10]), table[12], table[13]
    panel_at = table[14] + worker * table[15] * SIZE
    tile_at = panel_at + BLOCK * 64 * SIZE
    panel, tile = row(panel_at), row(tile_at)
    across, tiles = (rows + 63) // 64, (outs + TILE - 1) // TILE
    for task in range(worker * across * shares // workers, (worker + 1) * across * shares // workers):
        first, share = task // shares * 64, task % shares
        valid = min(64, rows - first)
        width = (valid + 15) // 16 * 16
        for block in range(blocks):
            lowest = block * BLOCK
            height = min(BLOCK, inner - lowest)
            for before in range(0, height, TILE):
                for c in range(valid):
                    given = row(left + ((first + c) * step + lowest + before) * SIZE)
                    for j in range(min(TILE, height - before)):
                        panel[(before + j) * width + c] = given[j]
            for number in range(tiles * share // shares, tiles * (share + 1) // shares):
                before = number * TILE
                some = min(TILE, outs - before)
                for i in range(some):
                    line, value = row(tile_at + i * width * SIZE), F(0.0)
                    if block == 0:
                        value = start[before + i]
                    for c in range(width):
                        line[c] = value
                    begins = begin[(before + i) * blocks + block]
                    count = begin[(before + i) * blocks + block + 1] - begins
                    add(width, panel, numbers(index + begins * 2), row(factors + begins * SIZE), count, line, line)
                for c in range(valid):
                    place = row(out + ((first + c) * step_out + before) * SIZE)
                    if block == 0:
                        for i in range(some):
                            place[i] = tile[i * width + c]
                    else:
                        for i in range(some):
                            place[i] += tile[i * width + c]
"""


@dataclass(frozen=True)
class Entries:
    """The entries of a matrix (inner, outs) that are not zero.

    Args:
        lists: for each column, in which rows they are, and their values.
        inner: number of rows.
    """

    lists: Lists
    inner: int

    @property
    def rate(self) -> float:
        """Part of the matrix that is not zero."""
        return len(self.lists.index) / max(1, self.inner * self.lists.rows)

    def multiplied(self, left: Any, start: Any = None, out: Any = None) -> Any:
        """The product ``left @ matrix + start``.

        Args:
            left: (rows, inner), without gaps in a row.
            start: (outs,); None is zero.
            out: (rows, outs) without gaps in a row, where the product goes; None: new memory.
        """
        lists, rows, dtype = self.lists, len(left), left.dtype
        outs, workers = lists.rows, most_threads()
        out = allocator.empty((rows, outs), dtype) if out is None else out
        start = _zeros(outs, dtype.name) if start is None else np.ascontiguousarray(start)
        scratch = allocator.empty((workers, (BLOCK + TILE) * WORD), dtype)
        shares = 1 if workers == 1 else min(-(-outs // TILE), -(-2 * workers // max(1, -(-rows // WORD))))
        arrays = (lists.begin, lists.index, lists.factors)
        numbers = (rows, self.inner, outs, lists.blocks, shares, *map(address, arrays))
        _kernel(dtype.name)(workers, numbers, (left, start, out, scratch))
        return out


def entries(matrix: Any) -> Entries:
    """The entries of a matrix; it or its transpose has no gaps in a row."""
    if matrix.strides[1] == matrix.itemsize:
        return Entries(by_columns(pack(matrix), matrix), len(matrix))
    return Entries(by_rows(pack(matrix.T), matrix.T), len(matrix))


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the products."""
    before = BEFORE.format(digest=digest(), block=BLOCK, tile=TILE, add=ADD.format(weighted=True))
    return recipe_of_run(SOURCE, "pruned", dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Any:
    return kernel_of(recipe(dtype), dtype)


@lru_cache(maxsize=8)
def _zeros(columns: int, dtype: str) -> Any:
    return np.zeros(columns, dtype)

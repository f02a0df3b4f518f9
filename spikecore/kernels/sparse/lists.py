"""Lists of what is not zero in a matrix, by rows and by columns."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Optional

import numpy as np

from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import BEFORE, Bits, address
from spikecore.kernels.sparse.words import digest

BLOCK = 1024  # numbers of one part of a list: as many rows of a panel, see gather.py
STRIP = 8  # words of a row in a cache line


class Lists(NamedTuple):
    """For each of some rows, which rows of a matrix to add.

    Args:
        begin: (rows x blocks + 1,), int64: where the part of a row for a block begins among all numbers.
        index: numbers of rows in their block, uint16, ascending.
        factors: what to multiply with, or None for one.
        blocks: number of blocks.
    """

    begin: Any
    index: Any
    factors: Any
    blocks: int

    @property
    def rows(self) -> int:
        """Number of lists."""
        return (len(self.begin) - 1) // self.blocks


# In all of these ``begin`` is shifted by one: first it counts, and its sums are where parts begin.
BY_ROWS = """\
def by_rows(worker, workers, table):
    rows, width, blocks, bits, begin, index, weighted, by = (
        table[0], table[1], table[2], table[3], whole(table[4]), numbers(table[5]), table[6], row(table[7]))
    matrix, step = table[8], table[9]
    per = {block} // 64
    for r in range(worker * rows // workers, (worker + 1) * rows // workers):
        given, x = words(bits + r * width * 8), row(matrix + r * step * SIZE)
        for block in range(blocks):
            first, last = block * per, min(width, block * per + per)
            if {count}:
                found = np.int64(0)
                for w in range(first, last):
                    found += ones(given[w])
                begin[r * blocks + block + 1] = found
            else:
                n = begin[r * blocks + block]
                for w in range(first, last):
                    word = given[w]
                    while word != 0:
                        k = (w - first) * 64 + lowest(word)
                        index[n] = np.uint16(k)
                        if weighted != 0:
                            by[n] = x[block * {block} + k]
                        n += 1
                        word &= word - one
"""
BY_COLUMNS = """\
def by_columns(worker, workers, table):
    rows, width, blocks, bits, begin, index, weighted, by = (
        table[0], table[1], table[2], table[3], whole(table[4]), numbers(table[5]), table[6], row(table[7]))
    matrix, step, columns = table[8], table[9], table[10]
    strips = (width + 7) // 8
    for strip in range(worker * strips // workers, (worker + 1) * strips // workers):
        first, last = strip * 8, min(width, strip * 8 + 8)
        for block in range(blocks):
            for r in range(block * {block}, min(rows, block * {block} + {block})):
                given, x = words(bits + r * width * 8), row(matrix + r * step * SIZE)
                for w in range(first, last):
                    word = given[w]
                    while word != 0:
                        k = w * 64 + lowest(word)
                        word &= word - one
                        if {count}:
                            begin[k * blocks + block + 1] += 1
                        else:
                            n = begin[k * blocks + block]
                            index[n] = np.uint16(r - block * {block})
                            if weighted != 0:
                                by[n] = x[k]
                            begin[k * blocks + block] = n + 1
"""


def by_rows(bits: Bits, matrix: Any = None) -> Lists:
    """For each row the columns where it is not zero; with ``matrix`` also what is there."""
    return _lists("by_rows", bits, matrix, len(bits.words), bits.columns)


def by_columns(bits: Bits, matrix: Any = None, block: int = BLOCK) -> Lists:
    """For each column the rows where it is not zero; with ``matrix`` also what is there. ``block``: rows of a part."""
    return _lists("by_columns", bits, matrix, bits.columns, len(bits.words), block)


def _lists(name: str, bits: Bits, matrix: Optional[Any], rows: int, inner: int, block: int = BLOCK) -> Lists:
    blocks, dtype = max(1, -(-inner // block)), "float32" if matrix is None else matrix.dtype.name
    begin, index = np.zeros(rows * blocks + 1, np.int64), np.empty(bits.count, np.uint16)
    factors = None if matrix is None else np.empty(bits.count, dtype)
    sizes = (*bits.words.shape, blocks, address(bits.words))
    arrays = (_nothing(dtype),) if matrix is None else (matrix,)
    weighted = 0 if factors is None else 1
    at = index if factors is None else factors
    numbers = (*sizes, address(begin), address(index), weighted, address(at))
    for count in (True, False):
        _kernel(name, dtype, count, block)(most_threads(), numbers, arrays)
        if count:
            np.cumsum(begin, out=begin)
    if name == "by_columns":  # every beginning has moved on to its end
        begin[1:], begin[0] = begin[:-1].copy(), 0
    return Lists(begin, index, factors, blocks)


@lru_cache(maxsize=None)
def _nothing(dtype: str) -> Any:
    return np.zeros((1, 1), dtype)


def recipe(name: str, dtype: str, count: bool, block: int = BLOCK) -> KernelRecipe:
    """The recipe of "by_rows" or "by_columns": the function that counts, or the one that lists."""
    source = {"by_rows": BY_ROWS, "by_columns": BY_COLUMNS}[name].format(block=block, count=count)
    before = BEFORE.format(digest=digest()) + 'whole, numbers = pointer_to("int64"), pointer_to("uint16")\n'
    return recipe_of_run(source, name, dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(name: str, dtype: str, count: bool, block: int) -> Any:
    return kernel_of(recipe(name, dtype, count, block), dtype)

"""Bits of a matrix, one for each element: whether it is other than zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.words import WORD, digest


@dataclass(frozen=True)
class Bits:
    """The entries of a matrix that are not zero.

    Args:
        words: (rows, words of a row), uint64: bit k of word w is element 64 w + k.
        columns: number of columns.
        count: number of elements that are not zero.
        binary: whether all of these are one.
    """

    words: Any
    columns: int
    count: int
    binary: bool

    @property
    def rate(self) -> float:
        """Part of the elements that are not zero."""
        return self.count / max(1, len(self.words) * self.columns)


BEFORE = """
from spikecore.kernels.sparse.vectors import lowest, mask, ones, others, spread  # {digest}

words, one = pointer_to("uint64"), np.uint64(1)
"""
PACK = """\
def pack(worker, workers, table):
    rows, columns, width, bits, found = table[0], table[1], table[2], table[3], words(table[4])
    matrix, step = table[5], table[6]
    count, other = np.int64(0), np.uint64(0)
    whole = columns // 64
    for r in range(worker * rows // workers, (worker + 1) * rows // workers):
        x, into = matrix + r * step * SIZE, words(bits + r * width * 8)
        for w in range(whole):
            at = row(x + w * 64 * SIZE)
            word = mask(at)
            into[w] = word
            count += ones(word)
            other |= others(at)
        if whole < width:
            at, word = row(x + whole * 64 * SIZE), np.uint64(0)
            for k in range(columns - whole * 64):
                if at[k] != F(0.0):
                    word |= one << np.uint64(k)
                    if at[k] != F(1.0):
                        other = one
            into[whole] = word
            count += ones(word)
    found[2 * worker] = np.uint64(count)
    found[2 * worker + 1] = other
"""
UNPACK = """\
def unpack(worker, workers, table):
    rows, columns, width, bits = table[0], table[1], table[2], table[3]
    matrix, step = table[4], table[5]
    whole = columns // 64
    for r in range(worker * rows // workers, (worker + 1) * rows // workers):
        x, given = matrix + r * step * SIZE, words(bits + r * width * 8)
        for w in range(whole):
            spread(given[w], row(x + w * 64 * SIZE))
        if whole < width:
            at, word = row(x + whole * 64 * SIZE), given[whole]
            for k in range(columns - whole * 64):
                at[k] = F((word >> np.uint64(k)) & one)
"""
COUNT = """\
def count(worker, workers, table):
    total, bits, found = table[0], words(table[1]), words(table[2])
    n = np.int64(0)
    for w in range(worker * total // workers, (worker + 1) * total // workers):
        n += ones(bits[w])
    found[worker] = np.uint64(n)
"""


def count(words: Any) -> int:
    """Number of bits of words that are set."""
    workers = most_threads()
    counts = np.zeros(workers, np.uint64)
    _kernel("count", "float32")(workers, (words.size, address(words), address(counts)), ())
    return int(counts.sum())


def pack(matrix: Any) -> Bits:
    """The bits of a matrix whose rows are without gaps."""
    rows, columns = matrix.shape
    width, workers = -(-columns // WORD), most_threads()
    words, of_workers = allocator.empty((rows, width), np.uint64), np.zeros((workers, 2), np.uint64)
    numbers = rows, columns, width, address(words), address(of_workers)
    _kernel("pack", matrix.dtype.name)(workers, numbers, (matrix,))
    return Bits(words, columns, int(of_workers[:, 0].sum()), not of_workers[:, 1].any())


def unpack(bits: Bits, dtype: Any) -> Any:
    """The matrix of ones and zeros that has these bits."""
    rows, width = bits.words.shape
    matrix = allocator.empty((rows, bits.columns), dtype)
    numbers = rows, bits.columns, width, address(bits.words)
    _kernel("unpack", matrix.dtype.name)(most_threads(), numbers, (matrix,))
    return matrix


def address(a: Any) -> int:
    """Address of an array."""
    return int(a.__array_interface__["data"][0])


def recipe(name: str, dtype: str) -> KernelRecipe:
    """The recipe of "pack", "unpack" or "count"."""
    source = {"pack": PACK, "unpack": UNPACK, "count": COUNT}[name]
    return recipe_of_run(source, name, dtype, before=BEFORE.format(digest=digest()))


@lru_cache(maxsize=None)
def _kernel(name: str, dtype: str) -> Any:
    return kernel_of(recipe(name, dtype), dtype)

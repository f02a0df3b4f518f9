"""Products and convolutions with a weight that is mostly zeros, such as a pruned one, by the entries that are there.

    out[c, q] = start[c] + sum over n in list c of factor[n] given[channel[n], q + shift[n]]

The positions q of some samples are laid out as a *panel*: for each channel a row of elements one after another, with
the zeros of the padding between them. An entry is then one multiplication of neighbouring elements from a fixed place,
``channel row + shift``, whatever the kernel's size is. In a product there is one position for each row of the left
operand, and nothing is shifted.

Every sum is taken in the order of its list: threads do not change the bits. An entry of zero is not there: in a dense
product 0 times NaN or infinity is NaN.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Callable, Sequence, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sparse.bits import address, pack
from spikecore.kernels.sparse.lists import BLOCK, Lists, by_columns, by_rows
from spikecore.kernels.sparse.words import TURN, WIDE, digest

GIVEN, OUT = 15, 18  # where the kernel's table has the addresses of both arrays

#: Code that copies some channels of samples from memory into a panel.
LAYING = """
@njit(error_model="numpy", forceinline=True)
def lay_out(memory, by_channel, apart, panel, plane, channels, lines, first, last):
    for n in range(first, last):
        at, place, count = lines[3 * n], lines[3 * n + 1], lines[3 * n + 2]
        if apart == 1:
            for c in range(channels):
                given, into = row(memory + (at + c * by_channel) * SIZE), row(panel + (c * plane + place) * SIZE)
                for k in range(count):
                    into[k] = given[k]
        else:
            square(memory + at * SIZE, apart, by_channel, panel + place * SIZE, plane, 1, count, channels)
"""
BEFORE = """
from spikecore.kernels.sparse.vectors import shifter, turn  # {digest}

WIDE, whole, places = {wide}, pointer_to("int64"), pointer_to("uint32")
shift = shifter({wide})
{turn}{laying}

@njit(error_model="numpy", forceinline=True)
def read_out(memory, by_channel, apart, panel, plane, channels, lines, first, last):
    for n in range(first, last):
        at, place, count = lines[3 * n], lines[3 * n + 1], lines[3 * n + 2]
        if apart == 1:
            for c in range(channels):
                into, given = row(memory + (at + c * by_channel) * SIZE), row(panel + (c * plane + place) * SIZE)
                for k in range(count):
                    into[k] = given[k]
        else:
            square(panel + place * SIZE, plane, 1, memory + at * SIZE, apart, by_channel, channels, count)

"""
SOURCE = """\
def pruned(worker, workers, table):
    panels, shares, blocks, outs, inner, height, plane, length = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6], table[7])
    begin, index, factors, lines, of_panel = whole(table[8]), table[9], table[10], whole(table[11]), whole(table[12])
    lines_out, of_panel_out = whole(table[13]), whole(table[14])
    memory, by_channel, apart = table[{given}], table[16], table[17]
    out, by_channel_out, apart_out = table[{out}], table[19], table[20]
    start, panel = row(table[21]), table[22] + worker * table[23] * SIZE
    sums = panel + height * plane * SIZE
    for task in range(worker * panels * shares // workers, (worker + 1) * panels * shares // workers):
        n, share = task // shares, task % shares
        low, high = outs * share // shares, outs * (share + 1) // shares
        for block in range(blocks):
            first = block * height
            lay_out(memory + first * by_channel * SIZE, by_channel, apart, panel, plane, min(height, inner - first),
                    lines, of_panel[n], of_panel[n + 1])
            for at in range(0, length, WIDE):
                for i in range(low, high):
                    place = row(sums + ((i - low) * length + at) * SIZE)
                    if block == 0:
                        value = start[i]
                        for k in range(WIDE):
                            place[k] = value
                    begins = begin[i * blocks + block]
                    listed, by = places(index + begins * 4), row(factors + begins * SIZE)
                    shift(row(panel + at * SIZE), listed, by, begin[i * blocks + block + 1] - begins, place)
        read_out(out + low * by_channel_out * SIZE, by_channel_out, apart_out, sums, length, high - low,
                 lines_out, of_panel_out[n], of_panel_out[n + 1])
"""


@dataclass(frozen=True)
class Places:
    """Where positions lie in memory and in panels.

    Args:
        lines: (lines, 3), int64: of each run of positions, its first element in memory, its first position in the
            panel, and its length.
        of_panel: (panels + 1,), int64: where the lines of a panel begin.
        by_channel: elements between two channels in memory.
        apart: elements between two positions of a line in memory.
    """

    lines: Any
    of_panel: Any
    by_channel: int
    apart: int


@lru_cache(maxsize=64)
def _rows(rows: int, step: int) -> Places:
    """The rows of a matrix, ``WIDE`` to a panel."""
    first = np.arange(0, rows, WIDE)
    lines = np.stack([first * step, np.zeros_like(first), np.minimum(WIDE, rows - first)], 1)
    return Places(lines.astype(np.int64), np.arange(len(first) + 1, dtype=np.int64), 1, step)


def summing(
    lists: Tuple[Any, Any, Any, int], start: Any, sizes: Tuple[int, int, int, int], places: Sequence[Places]
) -> Callable[[Any, Any], None]:
    """A function of two arrays that writes the sums of the first to the second, again and again.

    Args:
        lists: where they begin, the places in a panel, the factors, and the number of blocks of channels.
        start: (lists,), what sums begin with.
        sizes: channels, channels of a block, elements of a channel's row in a panel, positions of a panel.
        places: of both arrays.
    """
    begin, index, factors, blocks = lists
    (inner, height, plane, length), workers, outs = sizes, most_threads(), len(start)
    panels, kernel = len(places[0].of_panel) - 1, _kernel(factors.dtype.name)
    shares = 1 if workers == 1 else max(1, min(outs // 16, -(-2 * workers // max(1, panels))))
    scratch = allocator.zeros((workers, height * plane + -(-outs // shares) * length + WIDE), factors.dtype)
    held = (begin, index, factors, *(a for p in places for a in (p.lines, p.of_panel)))
    ends = [n for p in places for n in (0, p.by_channel, p.apart)]
    numbers = (panels, shares, blocks, outs, inner, height, plane, length, *map(address, held), *ends)
    table = array("q", (*numbers, address(start), address(scratch), scratch.shape[1]))
    at = table.buffer_info()[0]

    def run(given: Any, out: Any, keep: Any = (held, start, scratch)) -> None:
        assert given.dtype == out.dtype == scratch.dtype  # it would read on in memory of others
        table[GIVEN], table[OUT] = address(given), address(out)
        kernel.start(workers, at)

    return run


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

    @cached_property
    def places(self) -> Any:
        """Where the rows of a block begin in a panel."""
        return np.multiply(self.lists.index, WIDE, dtype=np.uint32)

    def multiplied(self, left: Any, start: Any = None, out: Any = None) -> Any:
        """The product ``left @ matrix + start``.

        Args:
            left: (rows, inner), without gaps in a row.
            start: (outs,); None is zero.
            out: (rows, outs) without gaps in a row, where the product goes; None: new memory.
        """
        out = allocator.empty((len(left), self.lists.rows), left.dtype) if out is None else out
        self.multiplier(left, out, start)(left, out)
        return out

    def multiplier(self, left: Any, out: Any, start: Any = None) -> Callable[[Any, Any], None]:
        """A function of matrices that lie as ``left`` and ``out`` do, which writes the product to the second."""
        lists, steps = self.lists, [_rows(len(a), a.strides[0] // a.itemsize) for a in (left, out)]
        start = _zeros(lists.rows, left.dtype.name) if start is None else np.ascontiguousarray(start)
        sizes = self.inner, min(BLOCK, self.inner), WIDE, WIDE
        return summing((lists.begin, self.places, lists.factors, lists.blocks), start, sizes, steps)


def entries(matrix: Any) -> Entries:
    """The entries of a matrix; it or its transpose has no gaps in a row."""
    if matrix.strides[1] == matrix.itemsize:
        return Entries(by_columns(pack(matrix), matrix), len(matrix))
    return Entries(by_rows(pack(matrix.T), matrix.T), len(matrix))


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the sums."""
    before = BEFORE.format(digest=digest(), wide=WIDE, turn=TURN, laying=LAYING)
    return recipe_of_run(SOURCE.format(given=GIVEN, out=OUT), "pruned", dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Any:
    return kernel_of(recipe(dtype), dtype)


@lru_cache(maxsize=8)
def _zeros(columns: int, dtype: str) -> Any:
    return np.zeros(columns, dtype)

"""Means and variances of columns, or of channels, in one pass over memory, and the way back through them.

A block of rows is read twice while it is in the cache: for its mean, and for its squares around that. Blocks are then
merged, which no mean far from zero can spoil. A run has a fixed number of parts, whoever computes them, so results do
not depend on the number of threads.

Source: Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, Tuple

import numpy as np

from spikecore.kernels.elementwise import workers
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.kernel import Kernel
from spikecore.kernels.runtime.openmp import several

PARTS = 8
BLOCK, COLUMNS = 32, 512  # rows and columns that are read twice: 64 KB in float32

MOMENTS = f"""
def moments(worker, workers, table):
    rows, columns, parts, x, step_x = table[0], table[1], table[2], table[3], table[4]
    for part in range(worker * parts // workers, (worker + 1) * parts // workers):
        first, behind = part * rows // parts, (part + 1) * rows // parts
        for lo in range(0, columns, {COLUMNS}):
            width, place = min({COLUMNS}, columns - lo), (part * columns + lo) * SIZE
            mean, squares = row(table[5] + place), row(table[7] + place)
            own_mean, own_squares = row(table[9] + place), row(table[11] + place)
            for j in range(width):
                mean[j] = F(0.0)
                squares[j] = F(0.0)
            for begin in range(first, behind, {BLOCK}):
                length = min({BLOCK}, behind - begin)
                share, count = F(1.0) / F(length), begin - first
                for j in range(width):
                    own_mean[j] = F(0.0)
                    own_squares[j] = F(0.0)
                for i in range(begin, begin + length):
                    row_x = row(x + (i * step_x + lo) * SIZE)
                    for j in range(width):
                        own_mean[j] += row_x[j]
                for j in range(width):
                    own_mean[j] *= share
                for i in range(begin, begin + length):
                    row_x = row(x + (i * step_x + lo) * SIZE)
                    for j in range(width):
                        centred = row_x[j] - own_mean[j]
                        own_squares[j] += centred * centred
                new = F(length) / F(count + length)
                both = F(count) * new
                for j in range(width):
                    apart = own_mean[j] - mean[j]
                    squares[j] += own_squares[j] + apart * apart * both
                    mean[j] += apart * new
"""

ADD_LINE = """
def add_line(worker, workers, table):
    rows, columns, x, step_x, g, step_g = table[0], table[1], table[2], table[3], table[4], table[5]
    slope, constant = row(table[6]), row(table[8])
    for i in range(worker * rows // workers, (worker + 1) * rows // workers):
        row_x, row_g = row(x + i * step_x * SIZE), row(g + i * step_g * SIZE)
        for j in range(columns):
            row_g[j] = row_g[j] + (row_x[j] * slope[j] + constant[j])
"""


SUMS = f"""
def sums(worker, workers, table):
    rows, columns, parts, x, step_x, g, step_g = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6])
    for part in range(worker * parts // workers, (worker + 1) * parts // workers):
        first, behind = part * rows // parts, (part + 1) * rows // parts
        for lo in range(0, columns, {COLUMNS}):
            width, place = min({COLUMNS}, columns - lo), (part * columns + lo) * SIZE
            total, weighted = row(table[7] + place), row(table[9] + place)
            own, own_weighted = row(table[11] + place), row(table[13] + place)
            for j in range(width):
                total[j] = F(0.0)
                weighted[j] = F(0.0)
            for begin in range(first, behind, {BLOCK}):
                for j in range(width):
                    own[j] = F(0.0)
                    own_weighted[j] = F(0.0)
                for i in range(begin, min(begin + {BLOCK}, behind)):
                    row_x, row_g = row(x + (i * step_x + lo) * SIZE), row(g + (i * step_g + lo) * SIZE)
                    for j in range(width):
                        own[j] += row_g[j]
                        own_weighted[j] += row_g[j] * row_x[j]
                for j in range(width):
                    total[j] += own[j]
                    weighted[j] += own_weighted[j]
"""

LINES = """
def lines(worker, workers, table):
    rows, columns, each, x, step_x, g, step_g, out, step_out = (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6], table[7], table[8])
    for i in range(worker * rows // workers, (worker + 1) * rows // workers):
        row_x, row_g, row_out = row(x + i * step_x * SIZE), row(g + i * step_g * SIZE), row(out + i * step_out * SIZE)
        place = i // each
        constant, slope = row(table[9] + place * table[10] * SIZE), row(table[11] + place * table[12] * SIZE)
        scale = row(table[13] + place * table[14] * SIZE)
        for j in range(columns):
            row_out[j] = row_x[j] * slope[j] + constant[j] + row_g[j] * scale[j]
"""

SOURCES = {"moments": MOMENTS, "add_line": ADD_LINE, "sums": SUMS, "lines": LINES}


def moments(x: Any, parts: int = PARTS) -> Tuple[Any, Any, Any]:
    """Split the rows of x (rows, columns) into parts, and give for each its number of rows (parts, 1), the mean of each
    column (parts, columns), and the sum of squares around it.
    """
    rows, columns = x.shape
    parts = min(parts, rows)
    made = [allocator.empty((parts, columns), x.dtype) for _ in range(4)]
    threads = min(parts, workers(several(x.size, COLUMNS * BLOCK)))
    _kernel("moments", str(x.dtype))(threads, (rows, columns, parts), (x, *made))
    ends = [part * rows // parts for part in range(parts + 1)]
    return np.diff(ends)[:, None].astype(np.float64), made[0], made[1]


def sums(x: Any, g: Any, parts: int) -> Tuple[Any, Any]:
    """For so many parts of the rows of x and g (rows, columns), the sums of each column of g and of g x."""
    made = [allocator.empty((parts, x.shape[1]), x.dtype) for _ in range(4)]
    threads = min(parts, workers(several(x.size, COLUMNS * BLOCK)))
    _kernel("sums", str(x.dtype))(threads, (*x.shape, parts), (x, g, *made))
    return made[0], made[1]


def lines(x: Any, g: Any, slope: Any, constant: Any, scale: Any) -> Any:
    """The lines slope x + constant + scale g.

    Args:
        x, g: (rows, columns), without gaps.
        slope, constant, scale: (n, columns), without gaps: a row for each n-th part of the rows.
    """
    out, threads = allocator.empty(x.shape, x.dtype), min(len(x), workers(several(x.size, COLUMNS * BLOCK)))
    each = len(x) // len(slope)
    _kernel("lines", str(x.dtype))(threads, (*x.shape, each), (x, g, out, constant, slope, scale))
    return out


def add_line(g: Any, x: Any, slope: Any, constant: Any) -> None:
    """Add slope x + constant to g, in place.

    Args:
        g, x: (rows, columns), rows without gaps.
        slope, constant: (columns,), without gaps.
    """
    threads = min(len(x), workers(several(x.size, COLUMNS * BLOCK)))
    _kernel("add_line", str(x.dtype))(threads, x.shape, (x, g, slope[None], constant[None]))


def channel_moments(x: Any, channels: int, last: bool) -> Tuple[Any, Any]:
    """Mean and biased variance of each channel of samples x (samples, values of one).

    Args:
        x: without gaps.
        channels: number of channels.
        last: whether the channels of a place are next to each other in memory; else the places of a channel are.
    """
    places = _places(x.shape[1] // channels, channels, last)
    count, mean, squares = moments(x.reshape(-1, places * channels))

    def average(values: Any) -> Any:
        parts = (-1, places, channels) if last else (-1, channels, places)
        return values.reshape(parts).sum((0, 1) if last else (0, 2)) / (x.size // channels)

    first, variance = of_parts(count, mean, squares, average, lambda values: _row(values, places, last))
    return first.astype(x.dtype), variance.astype(x.dtype)


def of_parts(
    count: Any, mean: Any, squares: Any, average: Callable[[Any], Any], row: Callable[[Any], Any]
) -> Tuple[Any, Any]:
    """Mean and biased variance of each channel, from what ``moments`` gives of parts, arrays of NumPy or torch.

    Args:
        count, mean, squares: see ``moments``.
        average: sums values over the parts and places of a channel, divided by how many numbers it has.
        row: one value per channel as a row of columns.
    """
    first = average(count * mean)
    apart = mean - row(first)
    return first, average(squares + count * apart * apart)


def add_channel_line(g: Any, x: Any, slope: Any, constant: Any, last: bool) -> None:
    """Add slope x + constant to g, in place; each channel has its own. g, x and ``last`` as in ``channel_moments``."""
    places = _places(x.shape[1] // len(slope), len(slope), last)
    line = (_row(value.astype(x.dtype), places, last) for value in (slope, constant))
    add_line(*(a.reshape(-1, places * len(slope)) for a in (g, x)), *line)


def _places(most: int, channels: int, last: bool) -> int:
    """Number of places of a sample in a row; if channels are last, as many as fit ``COLUMNS`` and divide ``most``."""
    if not last:
        return most
    return max(n for n in range(1, max(1, COLUMNS // channels) + 1) if most % n == 0)


def _row(values: Any, places: int, last: bool) -> Any:
    """One value per channel as a row of so many places."""
    return np.tile(values, places) if last else np.repeat(values, places)


@lru_cache(maxsize=None)
def _kernel(name: str, dtype: str) -> Kernel:
    return kernel_of(recipe(name, dtype), dtype)


def recipe(name: str, dtype: str) -> KernelRecipe:
    """The recipe of a kernel, one of ``SOURCES``."""
    return recipe_of_run(SOURCES[name], name, dtype)

"""Sizes and code that the kernels of this room share, and what their code depends on; nothing here needs Numba."""

from __future__ import annotations

import hashlib
import pathlib
from functools import lru_cache

WORD = 64  # bits of a word, elements of the longest vector
WIDE = 32  # positions at once, registers for their sums, see pruned.py
SIDE = 8  # rows and columns of a square that is turned at once
LINE = 64  # bytes of a cache line, where panels and their rows begin

#: Code that adds listed rows of a panel of 16, 32, 48 or 64 columns, see ``adder`` in ``vectors.py``.
ADD = """
add_16, add_32, add_48, add_64 = (adder(width, {weighted}) for width in (16, 32, 48, 64))


@njit(error_model="numpy", forceinline=True)
def add(width, panel, index, by, count, start, out):
    if width == 16:
        add_16(panel, index, by, count, start, out)
    elif width == 32:
        add_32(panel, index, by, count, start, out)
    elif width == 48:
        add_48(panel, index, by, count, start, out)
    else:
        add_64(panel, index, by, count, start, out)
"""

#: Code that writes the transpose of a matrix, whose rows and columns are any number of elements apart.
TURN = """
SIDE = 8

@njit(error_model="numpy", forceinline=True)
def square(given, step, across, out, step_out, across_out, rows, columns):
    # out[c step_out + r across_out] = given[r step + c across]
    whole_rows, whole_columns = 0, 0
    if across == 1 and across_out == 1:
        whole_rows, whole_columns = rows // SIDE * SIDE, columns // SIDE * SIDE
        for r in range(0, whole_rows, SIDE):
            for c in range(0, whole_columns, SIDE):
                turn(row(given + (r * step + c) * SIZE), step, row(out + (c * step_out + r) * SIZE), step_out)
    for r in range(rows):
        one = row(given + r * step * SIZE)
        into = row(out + r * across_out * SIZE)
        for c in range(whole_columns if r < whole_rows else 0, columns):
            into[c * step_out] = one[c * across]
"""


@lru_cache(maxsize=None)
def digest() -> str:
    """A text that changes with the functions in ``vectors.py``, which compiled code depends on."""
    source = (pathlib.Path(__file__).parent / "vectors.py").read_bytes()
    return hashlib.blake2b(source, digest_size=8).hexdigest()

"""Products with a narrow matrix as source for Numba, a few rows at once, every sum of theirs in a register.

    a (rows, inner), b (outs, inner):
    product    out = a b^T + bias  (rows, outs)
    by_rows    out = g b           (rows, inner): its derivative by a, from g (rows, outs)
    by_weight  out += g^T a        (outs, inner): its derivative by b, and behind it that by the bias

All come as addresses and are without gaps, but for the result of by_weight: its rows are ``wide(inner)`` apart, so that
its loops end with whole vectors. What lies between these rows means nothing, and as much is read behind the end of a.

Sums may be taken in any order here, so the compiler vectorises them. Which order that is depends on sizes and on a
row's place in its chunk, never on values or threads.

The product with two outs takes four rows at once, since eight sums fit the registers; what is left goes row by row::

    def product(a, b, bias, out, rows, inner, wide):
        for k in range(0, 2, 2):
            for r in range(0, rows - 3, 4):
                a0 = row(a + (r + 0) * inner * SIZE)
                b0 = row(b + (k + 0) * inner * SIZE)
                sum0_0 = F(0.0)
                for j in range(inner):
                    sum0_0 += a0[j] * b0[j]
                    sum1_0 += a1[j] * b0[j]
                out0[k + 0] = sum0_0 + row(bias)[k + 0]
            for r in range(rows - rows % 4, rows):
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, List, Tuple

from spikecore.kernels.emit import Source
from spikecore.kernels.runtime.build import KernelRecipe, make, recipe_of_tile
from spikecore.kernels.runtime.machine_code import CFunction

ARGUMENTS = {"product": ("a", "b", "bias", "out"), "by_rows": ("g", "b", "out"), "by_weight": ("g", "a", "out")}
TILES = tuple(ARGUMENTS)
AT_ONCE = {"product": (4, 5), "by_rows": (2, 5), "by_weight": (4, 2)}  # rows and outs, the fastest of some that fit
VECTOR = 16  # elements of the longest vectors
PAGE = 1024  # elements: rows so far apart are in each other's way


def wide(inner: int) -> int:
    """Distance of the rows of by_weight's result."""
    width = -(-inner // VECTOR) * VECTOR
    return width + VECTOR if width % PAGE == 0 else width


@lru_cache(maxsize=None)
def tile(name: str, outs: int, dtype: str) -> CFunction:
    """One of the three products as a C function, for matrices of ``outs`` rows. It takes addresses in the order of the
    formulas, the result last, then rows, inner and wide(inner). It lives as long as a reference to it.
    """
    return make(recipe_of(name, outs, dtype))


@lru_cache(maxsize=None)
def recipe_of(name: str, outs: int, dtype: str) -> KernelRecipe:
    """The recipe of one of the three products."""
    most, size = AT_ONCE[name]
    source, write = Source(), {"product": _product, "by_rows": _by_rows, "by_weight": _by_weight}[name]
    source.add(0, f"def {name}({', '.join(ARGUMENTS[name])}, rows, inner, wide):")
    for first, last, m in _groups(outs, size, by_itself=name == "by_rows"):
        source.add(1, f"for k in range({first}, {last}, {m}):")
        for n, some in ((most, f"range(0, rows - {most - 1}, {most})"), (1, f"range(rows - rows % {most}, rows)")):
            source.add(2, f"for r in {some}:")
            write(source, outs, range(n), range(m), first > 0)
    if name == "by_weight":
        source.add(1, f"sums = row(out + {outs} * wide * SIZE)", f"for k in range({outs}):", "    total = F(0.0)")
        source.add(2, "for r in range(rows):", f"    total += row(g + r * {outs} * SIZE)[k]", "sums[k] += total")
    return recipe_of_tile(source.text(), name, dtype, len(ARGUMENTS[name]) + 3)


def _groups(outs: int, size: int, by_itself: bool) -> List[Tuple[int, int, int]]:
    """Groups of outs, as begin, end and step of a loop over them: those of one size, perhaps the first by itself, and
    what is left.
    """
    size = min(size, outs)
    begin, whole = size if by_itself else 0, outs - outs % size
    groups = (0, begin, size), (begin, whole, size), (whole, outs, outs % size)
    return [group for group in groups if group[0] < group[1]]


def _name(source: Source, array: str, some: range, place: str, length: Any) -> None:
    """Code that gives names to some rows of an array, e.g. a0 and a1."""
    source.add(3, *(f"{array}{i} = row({array} + ({place} + {i}) * {length} * SIZE)" for i in some))


def _product(source: Source, outs: int, rows: range, some: range, later: bool) -> None:
    pairs = [(i, m) for m in some for i in rows]
    _name(source, "a", rows, "r", "inner")
    _name(source, "b", some, "k", "inner")
    _name(source, "out", rows, "r", outs)
    source.add(3, *(f"sum{i}_{m} = F(0.0)" for i, m in pairs), "for j in range(inner):")
    source.add(4, *(f"sum{i}_{m} += a{i}[j] * b{m}[j]" for i, m in pairs))
    source.add(3, *(f"out{i}[k + {m}] = sum{i}_{m} + row(bias)[k + {m}]" for i, m in pairs))


def _by_rows(source: Source, outs: int, rows: range, some: range, later: bool) -> None:
    _name(source, "g", rows, "r", outs)
    _name(source, "b", some, "k", "inner")
    _name(source, "out", rows, "r", "inner")
    source.add(3, *(f"g{i}_{m} = g{i}[k + {m}]" for i in rows for m in some), "for j in range(inner):")
    for i in rows:
        terms = [*([f"out{i}[j]"] if later else []), *(f"g{i}_{m} * b{m}[j]" for m in some)]
        source.add(4, f"out{i}[j] = {' + '.join(terms)}")


def _by_weight(source: Source, outs: int, rows: range, some: range, later: bool) -> None:
    _name(source, "g", rows, "r", outs)
    _name(source, "a", rows, "r", "inner")
    _name(source, "out", some, "k", "wide")
    source.add(3, *(f"g{i}_{m} = g{i}[k + {m}]" for i in rows for m in some), "for j in range(wide):")
    source.add(4, *(f"out{m}[j] += " + " + ".join(f"g{i}_{m} * a{i}[j]" for i in rows) for m in some))

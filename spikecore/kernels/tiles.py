"""Products with a narrow matrix as source for Numba, a few rows at once, every sum of theirs in a register.

    a (rows, inner), b (outs, inner):
    product    out = a b^T    (rows, outs)
    by_rows    out = g b      (rows, inner): its derivative by a, from g (rows, outs)
    by_weight  out += g^T a   (outs, inner): its derivative by b

All come as addresses and are without gaps, but for the result of by_weight: its rows are ``wide(inner)`` apart, so that
its loops end with whole vectors. What lies between these rows means nothing, and as much is read behind the end of a.

Sums may be taken in any order here, so the compiler vectorises them. Which order that is depends on sizes and on a
row's place in its chunk, never on values or threads.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from spikecore.kernels.cache import build_tile
from spikecore.kernels.emit import Source

ARGUMENTS = {"product": ("a", "b", "out"), "by_rows": ("g", "b", "out"), "by_weight": ("g", "a", "out")}
AT_ONCE = {"product": (4, 5), "by_rows": (2, 5), "by_weight": (4, 2)}  # rows and outs, the fastest of some that fit
VECTOR = 16  # elements of the longest vectors
PAGE = 1024  # elements: rows so far apart are in each other's way


def wide(inner: int) -> int:
    """How far apart the rows of by_weight's result are."""
    found = -(-inner // VECTOR) * VECTOR
    return found + VECTOR if found % PAGE == 0 else found


@lru_cache(maxsize=None)
def tile(name: str, outs: int, dtype: str) -> Any:
    """One of the three as a C function, for matrices of ``outs`` rows: called with addresses in the order of the
    formulas, result last, then rows, inner and wide(inner). It lives as long as this reference to it.
    """
    most, size = AT_ONCE[name]
    some_outs = [range(first, min(outs, first + size)) for first in range(0, outs, size)]
    source, write = Source(), {"product": _product, "by_rows": _by_rows, "by_weight": _by_weight}[name]
    source.add(0, f"def {name}({', '.join(ARGUMENTS[name])}, rows, inner, wide):")
    for n, some_rows in ((most, f"range(0, rows - {most - 1}, {most})"), (1, f"range(rows - rows % {most}, rows)")):
        source.add(1, f"for r in {some_rows}:")
        for some in some_outs:
            write(source, range(n), some, outs)
    return build_tile(source.text(), name, dtype)


def _rows(source: Source, array: str, some: range, length: str, first: str = "") -> None:
    """Name some rows of an array."""
    source.add(2, *(f"{array}{i} = row({array} + ({first}{i}) * {length} * SIZE)" for i in some))


def _product(source: Source, rows: range, some: range, outs: int) -> None:
    pairs = [(i, k) for k in some for i in rows]
    _rows(source, "a", rows, "inner", "r + ")
    _rows(source, "b", some, "inner")
    _rows(source, "out", rows, str(outs), "r + ")
    source.add(2, *(f"sum{i}_{k} = F(0.0)" for i, k in pairs), "for j in range(inner):")
    source.add(3, *(f"sum{i}_{k} += a{i}[j] * b{k}[j]" for i, k in pairs))
    source.add(2, *(f"out{i}[{k}] = sum{i}_{k}" for i, k in pairs))


def _by_rows(source: Source, rows: range, some: range, outs: int) -> None:
    _rows(source, "g", rows, str(outs), "r + ")
    _rows(source, "b", some, "inner")
    _rows(source, "out", rows, "inner", "r + ")
    source.add(2, *(f"g{i}_{k} = g{i}[{k}]" for i in rows for k in some), "for j in range(inner):")
    for i in rows:
        terms = [*([f"out{i}[j]"] if some[0] else []), *(f"g{i}_{k} * b{k}[j]" for k in some)]
        source.add(3, f"out{i}[j] = {' + '.join(terms)}")


def _by_weight(source: Source, rows: range, some: range, outs: int) -> None:
    _rows(source, "g", rows, str(outs), "r + ")
    _rows(source, "a", rows, "inner", "r + ")
    _rows(source, "out", some, "wide")
    source.add(2, *(f"g{i}_{k} = g{i}[{k}]" for i in rows for k in some), "for j in range(wide):")
    source.add(3, *(f"out{k}[j] += " + " + ".join(f"g{i}_{k} * a{i}[j]" for i in rows) for k in some))

"""Products with a narrow matrix as source for Numba, a few rows at once, every sum of theirs in a register.

    a (rows, inner), b (outs, inner):
    product    out = a b^T    (rows, outs)
    by_rows    out = g b      (rows, inner): its derivative by a, from g (rows, outs)
    by_weight  out += g^T a   (outs, inner): its derivative by b

All are without gaps and come as addresses. Sums may be taken in any order here, so the compiler vectorises them; which
order that is depends on the sizes alone.
"""

from __future__ import annotations

from typing import Callable, Iterable, List

from spikecore.kernels.emit import Source

HEAD = '@njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})'
ROWS = 4  # at once
SUMS = 20  # of rows times outs, in registers at once
TILE = SUMS // ROWS


def source_of(outs: int) -> str:
    """The three functions for a matrix of so many rows."""
    product, by_rows, by_weight = Source(), Source(), Source()
    for name, source in (("product", product), ("by_rows", by_rows), ("by_weight", by_weight)):
        large, small = ("out", "g") if name == "by_rows" else ("a", "out" if name == "product" else "g")
        arguments = {"product": "a, b, out", "by_rows": "g, b, out", "by_weight": "g, a, out"}[name]
        source.add(0, HEAD, f"def {name}({arguments}, rows, inner):")
        whole = "out" if name == "by_weight" else "b"
        source.add(1, *(f"{whole}{k} = row({whole} + {k} * inner * SIZE, inner)" for k in range(outs)))
        body = {"product": _product, "by_rows": _by_rows, "by_weight": _by_weight}[name]
        for n, loop in ((ROWS, f"range(0, rows - {ROWS - 1}, {ROWS})"), (1, f"range(rows - rows % {ROWS}, rows)")):
            source.add(1, f"for r in {loop}:")
            for i in range(n):
                source.add(2, f"{large}_{i} = row({large} + (r + {i}) * inner * SIZE, inner)")
                source.add(2, f"{small}_{i} = row({small} + (r + {i}) * {outs} * SIZE, {outs})")
            body(source, outs, n)
    return "\n\n".join(source.text() for source in (product, by_rows, by_weight))


def _tiles(outs: int, size: int) -> List[range]:
    return [range(first, min(outs, first + size)) for first in range(0, outs, size)]


def _summed(terms: Iterable[str]) -> str:
    return " + ".join(terms)


def _product(source: Source, outs: int, n: int) -> None:
    for some in _tiles(outs, TILE):
        source.add(2, *(f"sum_{i}_{k} = F(0.0)" for i in range(n) for k in some), "for j in range(inner):")
        source.add(3, *(f"sum_{i}_{k} += a_{i}[j] * b{k}[j]" for k in some for i in range(n)))
        source.add(2, *(f"out_{i}[{k}] = sum_{i}_{k}" for i in range(n) for k in some))


def _by_rows(source: Source, outs: int, n: int) -> None:
    source.add(2, *(f"g_{i}_{k} = g_{i}[{k}]" for i in range(n) for k in range(outs)), "for j in range(inner):")
    source.add(3, *(f"out_{i}[j] = " + _summed(f"g_{i}_{k} * b{k}[j]" for k in range(outs)) for i in range(n)))


def _by_weight(source: Source, outs: int, n: int) -> None:
    for some in _tiles(outs, TILE):
        source.add(2, *(f"g_{i}_{k} = g_{i}[{k}]" for i in range(n) for k in some), "for j in range(inner):")
        source.add(3, *(f"out{k}[j] += " + _summed(f"g_{i}_{k} * a_{i}[j]" for i in range(n)) for k in some))

"""Gradients by weights whose zeros are kept: only the entries that are there have one.

    gradient[i, j] = sum over rows r of g[r, i] x[r, j]      where weight[i, j] is not zero

If x are spikes, the sum is over the rows in which neuron j fires; 16 columns of g are turned into rows that stay in
the cache. Else it is a dot product, see ``dots.py``. Every sum is taken in the order of its list: threads do not change
the bits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, Optional, Tuple

from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sizes import has_numba, times_larger
from spikecore.kernels.sparse import product as sparse
from spikecore.kernels.sparse.words import TURN, digest

ROWS = 4096  # of a list of spikes: a row of g turned stays in first-level cache
COMPARED = 0.25  # a weight with fewer entries is taken as pruned in a check
# Nanoseconds, as those in product.py: a spike of an entry's list, beginning a list, turning an element of g.
SPIKE, LIST, ELEMENT = 0.42, 20.0, 0.6

BEFORE = """
from spikecore.kernels.sparse.vectors import turn  # {digest}

numbers, whole = pointer_to("uint16"), pointer_to("int64")
{turn}"""
SOURCE = """\
def kept(worker, workers, table):
    outs, rows, blocks, of_weight, begins, lists, by = (
        table[0], table[1], table[2], table[3], whole(table[4]), numbers(table[5]), row(table[6]))
    begin, index = whole(table[7]), numbers(table[8])
    g, step, out, step_out = table[9], table[10], table[11], table[12]
    panel, apart = table[13] + worker * table[14] * SIZE, {rows} + 16
    tasks = (outs + 15) // 16
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        low = task * 16
        some = min(16, outs - low)
        for block in range(blocks):
            first = block * {rows}
            square(g + (first * step + low) * SIZE, step, 1, panel, apart, 1, min({rows}, rows - first), some)
            for i in range(some):
                of_row, into = row(panel + i * apart * SIZE), row(out + (low + i) * step_out * SIZE)
                for part in range(of_weight):
                    at = (low + i) * of_weight + part
                    for n in range(begin[at], begin[at + 1]):
                        j = part * {block} + np.int64(index[n])
                        k, end = begins[j * blocks + block], begins[j * blocks + block + 1]
                        a, b, c, d = F(0.0), F(0.0), F(0.0), F(0.0)
                        while k + 4 <= end:
                            if {weighted}:
                                a += of_row[lists[k]] * by[k]
                                b += of_row[lists[k + 1]] * by[k + 1]
                                c += of_row[lists[k + 2]] * by[k + 2]
                                d += of_row[lists[k + 3]] * by[k + 3]
                            else:
                                a += of_row[lists[k]]
                                b += of_row[lists[k + 1]]
                                c += of_row[lists[k + 2]]
                                d += of_row[lists[k + 3]]
                            k += 4
                        while k < end:
                            a += of_row[lists[k]] * by[k] if {weighted} else of_row[lists[k]]
                            k += 1
                        into[j] += (a + b) + (c + d)
"""


def by_kept_weight(weight: Any, g: Any, x: Any = None, spikes: Any = None) -> Any:
    """The gradient by a weight (outs, inner) whose zeros are kept, zero where the weight is; None where another way is
    faster, and where a weight's zeros are not kept.

    Args:
        weight: a NumPy array without gaps in a row.
        g: the gradient by the product, (rows, outs).
        x: what the weight was multiplied with, (rows, inner); None where there are ``spikes``, of one.
        spikes: x as a ``SparseSpikes``; None where lists of it are not at hand.
    """
    if not sparse.keeps_zeros(weight) or weight.ndim != 2 or not has_numba():
        return None
    (outs, inner), rows, dtype = weight.shape, len(g), weight.dtype
    if weight.strides[1] != weight.itemsize or dtype.name not in ("float32", "float64") or g.dtype != dtype:
        return None
    if not sparse.is_worth(rows * weight.size) or not (weight.flags.aligned and g.flags.aligned):
        return None
    other = 1.0 if spikes is None else sparse.relative_time(rows, inner, outs, spikes.bits.rate, transposed=True)
    firing = spikes.bits.rate if spikes is not None and g.strides[1] == g.itemsize else None
    most = sparse.COUNTED * min(1.0, other)

    def fits(rate: float) -> bool:
        return rate < COMPARED if times_larger() != 1.0 else _fastest(rows, inner, outs, rate, firing)[1] <= most

    if not fits(sparse.sampled_rate(weight)):
        return None
    from spikecore.kernels.sparse.bits import pack
    from spikecore.kernels.sparse.dots import dots
    from spikecore.kernels.sparse.lists import by_columns, by_rows

    bits = pack(weight)
    if not fits(bits.rate):  # a few entries were looked at, which may be others than most
        return None
    lists, (way, _) = by_rows(bits), _fastest(rows, inner, outs, bits.rate, firing)
    if way == "dots":
        return dots(lists, g.T, (spikes.dense(dtype) if x is None else x).T)
    return _gathered(lists, by_columns(spikes.bits, spikes.values, ROWS), g, weight.shape)


def _fastest(rows: int, inner: int, outs: int, rate: float, firing: Optional[float]) -> Tuple[str, float]:
    """The fastest way, and its time as a part of the dense product's.

    ``rate`` is the part of the weight that is not zero, ``firing`` that of x; None where x has no lists.
    """
    dense, entries = rows * inner * (sparse.DENSE * outs + sparse.DENSE_ROW), rate * inner * outs
    lists = sparse.CALLS + inner * outs * (0.35 + 3.0 * rate)
    ways = {"dots": entries * (4.0 + 0.07 * rows) + rows * (inner + outs) * 0.5}
    if firing is not None:
        ways["lists"] = rows * outs * ELEMENT + rows * inner * (0.2 + 3.0 * firing)
        ways["lists"] += entries * (LIST * -(-rows // ROWS) + firing * rows * SPIKE)
    way = min(ways, key=ways.__getitem__)
    return way, (lists + ways[way]) / max(1.0, dense)


def _gathered(weight: Any, spikes: Any, g: Any, shape: Tuple[int, int]) -> Any:
    """The gradient from lists: of the weight's entries by rows, and of spikes by columns."""
    from spikecore.kernels.runtime import allocator
    from spikecore.kernels.sparse.bits import address

    out, workers = allocator.zeros(shape, g.dtype), most_threads()
    panel = allocator.empty((workers, 16 * (ROWS + 16)), g.dtype)
    weighted = spikes.factors is not None
    lists = (spikes.begin, spikes.index, spikes.factors if weighted else spikes.index, weight.begin, weight.index)
    numbers = (len(out), len(g), spikes.blocks, weight.blocks, *map(address, lists))
    _kernel(g.dtype.name, weighted)(workers, numbers, (g, out, panel))
    return out


def rules(products: Tuple[Callable[..., Any], ...]) -> Tuple[Callable[..., Any], ...]:
    """The vector-Jacobian products of the word ``linear``, of which that by the weight makes its entries alone."""
    by_x, by_weight, *rest = products

    def by_kept(xp: Any, g: Any, out: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        if g.ndim != 2:
            return by_weight(xp, g, out, x, weight, bias)
        found = by_kept_weight(weight, g, x, sparse.spikes_of(x, len(weight), transposed=True))
        return by_weight(xp, g, out, x, weight, bias) if found is None else found

    return (by_x, by_kept, *rest)


def recipe(dtype: str, weighted: bool) -> KernelRecipe:
    """The recipe of the sums over spikes, with factors if ``weighted``."""
    before = BEFORE.format(digest=digest(), turn=TURN)
    return recipe_of_run(SOURCE.format(block=sparse.BLOCK, rows=ROWS, weighted=weighted), "kept", dtype, before=before)


@lru_cache(maxsize=None)
def _kernel(dtype: str, weighted: bool) -> Any:
    return kernel_of(recipe(dtype, weighted), dtype)

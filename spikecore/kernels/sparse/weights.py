"""Matrix products with weights, dense or by the entries that are not zero: whichever is expected to take less time.

Which one it is depends on the weight's values and on sizes alone, so the same operands always give the same bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Optional

from spikecore.kernels.sizes import has_numba, times_larger
from spikecore.kernels.sparse import product as sparse
from spikecore.kernels.sparse.words import WIDE

if TYPE_CHECKING:
    from spikecore.kernels.sparse.pruned import Entries

COMPARED = 0.25  # a weight with fewer entries is taken as pruned in a check
CALL = 10_000.0  # nanoseconds, as those in product.py: one call from Python


def times_pruned(left: Any, matrix: Any, start: Any = None, most: float = sparse.GUESSED) -> Any:
    """The product of NumPy arrays ``left @ matrix``, plus ``start`` (outs,), if given, by those entries of ``matrix``
    that are not zero; None where that takes more than the part ``most`` of the dense product's time.
    """
    if left.strides[1] != left.itemsize or not left.flags.aligned or left.dtype != matrix.dtype:
        return None
    found = entries_of(matrix, len(left), most=most)
    if found is None:
        return None
    sparse.note(found.rate, lists=True, of="weights")
    return found.multiplied(left, start)


def times_spikes(spikes: sparse.SparseSpikes, left: Any, matrix: Any, start: Any = None) -> Any:
    """The product of spikes, which ``left`` has as an array, with a matrix, by the lists of either, as is faster."""
    most = -1.0 if times_larger() != 1.0 else min(sparse.GUESSED, spikes.relative_time(matrix.shape[1]))
    by_entries = times_pruned(left, matrix, start, most)
    return spikes.times(matrix, start) if by_entries is None else by_entries


def entries_of(matrix: Any, rows: int, times: int = 1, most: float = sparse.GUESSED) -> Optional[Entries]:
    """The entries of a NumPy array that are not zero, if these make ``times`` products of ``rows`` with it in the
    part ``most`` of the dense products' time; None otherwise.
    """
    if time_if_pruned(matrix, rows, times) > most:
        return None
    from spikecore.kernels.sparse import pruned

    found = pruned.entries(matrix)
    inner, outs = matrix.shape
    if times_larger() == 1.0 and relative_time_of_entries(rows, inner, outs, found.rate, times) > most:
        return None
    return found


def time_if_pruned(matrix: Any, rows: int, times: int = 1) -> float:
    """About the time of ``times`` products of ``rows`` with the entries of a matrix, as a part of the dense products';
    infinity where it has no such product. A few of its entries are looked at.
    """
    (inner, outs), dtype = matrix.shape, matrix.dtype.name
    if not sparse.is_worth(rows * times * inner * outs) or outs < sparse.FEWEST or dtype not in ("float32", "float64"):
        return math.inf
    if not (has_numba() and matrix.itemsize in matrix.strides and matrix.flags.aligned):
        return math.inf
    rate = sparse.sampled_rate(matrix)
    if times_larger() != 1.0:
        return 0.0 if rate < COMPARED else math.inf
    return relative_time_of_entries(rows, inner, outs, rate, times)


def relative_time_of_entries(rows: int, inner: int, outs: int, rate: float, times: int = 1) -> float:
    """Time of ``times`` products of ``rows`` with a matrix (inner, outs) of which ``rate`` is not zero, as a part
    of the time of the dense products.
    """
    elements, wide = inner * outs, -(-rows // WIDE) * WIDE
    lists, turning = elements * (0.35 + rate * 6.0), wide * (inner + outs) * 0.35
    adding = elements * rate * wide * 0.047
    dense = rows * inner * (sparse.DENSE * outs + sparse.DENSE_ROW)
    return (sparse.CALLS + lists + times * (CALL + turning + adding)) / max(1.0, times * dense)

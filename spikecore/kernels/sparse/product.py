"""Matrix products with spikes, dense or by lists: whichever is expected to take less time.

Which one it is depends on the operand's values and shape alone, not on earlier calls or on threads. The same operands
therefore always give the same bits.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ContextManager, FrozenSet, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from spikecore.kernels.sizes import has_numba, times_larger

LEAST = 1 << 26  # multiplications from which on it is worth looking at the values
FEWEST = 8  # columns of the other matrix
SAMPLE = 16, 256  # rows and columns that are looked at first
GUESSED, COUNTED = 0.75, 0.95  # lists must take less than this part of the dense product's time
LANES, BLOCK = 16, 1024  # columns and rows of the other matrix are taken so many at once
# Nanoseconds on one core of an AMD EPYC of 2023. Only their ratios matter, and these differ less between machines.
DENSE, DENSE_ROW = 0.0205, 0.6  # a multiplication of a library's product; an element of its left operand
ADDITION, SPIKE = 0.04, 0.3  # adding an element of a row; beginning to add a row
SUM = 0.65  # beginning an element of a sum
CALLS = 150_000.0  # some calls from Python
_own = threading.local()


@dataclass(frozen=True)
class SparseSpikes:
    """A matrix that is zero almost everywhere.

    Args:
        bits: where it is not zero.
        values: the matrix itself; None where all that is not zero is one.
    """

    bits: Any
    values: Any

    @property
    def shape(self) -> Tuple[int, int]:
        """Rows and columns."""
        return len(self.bits.words), self.bits.columns

    def relative_time(self, outs: int) -> float:
        """Time of ``times`` a matrix with so many columns, as a part of the dense product's."""
        return relative_time(*self.shape, outs, self.bits.rate)

    def times(self, matrix: Any, start: Any = None) -> Any:
        """The product with a matrix (columns, outs), plus ``start`` (outs,), if given."""
        from spikecore.kernels.sparse.gather import sums
        from spikecore.kernels.sparse.lists import by_rows

        return sums(by_rows(self.bits, self.values), matrix, start)

    def transposed_times(self, matrix: Any) -> Any:
        """The product of the transpose with a matrix (rows, outs); None where a dense product is faster."""
        if relative_time(*self.shape, matrix.shape[1], self.bits.rate, transposed=True) > COUNTED:
            return None
        from spikecore.kernels.sparse.gather import sums
        from spikecore.kernels.sparse.lists import by_columns

        return sums(by_columns(self.bits, self.values), matrix)

    def dense(self, dtype: Any) -> Any:
        """The matrix."""
        from spikecore.kernels.sparse.bits import unpack

        return unpack(self.bits, dtype) if self.values is None else self.values


def spikes_of(matrix: Any, outs: int, transposed: bool = False) -> Optional[SparseSpikes]:
    """A NumPy array, or its transpose, as spikes if lists make the product with a matrix of ``outs`` columns faster;
    None otherwise.
    """
    (rows, columns), dtype = matrix.shape, matrix.dtype.name
    if not is_worth(rows * columns * outs) or outs < FEWEST or dtype not in ("float32", "float64") or not has_numba():
        return None
    if matrix.strides[1] != matrix.itemsize or not matrix.flags.aligned:
        return None
    guess, compared = sampled_rate(matrix), times_larger() != 1.0
    if not compared and relative_time(rows, columns, outs, guess, transposed) > GUESSED:
        note(guess, lists=False, counted=False)
        return None
    from spikecore.kernels.sparse.bits import pack

    bits = pack(matrix)
    lists = compared or relative_time(rows, columns, outs, bits.rate, transposed) < COUNTED
    note(bits.rate, lists)
    return SparseSpikes(bits, None if bits.binary else matrix) if lists else None


def is_worth(multiplications: int) -> bool:
    """Whether so many multiplications are worth looking at the values: a check goes the way that the whole may go."""
    return multiplications * times_larger() >= LEAST


@contextmanager
def keeping(addresses: Iterable[int]) -> Iterator[None]:
    """A block in which nobody reads the gradients by weights that begin at these addresses, where they are zero."""
    before, _own.kept = kept_weights(), frozenset(addresses)
    try:
        yield
    finally:
        _own.kept = before


def kept_weights() -> FrozenSet[int]:
    """The addresses of ``keeping``, for a backward pass that comes after its block."""
    return getattr(_own, "kept", frozenset())


def keeps_zeros(weight: Any = None) -> bool:
    """Whether nobody reads the gradient by a weight where it is zero; without a weight: whether this is so of any."""
    kept = kept_weights()
    return bool(kept) and (weight is None or weight.ctypes.data in kept)


def watched() -> ContextManager[List[str]]:
    """Findings of the products inside this context: a list of one line for each that looked."""
    return _Watch()


class _Watch:
    """The context that ``watched`` returns."""

    def __enter__(self) -> List[str]:
        self.before, _own.lines = getattr(_own, "lines", None), []
        return _own.lines  # type: ignore[no-any-return]

    def __exit__(self, *_: Any) -> None:
        _own.lines = self.before


def note(rate: float, lists: bool, counted: bool = True, of: str = "inputs") -> None:
    """Add a line on a product to the lists of ``watched`` contexts."""
    if getattr(_own, "lines", None) is not None:
        why = "as lists" if lists else "dense, which takes less time at this rate"
        _own.lines.append(f"{'' if counted else 'about '}{100.0 * rate:.2g} % of the {of} are not zero: {why}")


def sampled_rate(matrix: Any) -> float:
    """About which part of a matrix is not zero, from rows and columns evenly apart."""
    rows, columns = (max(1, n // most | 1) for n, most in zip(matrix.shape, SAMPLE))
    some = matrix[::rows, ::columns]
    return float(np.count_nonzero(some) / some.size)


def relative_time(rows: int, columns: int, outs: int, rate: float, transposed: bool = False) -> float:
    """Time of a product by lists, with lists made first: a part of the time of the dense product.

    Args:
        rows, columns: of the spikes.
        outs: columns of the other matrix.
        rate: part of the spikes that are not zero.
        transposed: whether the spikes are transposed first, as they are for the gradient by a weight.
    """
    elements, wide = rows * columns, -(-outs // LANES) * LANES
    sums, inner = (columns, rows) if transposed else (rows, columns)
    element, spike, copy = (0.2, 3.0, 0.4) if transposed else (0.4, 0.6, 1.5)  # lists; copying the other matrix
    lists = elements * (element + rate * (spike + SPIKE + wide * ADDITION))  # and adding what is listed
    adding = sums * wide * -(-inner // BLOCK) * SUM + inner * wide * copy
    return (CALLS + lists + adding) / max(1.0, elements * (DENSE * outs + DENSE_ROW))


def highest_rate(columns: int, outs: int) -> float:
    """The highest rate of spikes at which lists are expected to be faster for a large batch; 0 if they never are."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if relative_time(1 << 16, columns, outs, middle) < COUNTED else (low, middle)
    return low

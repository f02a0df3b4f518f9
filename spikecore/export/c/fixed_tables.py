"""Weights as tables of small integers: of eight bits or more, of four, of two, or only those that are not zero.

A weight in each byte, and four weights of two bits in each::

    static const int8_t weight_0[24] = {
    static const uint8_t weight_2[6] = {
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from spikecore.export.c.fixed import Fixed, fixed, integers
from spikecore.export.c.weight_rows import sparse_rows

#: Weights of fewer than eight bits: how many stand in a byte.
PER_BYTE = {2: 4, 4: 2}
#: Functions that read one; PREFIX stands for that of the network. With n bytes to a row, byte p has the weights p,
#: n + p, and so on, so that each loop goes through bytes that stand one behind the other.
READ = {
    4: """/* Weight number k of a byte: four bits, two's complement. */
static inline int32_t PREFIX_int4(uint8_t byte, int k)
{
    return ((byte >> 4 * k & 15) ^ 8) - 8;
}""",
    2: """/* Weight number k of a byte: two bits, two's complement. */
static inline int32_t PREFIX_int2(uint8_t byte, int k)
{
    return ((byte >> 2 * k & 3) ^ 2) - 2;
}""",
}


@dataclass(frozen=True, eq=False)
class Weights:
    """A matrix of integers times a power of two, a row for each input, a column for each output.

    Args:
        rows: the integers, (inputs, outputs).
        bits: of each as it is stored.
        shifts: for each output channel, how far its sums are shifted to the left; None: no channel's.
        sparse: where only the numbers that are not zero are stored: where each row begins, their columns, and they;
            None: all are stored.
    """

    rows: np.ndarray
    bits: int
    shifts: Optional[np.ndarray] = None
    sparse: Optional[Tuple[np.ndarray, ...]] = None

    @property
    def arrays(self) -> Tuple[np.ndarray, ...]:
        """The tables, that of the numbers last."""
        return self.sparse or (self.bytes,)

    @property
    def bytes(self) -> np.ndarray:
        """The stored form of a matrix that is not sparse: (inputs, bytes or integers of a row)."""
        return packed(self.rows, self.bits) if self.bits < 8 else self.rows.astype(f"int{self.bits}")


def weights_of(array: np.ndarray, outputs: np.ndarray) -> Weights:
    """The smallest table of a weight.

    Args:
        array: the weight, (inputs, outputs), numbers on a grid.
        outputs: the output channel of each of its numbers, an array of the same shape: (inputs, outputs).
    """
    kind = fixed(array)
    rows = integers(array, kind.fraction)
    bits, shifts = _bits(kind), None
    finer = _shifts(rows, outputs)
    shifted = rows >> finer[outputs]
    if _bits(_range(shifted)) < bits:
        rows, bits, shifts = shifted, _bits(_range(shifted)), finer.astype("uint8")
    values = rows.astype(f"int{max(bits, 8)}")
    return Weights(rows, bits, shifts, sparse_rows(values, _size(rows, bits)))


def _range(rows: np.ndarray) -> Fixed:
    return Fixed(0, int(rows.min(initial=0)), int(rows.max(initial=0)))


def _bits(kind: Fixed) -> int:
    fits = (bits for bits in PER_BYTE if -(1 << (bits - 1)) <= kind.low and kind.high < 1 << (bits - 1))
    return next(fits, kind.width)


def _shifts(rows: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """For each output channel, by how many bits all of its weights can be divided."""
    together = np.zeros(int(outputs.max(initial=-1)) + 1, "int64")
    np.bitwise_or.at(together, outputs, rows)
    lowest = together & -together
    return np.where(lowest > 0, np.frexp(lowest.astype("float64"))[1] - 1, 0)


def _size(rows: np.ndarray, bits: int) -> int:
    per = PER_BYTE.get(bits, 0)
    return rows.shape[0] * -(-rows.shape[1] // per) if per else rows.size * bits // 8


def packed(rows: np.ndarray, bits: int) -> np.ndarray:
    """Rows of integers of two or four bits, several to a byte; each row begins a new byte."""
    per = PER_BYTE[bits]
    length = -(-rows.shape[1] // per)
    padded = np.zeros((rows.shape[0], per * length), "int64")
    padded[:, : rows.shape[1]] = rows & ((1 << bits) - 1)
    parts = padded.reshape(-1, per, length) << (bits * np.arange(per))[:, None]
    return np.asarray(parts.sum(axis=1), "uint8")

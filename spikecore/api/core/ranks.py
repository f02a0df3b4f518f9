"""``Ranks``: the processes that train one model together, each on its part of every batch."""

from __future__ import annotations

from typing import List, Sequence, TypeVar

Value = TypeVar("Value")


class Ranks:
    """The processes that train one model together. This class stands for a process that trains alone.

    Every method is collective: all ranks call it, in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def part(self, count: int) -> slice:
        """Which of the ``count`` samples of a batch are this rank's: neighbours, and as many as the others have, or one
        less.
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sums(self, values: Sequence[float]) -> List[float]:
        """The sums of numbers over all ranks."""
        return list(values)

    def gathered(self, value: Value) -> List[Value]:
        """The values of all ranks, by rank."""
        return [value]

    def shared(self, value: Value) -> Value:
        """The value of rank 0."""
        return value

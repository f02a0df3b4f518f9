"""``Ranks``: the processes that train one model together, each on its part of every batch."""

from __future__ import annotations

import os
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple, TypeVar

Value = TypeVar("Value")
#: How launchers tell a process how many of its kind they have started: a variable with their number, and one that is
#: only there if the launcher has started this very process. A batch script under SLURM is none of the tasks of srun.
LAUNCHERS = {
    "WORLD_SIZE": "RANK",
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",
    "PMI_SIZE": "PMI_RANK",
    "SLURM_STEP_NUM_TASKS": "SLURM_PROCID",
}


class RankError(RuntimeError):
    """Processes that train one model together cannot continue: they differ, or one of them has failed."""


class RankLost(RankError):
    """Another process of those that train one model together has ended, or does not answer."""


class Ranks:
    """The processes that train one model together. This class stands for a process that trains alone.

    Every method but ``part`` is collective: all ranks call it, in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        narrow: whether gradients are sent in bfloat16.
    """

    rank: int = 0
    size: int = 1
    narrow: bool = False

    def part(self, count: int) -> slice:
        """The samples of a batch of ``count`` that this rank takes: a range, for all ranks of the same length or one
        less.
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sums(self, values: Sequence[float]) -> List[float]:
        """The sums of numbers over all ranks."""
        return [sum(column) for column in zip(*self.table(values))]

    def table(self, values: Sequence[float]) -> List[List[float]]:
        """The numbers of all ranks, by rank; every rank passes the same number of them."""
        return [list(values)]

    def gathered(self, value: Value) -> List[Value]:
        """The values of all ranks, by rank."""
        return [value]

    def shared(self, value: Value) -> Value:
        """The value of rank 0."""
        return self.gathered(value)[0]

    def meet(self, error: Optional[Exception] = None, *figures: float) -> List[List[float]]:
        """Raise on all ranks if one has failed; else the figures of all ranks, by rank.

        Args:
            error: what has gone wrong on this rank; None: nothing.
            *figures: numbers for the other ranks.

        Raises:
            Exception: ``error``, on the rank whose it is.
            RankError: on the others; names the rank.
        """
        if error is not None and self.size == 1:
            raise error
        rows = self.table([float(error is not None), *figures])
        failed = [rank for rank, row in enumerate(rows) if row[0]]
        if failed:
            texts = self.gathered("" if error is None else f"{type(error).__name__}: {error}")
            if error is not None:
                raise error
            raise RankError(f"rank {failed[0]} of {self.size} has failed: {texts[failed[0]]}")
        return [row[1:] for row in rows]

    def alike(self, function: Callable[[], Value]) -> Value:
        """The result of a function; if it fails on one rank, all fail, as in ``meet``."""
        error, result = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        self.meet(error)
        return result  # type: ignore[return-value]  # no error, so there is a result

    def watch(self) -> None:
        """Notice in half a minute if the machine of another rank vanishes without a word."""

    def compare(self, what: Dict[str, str]) -> None:
        """Refuse, on all ranks alike, to continue if the texts of a rank are not those of rank 0.

        Raises:
            RankError: names what differs, with the values of both ranks.
        """
        if self.size == 1:
            return
        rows = self.gathered(what)
        for rank, row in enumerate(rows):
            differing = [name for name in {**rows[0], **row} if rows[0].get(name) != row.get(name)]
            if differing:
                pairs = [
                    f"{name} is {row.get(name)} on rank {rank}, {rows[0].get(name)} on rank 0" for name in differing
                ]
                raise RankError(
                    f"the processes that train together differ: {'; '.join(pairs)}. Start all with the same"
                )

    def versions(self) -> Dict[str, str]:
        """Further values that must be equal in all ranks, by name: versions of the libraries below."""
        return {}


def launched(environment: Optional[Mapping[str, str]] = None) -> Optional[Tuple[str, int]]:
    """The number of processes that a launcher has started together with this one, and the variable that says so; None
    if there is one.
    """
    table = os.environ if environment is None else environment
    for variable, own in LAUNCHERS.items():
        count = table.get(variable, "")
        if count.isdecimal() and int(count) > 1 and own in table:
            return variable, int(count)
    return None

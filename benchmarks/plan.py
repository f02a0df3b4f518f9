"""The types of a benchmark: workloads, groups of sides, and the bars that a side must meet."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Optional, Sequence, Tuple

Evidence = Dict[str, Any]  # NumPy arrays by name; names that begin with "spikes" are spikes, all others gradients
Run = Callable[[], Callable[[], Evidence]]  # does the work once; calling its result, untimed, gives the evidence

PEERS = {  # key: (import name, how to install it)
    "snntorch": ("snntorch", "snntorch"),
    "spikingjelly": ("spikingjelly", "spikingjelly"),
    "norse": ("norse", "norse"),
    "sinabs": ("sinabs", "sinabs"),
    "spyx": ("spyx", "spyx"),
    "jax": ("jax", "jax"),
}


class Absent(Exception):
    """A side cannot run here; the message has the reason and the remedy."""


@dataclass(frozen=True)
class Settings:
    """The options of ``spikecore bench``.

    Args:
        quick: use tiny shapes to test that everything runs; the times mean nothing.
        device: "cpu" or "cuda" (or "cuda:1"), for everything that uses torch.
        engines: engines of this library to time, if a workload has several.
        peers: other libraries to time; None for all.
        batch: batch size; None for each workload's own.
        memory_kept: whether the process keeps the memory that it frees (``spikecore.utils.keep_memory``).
    """

    quick: bool = False
    device: str = "cpu"
    engines: Tuple[str, ...] = ("torch", "numpy")
    peers: Optional[Tuple[str, ...]] = None
    batch: Optional[int] = None
    memory_kept: bool = False

    def size(self, full: Any, quick: Any) -> Any:
        """``full``, or ``quick`` if the option ``quick`` is set."""
        return quick if self.quick else full

    def samples(self, full: int, quick: int) -> int:
        """The batch size: the option ``batch``, else as ``size``."""
        return self.batch or self.size(full, quick)

    def wants(self, side: Side) -> bool:
        """Whether the options include a side."""
        if side.peer is not None:
            return self.peers is None or side.peer in self.peers
        return side.engine is None or side.engine in self.engines


@dataclass(frozen=True)
class Side:
    """A library or an engine that does the work of a group.

    Args:
        name: name in the table.
        make: does all that is not timed, such as imports of peers, and returns the run.
        peer: key in ``PEERS`` of the package that the side needs; None for this library.
        engine: the engine of this library that the side times; None for a peer.
    """

    name: str
    make: Callable[[], Run]
    peer: Optional[str] = None
    engine: Optional[str] = None

    def ready(self) -> Run:
        """Make the run.

        Raises:
            Absent: the package of the side is not installed, or the machine lacks something.
        """
        if self.peer is not None:
            package, install = PEERS[self.peer]
            if importlib.util.find_spec(package) is None:
                raise Absent(f"not installed: pip install {install}")
        return self.make()


@dataclass(frozen=True)
class Bar:
    """A limit: the median of ``side`` is at most ``most`` times that of ``against``, or ``most`` if that is None."""

    side: str
    against: Optional[str]
    most: float


@dataclass(frozen=True)
class Group:
    """Sides that do the same work; times are relative to the first.

    Args:
        title: first column of the table.
        sides: the sides.
        reference: an untimed run with whose evidence all sides are compared; None for no comparison.
        bars: limits that sides must meet.
        unit: "ms" for the wall-clock time of each run; with another unit, the run itself returns the figure.
        rounds: largest number of rounds, for long runs; None for no limit.
        warmup: rounds before the first that counts.
        rates: an untimed measurement of the spike rates that the evidence of the sides does not show: of the input, of
            layers inside. They are those of the reference run.
        memory: whether to measure the peak memory of each side, too, when all have been timed.
    """

    title: str
    sides: Tuple[Side, ...]
    reference: Optional[Callable[[], Run]] = None
    bars: Tuple[Bar, ...] = ()
    unit: str = "ms"
    rounds: Optional[int] = None
    warmup: int = 2
    rates: Optional[Callable[[], Dict[str, float]]] = None
    memory: bool = False


@dataclass(frozen=True)
class Workload:
    """A named benchmark.

    Args:
        name: name on the command line.
        title: heading of its table.
        text: says what the work is, and how each side does it.
        groups: makes the groups for given settings.
        summary: what stands above the table: a text about its rows; None for nothing.
    """

    name: str
    title: str
    text: str
    groups: Callable[[Settings], Iterable[Group]]
    summary: Optional[Callable[[Sequence[Any]], str]] = None

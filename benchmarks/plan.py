"""What is to be measured: workloads, groups of comparable sides, and the bars they are held to."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

Evidence = Dict[str, Any]  # NumPy arrays; names that begin with "spikes" are counted, all others are gradients
Run = Callable[[], Callable[[], Evidence]]  # the work, once; it returns what tells, untimed, what was computed

PEERS = {  # key: (import name, how to install it)
    "snntorch": ("snntorch", "snntorch"),
    "spikingjelly": ("spikingjelly", "spikingjelly"),
    "norse": ("norse", "norse"),
    "sinabs": ("sinabs", "sinabs"),
    "spyx": ("spyx", "spyx"),
    "jax": ("jax", "jax"),
}


class Absent(Exception):
    """A side cannot run here; the message says why and what would help."""


@dataclass(frozen=True)
class Settings:
    """What the user chose.

    Args:
        quick: tiny shapes, to see that everything runs; the times mean nothing.
        device: "cpu" or "cuda" (or "cuda:1"), for everything that runs on torch.
        engines: which of this library's engines to time, where a workload has several.
        peers: which peers to time; None means all.
        batch: batch size instead of the workload's own.
        memory_kept: whether the process keeps what it frees (``spikecore.utils.keep_memory``).
    """

    quick: bool = False
    device: str = "cpu"
    engines: Tuple[str, ...] = ("torch", "numpy")
    peers: Optional[Tuple[str, ...]] = None
    batch: Optional[int] = None
    memory_kept: bool = False

    def size(self, full: Any, quick: Any) -> Any:
        """A size, or the small one."""
        return quick if self.quick else full

    def samples(self, full: int, quick: int) -> int:
        """The batch size."""
        return self.batch or self.size(full, quick)

    def wants(self, side: Side) -> bool:
        """Whether a side was asked for."""
        if side.peer is not None:
            return self.peers is None or side.peer in self.peers
        return side.engine is None or side.engine in self.engines


@dataclass(frozen=True)
class Side:
    """One contestant.

    Args:
        name: as it stands in the table.
        make: builds everything that is not to be timed and returns the run; imports of peers belong in here.
        peer: key in ``PEERS`` of the package it needs.
        engine: the engine of this library that it times.
    """

    name: str
    make: Callable[[], Run]
    peer: Optional[str] = None
    engine: Optional[str] = None

    def ready(self) -> Run:
        """The run.

        Raises:
            Absent: its package is not installed, or the machine lacks something.
        """
        if self.peer is not None:
            package, install = PEERS[self.peer]
            if importlib.util.find_spec(package) is None:
                raise Absent(f"not installed: pip install {install}")
        return self.make()


@dataclass(frozen=True)
class Bar:
    """A side's median must be at most ``most`` times that of another side, or ``most`` itself if there is no other."""

    side: str
    against: Optional[str]
    most: float


@dataclass(frozen=True)
class Group:
    """Sides that do the same work; times are relative to the first.

    Args:
        title: first column of the table.
        sides: the contestants.
        reference: an untimed run whose evidence all are compared with; None where nothing is to be compared.
        bars: what they are held to.
        unit: "ms" is wall-clock time around each run; with another unit the run itself returns the figure.
        rounds: at most so many rounds, for runs that take long.
        warmup: rounds that are not counted.
    """

    title: str
    sides: Tuple[Side, ...]
    reference: Optional[Callable[[], Run]] = None
    bars: Tuple[Bar, ...] = ()
    unit: str = "ms"
    rounds: Optional[int] = None
    warmup: int = 2


@dataclass(frozen=True)
class Workload:
    """A named benchmark.

    Args:
        name: as the command line knows it.
        title: heading.
        text: what is done, and what each side does.
        groups: its groups, for given settings.
    """

    name: str
    title: str
    text: str
    groups: Callable[[Settings], Iterable[Group]]

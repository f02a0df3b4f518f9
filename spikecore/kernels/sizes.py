"""From which size on compiled kernels pay off."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import threading
from functools import lru_cache
from typing import Any, Iterator, Sequence

LARGE = 1 << 18  # neuron-steps from which on a run pays for its kernels' compilation
REPEATED = 1 << 9  # the same where the run comes again and again, as in training
MAPS = 1 << 13  # the same for what a kernel does with maps: they then lie with their channels last
BEYOND = 1 << 23  # outputs over time, 32 MB of floats: more than the last-level cache of many processors
LONGEST = 128  # operations of a step and its derivative; twice as many take Numba some seconds or half a minute


@lru_cache(maxsize=1)
def no_numba() -> str:
    """The message where Numba is missing."""
    from spikecore.installing import to_install

    return f"Numba is not installed ({to_install('kernels')})"


def suited(sink: Any, request: Any, states: Sequence[str]) -> Any:
    """The sink for a run of a neuron with these states: that of ``large.py`` instead of the plain one, if outputs are
    many and their rows begin where cache lines do.
    """
    neurons = math.prod(request.shape)
    if neurons * request.steps <= BEYOND or neurons % 16:
        return sink
    from spikecore.kernels.large import instead_of

    return instead_of(sink, states)


_own = threading.local()


@contextlib.contextmanager
def taken_as_larger(times: float) -> Iterator[None]:
    """A context in which a run in this thread takes the kernels that a run so many times as large would take, so that a
    check on a few steps and samples goes the way of the whole.
    """
    before, _own.times = times_larger(), times
    try:
        yield
    finally:
        _own.times = before


def times_larger() -> float:
    """The factor of ``taken_as_larger``; 1.0 outside of it."""
    return getattr(_own, "times", 1.0)


def least_neuron_steps(repeating: bool, target: str = "cpu", repeated: int = REPEATED) -> int:
    """The least number of neuron-steps for which a run takes kernels; ``repeated`` is REPEATED or MAPS.

    On a GPU any run does: a step of the loop is some ten launches there, and each costs as much as a small kernel.
    """
    if target in ("cuda", "cupy"):
        return 0
    return math.ceil((repeated if repeating else LARGE) / times_larger())


@lru_cache(maxsize=None)
def has_numba() -> bool:
    """Whether Numba is installed; it is not imported for the answer."""
    return importlib.util.find_spec("numba") is not None

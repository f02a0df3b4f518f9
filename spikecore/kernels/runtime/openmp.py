"""The threads of the kernels: started once, as many as torch takes. Others that use OpenMP do not notice them."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any, ContextManager, Iterator, Optional

SPINS = "GOMP_SPINCOUNT"
_own = threading.local()
_forked = False  # OpenMP does not survive a fork


def several(count: int, least: int) -> bool:
    """Whether a kernel over ``count`` elements should use threads, if ``least`` are worth it."""
    return count >= least and not _forked


@lru_cache(maxsize=None)
def launch() -> None:
    """Start Numba's threads, and take back what it then sets for everybody who uses OpenMP, torch among them.

    That is the number of threads, and that parallel regions may nest: MKL then starts threads of its own inside each of
    torch's, at every call, and a square root of 100,000 numbers takes 3 ms instead of 0.1.
    """
    import numba

    torch = sys.modules.get("torch")
    count = torch.get_num_threads() if torch else 0
    levels = _levels()
    with _impatient(levels is None):
        numba.get_num_threads()
    if levels is not None:
        loaded().omp_set_max_active_levels(levels)
    if torch:
        torch.set_num_threads(count)


@lru_cache(maxsize=None)
def turn() -> ContextManager[Any]:
    """A context for a kernel with several threads.

    Numba's layer "workqueue", which it takes where there is no OpenMP, ends the process if two Python threads use it at
    once: there they take turns.
    """
    import numba

    launch()
    return threading.Lock() if numba.threading_layer() == "workqueue" else nullcontext()


@contextmanager
def _impatient(first: bool) -> Iterator[None]:
    """For GNU's OpenMP, if this loads it: idle threads sleep soon, unless the environment has a say.

    They would spin for a while, and so do OpenBLAS's. A NumPy engine's kernels and products then take the cores from
    each other; a training step that takes 15 ms takes 33.
    """
    ours = first and not {SPINS, "OMP_WAIT_POLICY"} & set(os.environ)
    if ours:
        os.environ[SPINS] = "1000"
    try:
        yield
    finally:
        if ours:
            del os.environ[SPINS]


def _levels() -> Optional[int]:
    """Depth to which parallel regions may nest; None if there is no OpenMP yet."""
    library = loaded()
    return None if library is None else int(library.omp_get_max_active_levels())


def loaded() -> Any:
    """The OpenMP in this process; None if there is none yet."""
    try:
        library = ctypes.CDLL(None)  # symbols are looked for as Numba's were, in what the process has loaded first
        library.omp_get_max_active_levels  # noqa: B018  (whether it is there)
    except (AttributeError, OSError, TypeError):  # not loaded; no symbols of the process itself on this system
        return None
    return library


def use_threads(count: int) -> None:
    """Let kernels called from this Python thread use at most ``count`` threads: as many as torch does, not more."""
    _own.most = max(1, min(count, _limit()))


def follow(count: int) -> None:
    """``use_threads`` where kernels have been called from this Python thread; elsewhere there is nothing to change."""
    if hasattr(_own, "most"):
        use_threads(count)


def most_threads() -> int:
    """Number of threads that a kernel called from this Python thread may use: one in a process that was forked."""
    return 1 if _forked else int(getattr(_own, "most", None) or _limit())


def ready() -> None:
    """Let Numba's loops over threads that are called from this Python thread use as many."""
    import numba

    launch()
    most = getattr(_own, "most", None)
    if most is not None and getattr(_own, "numbas", None) != most:
        numba.set_num_threads(most)
        _own.numbas = most


def _limit() -> int:
    """The most threads there are: what Numba takes, once it is here, and what it would take."""
    numba = sys.modules.get("numba")
    if numba is not None and hasattr(numba, "get_num_threads"):
        return int(numba.config.NUMBA_NUM_THREADS)
    return _cores()


@lru_cache(maxsize=None)
def _cores() -> int:
    asked = os.environ.get("NUMBA_NUM_THREADS")
    if asked:
        return int(asked)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _in_child() -> None:
    global _forked  # noqa: PLW0603  (a fork has no other way to reach it)
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

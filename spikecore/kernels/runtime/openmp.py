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
        _openmp().omp_set_max_active_levels(levels)
    if torch:
        torch.set_num_threads(count)


@lru_cache(maxsize=None)
def turn() -> ContextManager[Any]:
    """What a kernel with several threads runs in.

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
    """How deep parallel regions may nest; None if there is no OpenMP yet."""
    try:
        return int(_openmp().omp_get_max_active_levels())
    except (AttributeError, OSError, TypeError):  # not loaded; no symbols of the process itself on this system
        return None


def _openmp() -> Any:
    return ctypes.CDLL(None)  # symbols are looked for as Numba's were, in what the process has loaded first


def use_threads(count: int) -> None:
    """Let kernels called from this Python thread use at most ``count`` threads: as many as torch does, not more."""
    if getattr(_own, "threads", None) == count:
        return
    import numba

    launch()
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    _own.most = max(1, min(count, most))
    numba.set_num_threads(_own.most)
    _own.threads = count


def follow(count: int) -> None:
    """``use_threads`` where kernels have been called from this Python thread; elsewhere there is nothing to change."""
    if hasattr(_own, "threads"):
        use_threads(count)


def most_threads() -> int:
    """How many threads a kernel called from this Python thread may use: one in a process that was forked."""
    if _forked:
        return 1
    found: Optional[int] = getattr(_own, "most", None)
    if found is None:
        import numba

        launch()
        return int(numba.get_num_threads())
    return found


def _in_child() -> None:
    global _forked  # noqa: PLW0603  (a fork has no other way to reach it)
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

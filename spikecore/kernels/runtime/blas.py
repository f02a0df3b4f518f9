"""NumPy's matrix products, shared out among threads that do not stand in the way of kernels.

OpenBLAS's threads spin for tens of milliseconds after a product, in case there is another one. What comes next here is
a kernel, or torch, and finds the cores taken: a training step then takes half as long again, or twice as long. So
OpenBLAS gets parts of a product, each for one thread, and the threads are Python's, which sleep at once. How a product
is cut depends on the number of threads alone, so that its bits depend on nothing else.

A product that takes a core less time than to wake another one is not shared: on a busy machine the other threads may
get their turn milliseconds later, and a recurrence has such a product at each step.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Callable, ContextManager, List, Sequence

import numpy as np

PART = 1 << 23  # multiplications that take a core longer than to wake another one
FEW = 1 << 18  # as many OpenBLAS itself leaves to one thread
_here = threading.local()  # .part: whether this thread does a part of something that is shared out already


def multiply(a: Any, b: Any, out: Any) -> None:
    """Write the product a @ b of matrices, or of stacks of them, to ``out``."""
    work = out.size * a.shape[-1]
    if work <= FEW or not _libraries() or getattr(_here, "part", False):
        np.matmul(a, b, out=out)
        return
    with _calm as threads:
        _together(threads, _parts(a, b, out, max(1, min(threads, work // PART))))


def share(tasks: Sequence[Callable[[], None]]) -> None:
    """Run functions, which may multiply, on as many threads as a product gets."""
    if len(tasks) < 2 or not _libraries() or getattr(_here, "part", False):
        for task in tasks:
            task()
        return
    with _calm as threads:
        _together(threads, [partial(_each, tasks[i::threads]) for i in range(min(threads, len(tasks)))])


def _each(tasks: Sequence[Callable[[], None]]) -> None:
    before, _here.part = getattr(_here, "part", False), True
    try:
        for task in tasks:
            task()
    finally:
        _here.part = before


def _together(threads: int, parts: Sequence[Callable[[], Any]]) -> None:
    first, *others = parts
    waiting: List[Future[None]] = []
    try:
        for part in others:
            waiting.append(_started(threads, part))
        first()
    finally:  # whatever happened, nobody works on a part any more
        for future in waiting:
            future.result()


def _started(threads: int, part: Callable[[], Any]) -> Future[None]:
    """The part as another thread's task; done here where there are no threads any more, since Python is ending."""
    try:
        return _pool(threads).submit(_quietly, part)
    except RuntimeError:
        _quietly(part)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _parts(a: Any, b: Any, out: Any, count: int) -> List[Callable[[], Any]]:
    """A product in at most ``count`` parts: some of a stack, or of a matrix's rows or columns."""
    columns = out.ndim == 2 and out.shape[0] < out.shape[1]
    size = out.shape[1] if columns else out.shape[0]
    borders = [size * i // count for i in range(count + 1)]
    parts = [slice(low, high) for low, high in zip(borders, borders[1:]) if low < high]
    if columns:
        return [partial(np.matmul, a, b[:, own], out=out[:, own]) for own in parts]
    if out.ndim == 2:
        return [partial(np.matmul, a[own], b, out=out[own]) for own in parts]
    return [partial(np.matmul, _some(a, own, out), _some(b, own, out), out=out[own]) for own in parts]


def _some(x: Any, own: slice, out: Any) -> Any:
    """A slice of a stack of matrices; a single matrix, which serves the whole stack, stays as it is."""
    return x[own] if x.ndim == out.ndim and len(x) > 1 else x


def _quietly(part: Callable[[], Any]) -> None:
    """Without warnings, as in OpenBLAS's own threads; the caller's settings hold for the part that it does itself."""
    with np.errstate(all="ignore"):
        part()


class _Calm:
    """While somebody is in here, OpenBLAS computes on the thread that asks it. Gives the number it would have taken."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.before: List[int] = []

    def __enter__(self) -> int:
        with self.lock:  # in this order, an interrupt leaves OpenBLAS with the threads it had
            first = not self.inside
            if first:
                self.before = [library.get_num_threads() for library in _libraries()]
            self.inside += 1
            for library in _libraries() if first else ():
                library.set_num_threads(1)
            return max(self.before, default=1)

    def __exit__(self, *_: Any) -> None:
        with self.lock:
            if self.inside == 1:
                self.restore()
            self.inside -= 1

    def restore(self) -> None:
        """Give OpenBLAS its threads back."""
        for library, threads in zip(_libraries(), self.before):
            library.set_num_threads(threads)


_calm = _Calm()


def calm() -> ContextManager[int]:
    """In here OpenBLAS computes on the thread that asks it: for a run of many small products, which costs less once."""
    return _calm


@lru_cache(maxsize=None)
def _libraries() -> List[Any]:
    """Each OpenBLAS with threads of its own, NumPy's or another's, as threadpoolctl sees it; nothing without that."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    libraries = ThreadpoolController().lib_controllers
    return [x for x in libraries if x.internal_api == "openblas" and x.threading_layer == "pthreads"]


@lru_cache(maxsize=None)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, "spikecore product")


def _forked() -> None:
    """Start anew in a forked child, which has no such threads and nobody inside ``calm``."""
    global _calm  # noqa: PLW0603  (a fork has no other way to reach it)
    if _calm.inside:
        _calm.restore()
    _calm = _Calm()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

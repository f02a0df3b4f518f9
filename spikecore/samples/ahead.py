"""Batches that other processes load ahead, in the order in which they are wanted."""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, Callable, Deque, Dict, Iterator, NamedTuple, Sequence, Tuple

import numpy as np

from spikecore.samples.errors import DataError

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
SMALL, MOST = 1 << 16, 0.1  # bytes that are sent as they are; the largest part of an array that may not be zero
_HELD: Dict[str, Any] = {}  # in a worker process: the function that reads


def loaded_ahead(
    read: Callable[..., Any], tasks: Sequence[Tuple[Any, ...]], workers: int, prefetch: int
) -> Iterator[Any]:
    """The results of `read(*task)` in the order of the tasks, computed by other processes.

    The processes start in the way that `multiprocessing` is set to, and end with the iterator: at its end, after an
    error, and when a loop over it is left early. They also end if this process is killed.

    Args:
        read: the function, which returns a tuple with arrays. What it raises is raised here, when its result is due.
        tasks: arguments of its calls.
        workers: number of processes.
        prefetch: number of results that each process computes ahead.

    Raises:
        DataError: the function cannot be sent to another process, or a process has ended.
    """
    context: Any = multiprocessing.get_context()
    forked = context.get_start_method() == "fork"  # the processes then have what this one has
    ended = context.Event()
    pool = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(tasks)), context, _begin, (read if forked else _sent(read), forked, ended)
    )
    coming: Deque[Any] = collections.deque()
    left = iter(tasks)
    try:
        for task in left:
            coming.append(pool.submit(_run, task))
            if len(coming) >= workers * prefetch:
                break
        while coming:
            result = _unpacked(coming.popleft().result())
            for task in left:
                coming.append(pool.submit(_run, task))
                break
            yield result
    except BrokenProcessPool as error:
        raise DataError(
            f"a worker process of the loader has ended: was it killed, for example for lack of memory? Use fewer than "
            f"workers={workers}, or prefetch={prefetch}. Where processes are spawned, a script needs its calls below "
            "if __name__ == '__main__':"
        ) from error
    finally:
        ended.set()  # tasks that are on their way to a process cannot be cancelled any more
        for future in coming:
            future.cancel()
        pool.shutdown(wait=True)


def _sent(read: Callable[..., Any]) -> bytes:
    try:
        return pickle.dumps(read)
    except (pickle.PicklingError, AttributeError, TypeError) as error:  # what pickle raises for functions without names
        raise DataError(
            f"the data cannot be sent to worker processes: {error}. Define functions and classes at the top of a "
            "module, or use workers=0"
        ) from error


def _begin(read: Any, forked: bool, ended: Any) -> None:
    """Prepare a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains; it ends its workers
    _HELD.clear()
    _HELD.update({"ended": ended, "read" if forked else "sent": read})
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)  # the parent was killed: nobody waits for results, and nobody would end this process


def _run(task: Tuple[Any, ...]) -> Any:
    if _HELD["ended"].is_set():
        return ()
    if "read" not in _HELD:  # here and not before, so that an error comes out where the result is due
        _HELD["read"] = pickle.loads(_HELD.pop("sent"))
    return tuple(_packed(array) for array in _HELD["read"](*task))


class SparseArray(NamedTuple):
    """An array that is mostly zeros, for its way through a pipe: frames of events take a hundredth of their memory."""

    shape: Tuple[int, ...]
    places: np.ndarray
    values: np.ndarray


def _packed(array: Any) -> Any:
    """The array; if few of its entries are other than zero, those alone. Bits are compared, so that -0.0 is kept."""
    if not isinstance(array, np.ndarray) or array.nbytes < SMALL or array.dtype.itemsize not in UNSIGNED:
        return array
    flat = np.ascontiguousarray(array).ravel()
    places = np.flatnonzero(flat.view(UNSIGNED[array.dtype.itemsize]))
    return array if len(places) > flat.size * MOST else SparseArray(array.shape, places, flat[places])


def _unpacked(result: Tuple[Any, ...]) -> Tuple[Any, ...]:
    return tuple(_whole(part) if isinstance(part, SparseArray) else part for part in result)


def _whole(part: SparseArray) -> np.ndarray:
    array = np.zeros(part.shape, part.values.dtype)
    array.ravel()[part.places] = part.values
    return array

"""Number of threads that torch's functions take when they are called from this Python thread.

torch gives work to other threads without asking how much it is: MKL for a product of 16 rows, its fused Adam for ten
numbers. Where the cores are not idle, the calling thread then waits for another one to get its turn, milliseconds for
what takes microseconds. ``torch.set_num_threads`` would be for the whole process.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Callable, Iterator, Optional

import torch

from spikecore.kernels.runtime.openmp import follow

_LIBRARY = {"linux": "libtorch_cpu.so", "win32": "torch_cpu.dll"}.get(sys.platform)


@lru_cache(maxsize=None)
def mkl_threads() -> Optional[Callable[[int], int]]:
    """MKL's function that sets how many threads it takes for products of this Python thread, and gives the number
    before; 0 is torch's. None where torch multiplies with something else.
    """
    return from_library("MKL_Set_Num_Threads_Local")


def from_library(name: str) -> Any:
    """A function of C in torch's library or in one that it uses; None if there is none of this name."""
    return getattr(_library(), name, None)


@contextmanager
def alone() -> Iterator[None]:
    """A context in which torch's functions use this Python thread alone; it needs MKL and OpenMP to have an effect."""
    limit, count, put = mkl_threads(), from_library("omp_get_max_threads"), from_library("omp_set_num_threads")
    if count is None or put is None or limit is None:
        yield
        return
    threads = count()
    put(1)  # OpenMP's number is that of the calling thread
    products = limit(1)
    try:
        yield
    finally:
        limit(products)
        put(threads)
        follow(threads)


@lru_cache(maxsize=None)
def _library() -> Any:
    """The library of torch, through which those that it uses are found, too; None where it is not found."""
    try:
        return ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", _LIBRARY or ""))
    except OSError:
        return None

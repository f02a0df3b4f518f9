"""Memory of large arrays, used again as soon as nobody holds them.

The system zeroes fresh memory page by page when it is first written to. For an array of some megabytes that takes
longer than the kernel that fills it, and whether the C library hands out fresh memory or old depends on what else the
process has allocated. So kernels keep the memory of their large arrays, up to a limit, and use it for the next ones.

An array made here is an ordinary one. Its memory is free when no array or tensor refers to it any more, which its
reference count tells.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
from typing import Any, List, Tuple

import numpy as np

LINE = 64  # bytes of a cache line, at which every array made here begins, as torch's tensors do
LEAST = 1 << 20  # bytes from which on memory is kept
MOST = 1 << 29  # bytes that are kept at most, in use or free; what is beyond comes from the system and goes back to it
SLACK = 1.25  # by how much larger than needed a piece of memory may be
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MMAP_THRESHOLDS = (2**31 - 1, 1 << 25)  # older versions take no more than the second

_blocks: List[Any] = []  # raw memory, that used last at the end
_lock = threading.Lock()


def empty(shape: Tuple[int, ...], dtype: Any) -> Any:
    """An array with undefined values."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = _block(size + LINE) if size >= LEAST else np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def zeros(shape: Tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros."""
    found = empty(shape, dtype)
    found[...] = 0
    return found


def release() -> None:
    """Give free memory back."""
    with _lock:
        _blocks[:] = [_blocks[i] for i in range(len(_blocks)) if _holders(_blocks, i) > _ALONE]


def keep() -> bool:
    """Let the C library keep what the whole process frees, see ``spikecore.utils.keep_memory``."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    trimmed = set_option(M_TRIM_THRESHOLD, -1)
    return bool(trimmed and any(set_option(M_MMAP_THRESHOLD, most) for most in MMAP_THRESHOLDS))


def _block(size: int) -> Any:
    """Raw memory of at least ``size`` bytes that nobody uses."""
    with _lock:
        free = [i for i in range(len(_blocks)) if _holders(_blocks, i) == _ALONE]
        fitting = [i for i in free if size <= _blocks[i].nbytes <= SLACK * size]
        if fitting:
            _blocks.append(_blocks.pop(min(fitting, key=lambda i: _blocks[i].nbytes)))
            return _blocks[-1]
        fresh = np.empty(size, np.uint8)  # NumPy asks for huge pages
        if _make_room(free, size):
            _blocks.append(fresh)
        return fresh


def _make_room(free: List[int], size: int) -> bool:
    """Forget free memory, that not used for longest first, until ``size`` more bytes keep to the limit; if they can."""
    held, gone = sum(block.nbytes for block in _blocks), []
    for i in free:
        if held + size <= MOST:
            break
        held -= _blocks[i].nbytes
        gone.append(i)
    for i in reversed(gone):
        del _blocks[i]
    return held + size <= MOST


def _forked() -> None:
    global _lock  # noqa: PLW0603  (another thread may have held it)
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _holders(blocks: List[Any], i: int) -> int:
    return sys.getrefcount(blocks[i])


_ALONE = _holders([np.empty(1)], 0)  # the count of what only a list holds, which depends on the interpreter

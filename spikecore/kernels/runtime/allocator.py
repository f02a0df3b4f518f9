"""Memory of large arrays, used again as soon as nobody holds them.

The system zeroes fresh memory page by page when it is first written to. For an array of some megabytes that takes
longer than the kernel that fills it, and whether the C library hands out fresh memory or old depends on what else the
process has allocated. So kernels keep the memory of their large arrays, up to a limit, and use it for the next ones.

An array made here is an ordinary one on lent memory. When the last array or tensor that shows it is gone, the loan
ends, and the memory is free. Nothing here ever waits for a lock: where another thread has it, the system is asked for
memory.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

LINE = 64  # bytes of a cache line, at which every array made here begins, as torch's tensors do
LEAST = 1 << 12  # bytes from which on memory is kept: the C library may tidy up before it hands out that much
ALWAYS, PART = 1 << 29, 16  # so much free memory is kept, or this part of all memory if that is more
WASTE = 2  # an array takes free memory of up to so many times its size: better than to let that lie, and ask for more
SMALL, FEW = 1 << 20, 8  # of blocks up to so many bytes, so many of each size are kept
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MMAP_THRESHOLDS = (2**31 - 1, 1 << 25)  # older versions take no more than the second
RETURNED = 1 << 17  # bytes from which on memory goes back to the system, in ``returning``


def most_kept(groups: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> int:
    """Bytes of free memory that are kept, small blocks not counted, by what the machine or this process's group has.

    A training step whose arrays take more asks the system for the rest each time, which can be most of its time.

    Args:
        groups, own: where Linux tells limits of groups of processes, such as containers, and the group of this one.
    """
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:  # Windows, for one
        return ALWAYS
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _limits(groups, own):
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            total = min(total, int(file.read_text("utf-8")))
    return max(ALWAYS, total // PART)


def _limits(groups: str, own: str) -> Iterator[Path]:
    """The files that may have a limit: those of this process's group, and of the groups around it."""
    with suppress(OSError, ValueError), open(own, encoding="utf-8") as lines:
        for line in lines:
            _, kinds, group = line.rstrip("\n").split(":", 2)
            place = PurePosixPath(group.lstrip("/"))
            if not kinds:  # version 2
                yield from (Path(groups, each, "memory.max") for each in (place, *place.parents))
            elif "memory" in kinds.split(","):
                yield from (Path(groups, "memory", each, "memory.limit_in_bytes") for each in (place, *place.parents))


class _Block(NamedTuple):
    """Memory, and where in it a cache line begins."""

    raw: Any
    place: int


class _Kept:
    """Free memory by its size, and how many bytes that is; the size that was used last at the end.

    Small blocks come and go a dozen times per run, and their number limits them: they need no lock, since taking from a
    list and adding to it are single operations.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free: OrderedDict[int, List[_Block]] = OrderedDict()
        self.bytes, self.most = 0, most_kept()
        self.small: Dict[int, List[_Block]] = {}
        self.limits = SMALL, FEW  # of its own: loans end even when a process does, and then there are no globals

    def take(self, size: int) -> Optional[_Block]:
        """Free memory of this size, or somewhat more, if there is any and no other thread is at it."""
        if size <= self.limits[0]:
            try:
                return self.small[size].pop()
            except (KeyError, IndexError):
                return None
        if not self.lock.acquire(blocking=False):
            return None
        try:
            fits = min((own for own, blocks in self.free.items() if blocks and size <= own <= WASTE * size), default=0)
            if not fits:
                return None
            self.free.move_to_end(fits)
            self.bytes -= fits
            return self.free[fits].pop()
        finally:
            self.lock.release()

    def put(self, block: _Block) -> None:
        """Keep memory, and let go of what has not been used for longest if that is more than the limit."""
        size_of_block = block.raw.nbytes
        if size_of_block > self.most:
            return
        self.free.setdefault(size_of_block, []).append(block)
        self.free.move_to_end(size_of_block)
        self.bytes += size_of_block
        while self.bytes > self.most:
            size, blocks = next(iter(self.free.items()))
            if blocks:
                blocks.pop()
                self.bytes -= size
            else:
                del self.free[size]

    def clear(self) -> None:
        """Let go of everything."""
        with self.lock:
            self.free.clear()
            self.bytes = 0
        self.small.clear()

    def give_back(self, block: _Block) -> None:
        """The end of a loan. It may come at any time, in any thread, also while this one is in here."""
        size, (small, few) = block.raw.nbytes, self.limits
        if size <= small:
            blocks = self.small.setdefault(size, [])
            if len(blocks) < few:
                blocks.append(block)
        elif self.lock.acquire(blocking=False):
            try:
                self.put(block)
            finally:
                self.lock.release()


kept = _Kept()


class _Loan:
    """Memory in the shape of an array, given back at the end of its life."""

    def __init__(self, block: _Block, shape: Tuple[int, ...], dtype: Any) -> None:
        self.block = block
        self.__array_interface__ = {"version": 3, "data": (block.place, False), "shape": shape, "typestr": dtype.str}

    def __del__(self, give_back: Any = kept.give_back) -> None:  # bound early, see limits
        give_back(self.block)


def empty(shape: Tuple[int, ...], dtype: Any) -> Any:
    """An array with undefined values."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size >= LEAST:
        return np.asarray(_Loan(_block(_rounded(size + LINE)), tuple(shape), kind))
    raw = np.empty(size + LINE, np.uint8)
    return np.ndarray(shape, kind, raw, -raw.__array_interface__["data"][0] % LINE)


def copy(a: Any, shape: Tuple[int, ...], dtype: Any) -> Any:
    """An array with the values of ``a``, broadcast to ``shape``."""
    array = empty(shape, dtype)
    array[...] = a
    return array


def zeros(shape: Tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros."""
    return copy(0, shape, dtype)


def release() -> None:
    """Give free memory back to the system."""
    kept.clear()


def keep() -> bool:
    """Let the C library keep what the whole process frees, see ``spikecore.utils.keep_memory``."""
    global _keeps  # noqa: PLW0603  (the C library has one such option per process, too)
    _keeps = _set(M_TRIM_THRESHOLD, -1) and any(_set(M_MMAP_THRESHOLD, most) for most in MMAP_THRESHOLDS)
    return _keeps


_keeps = False


@contextmanager
def returning() -> Iterator[None]:
    """In here freed memory goes back to the system at once, where the C library can do that: the process then holds
    little more than what is alive, and takes longer.
    """
    most, limits = kept.most, kept.limits
    kept.most, kept.limits = 0, (0, FEW)
    release()
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        _set(option, RETURNED)
    try:
        yield
    finally:
        kept.most, kept.limits = most, limits
        if _keeps:
            keep()
        else:  # the largest that glibc chooses by itself
            _set(M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLDS[1])
            _set(M_MMAP_THRESHOLD, MMAP_THRESHOLDS[1])


def _set(option: int, value: int) -> bool:
    """Set an option of the C library; returns whether it has the option."""
    try:
        return bool(ctypes.CDLL(None).mallopt(option, value))
    except (AttributeError, OSError, TypeError):  # not glibc
        return False


def _rounded(size: int) -> int:
    """A size rounded up by at most an eighth, so that arrays of similar sizes can use each other's memory."""
    step = 1 << max(12, size.bit_length() - 4)
    return -(-size // step) * step


def _block(size: int) -> _Block:
    block = kept.take(size)
    if block is None:
        raw = np.empty(size, np.uint8)  # NumPy asks for huge pages
        begin = raw.ctypes.data
        block = _Block(raw, begin + -begin % LINE)
    return block

"""A lock that lets only one process write to a directory. It names its owner and ends with the owner's process.

Written here, because packages for locks say that a file is locked, and not by whom.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Iterator

LOCK = ".lock"
FAR = 1 << 30  # Windows lets nobody read locked bytes, so the lock is on a byte far behind the owner's name


class Occupied(RuntimeError):
    """Another process is writing to the directory; the message names it."""


@contextlib.contextmanager
def owned(directory: Path, name: str = LOCK, patience: float = 0.0) -> Iterator[None]:
    """Keep other processes from owning ``directory``, or what ``name`` stands for in it, until the block ends.

    The operating system releases the lock when the process ends, even when it is killed. A lock file that a killed
    process left behind is therefore not locked, and the next owner reuses it.

    Args:
        directory: an existing directory.
        name: of the lock file in it; a directory may have several locks.
        patience: how long to wait for another owner, in seconds; default 0.

    Raises:
        Occupied: another process owns it; the message has its host, its process number and the time.
        OSError: the file system has no locks.
    """
    path, end = directory / name, time.monotonic() + patience
    while True:
        try:
            handle = _locked(path)
            break
        except Occupied:
            if time.monotonic() >= end:
                raise
            time.sleep(0.02)
    try:
        os.ftruncate(handle, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}, since {since}".encode())
        yield
    finally:
        if sys.platform != "win32":  # Windows cannot remove an open file
            path.unlink()
        os.close(handle)


def _locked(path: Path) -> int:
    """Open and lock the file at ``path``; returns its descriptor."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _lock(handle)
            if _names(path, handle):  # else its owner removed the file after this process opened it: try again
                return handle
        except BlockingIOError:
            owner = _owner(handle)
            os.close(handle)
            raise Occupied(f"{path.parent}: {owner} is writing to it; wait until that process ends") from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _owner(handle: int, patience: float = 2.0) -> str:
    """Owner of the lock, as text. It writes its name after it has the lock, so an empty file is read again."""
    end = time.monotonic() + patience
    while True:
        os.lseek(handle, 0, os.SEEK_SET)
        name = os.read(handle, 200).decode(errors="replace")
        if name or time.monotonic() > end:
            return f"{name}," if name else "another process"
        time.sleep(0.01)


def _names(path: Path, handle: int) -> bool:
    """Whether ``path`` is still the file that ``handle`` has open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

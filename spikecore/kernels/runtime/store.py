"""Compiled code between processes: files in a folder of the user's own.

What is read from there runs in this process. So a file is used only if it belongs to this user or to the system's
administrator, if nobody else can write to it or to its folder, and if its digest says that it is whole. Everything else
is as good as absent: what it was for is compiled again, and takes its place.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat
import sys
import tempfile
from typing import Callable, List, Optional, Set

OTHERS = stat.S_IWGRP | stat.S_IWOTH
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
SIZE = 32  # bytes of a digest
said: Set[str] = set()


class Distrusted(Exception):
    """A file or folder is not used, since others may have changed it; the message says why."""


def places() -> List[pathlib.Path]:
    """Folders for kernels, the first one first: in ``$SPIKECORE_CACHE``, ``$XDG_CACHE_HOME``/spikecore and
    ~/.cache/spikecore.
    """
    chosen = os.environ.get("SPIKECORE_CACHE")
    caches = (os.environ.get("XDG_CACHE_HOME"), os.path.expanduser("~/.cache"))
    homes = [pathlib.Path(cache) / "spikecore" for cache in caches if cache and os.path.isabs(cache)]
    return [home / "kernels" for home in ([pathlib.Path(chosen)] if chosen else []) + homes]


def load(name: str) -> Optional[bytes]:
    """The saved bytes of a name, from the first place that has them whole; None if there are none."""
    for place in places():
        try:
            _check_folder(place)
            data = _read(place / name)
        except Distrusted as reason:
            say(f"{reason}; it is not used")
            continue
        except OSError:  # none, or none that this user may read
            continue
        if data[:SIZE] == digest_of(name, data[SIZE:]):
            return data[SIZE:]
    return None


def can_keep() -> bool:
    """Whether one of the places looks as if it could be written to."""
    for place in places():
        folder = next((above for above in (place, *place.parents) if above.exists()), None)
        if folder is not None and folder.is_dir() and os.access(str(folder), os.W_OK | os.X_OK):
            return True
    return False


def save(name: str, data: bytes) -> None:
    """Keep data under a name in the first place that can be written to.

    If there is none, the disk being full for example, it says so once, and nothing is kept.
    """
    reasons = []
    for place in places():
        try:
            _write(place, name, digest_of(name, data) + data)
            return
        except Distrusted as reason:
            reasons.append(str(reason))
        except OSError as reason:
            reasons.append(f"{place}: {reason.strerror}")
    say(f"compiled kernels stay in memory, the next process compiles them again ({'; '.join(reasons)})")


def _check_folder(place: pathlib.Path) -> None:
    """Refuse a folder that is a link or that others can write to.

    Raises:
        Distrusted: names the folder and why.
        OSError: there is none.
    """
    for folder in (place, place.parent):
        if folder.is_symlink():
            raise Distrusted(f"{folder} is a symbolic link: give the folder itself")
    _check(os.lstat(str(place)), f"{place}", stat.S_ISDIR)


def _check(status: os.stat_result, what: str, is_kind: Callable[[int], bool]) -> None:
    """Refuse what is of another kind, another user's, or open to others. On Windows a profile's folders are private."""
    if not is_kind(status.st_mode):
        raise Distrusted(f"{what} is of another kind")
    if not hasattr(os, "getuid"):
        return
    if status.st_uid not in (os.getuid(), 0):
        raise Distrusted(f"{what} belongs to another user")
    if status.st_mode & OTHERS:
        raise Distrusted(f"{what} can be written to by other users (chmod go-w)")


def _read(path: pathlib.Path) -> bytes:
    """The contents of a file of our own; it is the open file that is checked, not what bears its name later."""
    with os.fdopen(os.open(str(path), FLAGS), "rb") as file:
        _check(os.fstat(file.fileno()), f"a file in {path.parent}", stat.S_ISREG)
        return file.read()


def _write(place: pathlib.Path, name: str, data: bytes) -> None:
    """Write a file that only this user can read and write, and put it into its place at once."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and not place.is_symlink():
        status = os.lstat(str(place))
        if status.st_uid == os.getuid() and status.st_mode & OTHERS:
            os.chmod(str(place), 0o700)  # what others have put there belongs to them, and is not read
    _check_folder(place)
    handle, begun = tempfile.mkstemp(dir=str(place), prefix=f".{name[:16]}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(begun, str(place / name))
    except BaseException:
        os.unlink(begun)
        raise


def digest_of(name: str, data: bytes) -> bytes:
    """The first bytes of a whole file of this name."""
    return hashlib.blake2b(name.encode() + b"\0" + data, digest_size=SIZE).digest()


def say(text: str) -> None:
    """Print a text to standard error, once per process."""
    if text not in said:
        said.add(text)
        print(f"spikecore: {text}", file=sys.stderr)

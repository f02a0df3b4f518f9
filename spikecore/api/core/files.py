"""Files replaced in a single step, so that a reader sees the old one or the new one, whole; and strict JSON."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional

try:
    import fcntl
except ImportError:  # Windows: drafts of killed processes cannot be told from those being written, and stay
    fcntl = None  # type: ignore[assignment]

LONGEST = 200  # bytes of a file's own name in that of its draft: file systems take 255 in all
#: What file systems answer that cannot sync a folder, and systems that cannot open one.
NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR, errno.EPERM)


def write_atomically(path: Any, data: bytes) -> None:
    """Write a file in a single step: the bytes go into a draft beside it, to the disk, and then take its place.

    A write that fails or is interrupted leaves the old file and no draft. If the process is killed, the old file stays,
    and the next write of this file deletes the draft. Missing folders are made. A file that is replaced keeps its mode;
    a new one gets that of the umask. A symbolic link stays, and the file that it points to is replaced.

    Args:
        path: the file.
        data: its new content.

    Raises:
        PermissionError: the file may not be written to.
        OSError: the path is a folder, a device, a pipe or a socket; or the disk is full.
    """
    mode = _mode(path)
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    while not _replaced(target, mode, data):
        pass


def _mode(path: Any) -> Optional[int]:
    """The mode of the file at ``path``, behind any links; None if there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a device, a pipe or a socket; only a regular file can be replaced", str(path))
    if not os.access(path, os.W_OK):  # renaming would not ask
        raise PermissionError(errno.EACCES, "is write-protected", str(path))
    return stat.S_IMODE(mode)


def _replaced(target: Path, mode: Optional[int], data: bytes) -> bool:
    """Write a draft and put it in the target's place; False if another process took the draft for one left behind."""
    draft, handle = target.with_name(f"{_stem(target)}{secrets.token_hex(8)}.draft"), -1
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(str(draft), flags, 0o666 if mode is None else 0o600)  # less the umask
        if not _locked(handle):
            return False
        if mode is not None:
            os.chmod(str(draft), mode)
        rest = memoryview(data)
        while len(rest):
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
        if fcntl is None:  # Windows renames no open file
            handle, open_handle = -1, handle
            os.close(open_handle)
        os.replace(str(draft), str(target))
        _sync_folder(target.parent)
        return True
    except BaseException:
        with suppress(FileNotFoundError):  # it was interrupted before there was a draft, or behind the swap
            os.unlink(str(draft))
        raise
    finally:
        if handle >= 0:
            os.close(handle)


def _stem(target: Path) -> str:
    """What the names of all drafts of a file begin with."""
    return f".{os.fsencode(target.name)[:LONGEST].decode('utf-8', 'ignore')}."


def _locked(handle: int) -> bool:
    """Hold a draft, as long as it is open, against ``_sweep``; False if that was there before."""
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks: there nothing is swept either
            fcntl.flock(handle, fcntl.LOCK_EX)
    return os.fstat(handle).st_nlink > 0


def _sweep(target: Path) -> None:
    """Delete the drafts of a file that killed processes left: those that nobody holds."""
    if fcntl is None:
        return
    name, left = re.compile(re.escape(_stem(target)) + r"[0-9a-f]{16}\.draft"), []
    with suppress(OSError):  # a folder that may not be listed
        left = [target.with_name(one) for one in os.listdir(str(target.parent)) if name.fullmatch(one)]
    for draft in left:
        with suppress(OSError):  # somebody holds it, or it is gone
            handle = os.open(str(draft), os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(str(draft))
            finally:
                os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Bring a renamed file's new name to the disk, where the system can."""
    handle = -1
    try:
        handle = os.open(str(folder), os.O_RDONLY)
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FOLDERS:
            raise
    finally:
        if handle >= 0:
            os.close(handle)


# ---- JSON ----------------------------------------------------------------------------------------------------------


def plain(value: Any, odd: Callable[[float], Any]) -> Any:
    """Data as JSON has it: NumPy's numbers as Python's, arrays and tuples as lists.

    Args:
        value: numbers, text, None, and lists and dicts of them.
        odd: what to write for NaN and the infinities, which JSON does not know.

    Raises:
        TypeError: something else is among the data.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else odd(value)
    if isinstance(value, (list, tuple)):
        return [plain(part, odd) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(part, odd) for key, part in value.items()}
    listed = value.tolist() if hasattr(value, "tolist") else value  # a number of NumPy or torch, or an array
    if isinstance(listed, (bool, int, float, str, list)):
        return plain(listed, odd)
    raise TypeError(f"cannot be written as JSON: {value!r}")


def json_text(value: Any, indent: Optional[int] = None) -> str:
    """JSON that every reader takes: NaN and the infinities become null; see ``plain``."""
    return json.dumps(plain(value, lambda number: None), indent=indent, allow_nan=False)

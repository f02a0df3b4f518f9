"""Atomic writing of files, so that a reader sees either the old file or the new one, complete; and strict JSON."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import stat
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

try:
    import fcntl
except ImportError:  # Windows has no flock: drafts that killed processes left are never deleted
    fcntl = None  # type: ignore[assignment]

LONGEST = 200  # how many bytes of a file's name its draft's name takes over: file systems allow 255 in all
#: Errors of file systems that cannot sync a folder, and of systems that cannot open one.
NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR, errno.EPERM)


def write_atomically(path: Any, data: bytes) -> None:
    """Write a file in a single step: write a draft beside it, sync it to the disk, and rename it to ``path``.

    A write that fails or is interrupted leaves the old file and no draft. If the process is killed, the old file stays,
    and the next write of this file deletes the draft. Missing folders are created. A replaced file keeps its mode and,
    where the system permits it, its owner and group; a new file gets its mode from the umask. A symbolic link stays,
    and the file that it points to is replaced. A pipe or a device, which cannot be replaced, is written to.

    Args:
        path: the file.
        data: its new content.

    Raises:
        PermissionError: the file may not be written to.
        OSError: the path is a folder or a socket; or the disk is full.
    """
    write_together({path: data})


def write_together(contents: Mapping[Any, bytes]) -> None:
    """Write several files as ``write_atomically`` does one; none is replaced before the drafts of all are complete.

    Args:
        contents: the new content of each file, by its path.

    Raises:
        PermissionError, OSError: as for ``write_atomically``; nothing has been replaced unless renaming failed.
    """
    with ExitStack() as drafts:
        for finish in [drafts.enter_context(_drafted(path, data)) for path, data in contents.items()]:
            finish()


@contextmanager
def _drafted(path: Any, data: bytes) -> Iterator[Callable[[], None]]:
    """A complete draft of a file, which is deleted at the end, and what renames it to ``path``."""
    old = _status(path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        yield partial(_write, path, data, lambda handle: None)
        return
    target = Path(os.path.realpath(path))
    with _new_draft(target, 0o666 if old is None else 0o600) as draft:
        try:
            _write(draft, data, lambda handle: _finish(draft, handle, old))
        except OSError as error:
            if error.errno is not None and error.filename is None:  # of a full disk, the system does not say which file
                error.filename = str(path)
            raise
        yield partial(_rename, draft, target)


def make_once(path: Any, make: Callable[[Path], None]) -> None:
    """Have a file made that is not there; it appears when it is complete, or not at all.

    If another process makes it in the meantime, that one stays. A file without content counts as none.

    Args:
        path: the file.
        make: writes a file at the path that it gets, which is that of an empty one in the same folder.

    Raises:
        OSError: the folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and os.stat(target).st_size:
        return
    with _new_draft(target, 0o666) as draft:
        make(draft)
        if target.exists() and not os.stat(target).st_size:
            os.replace(str(draft), str(target))
        else:
            with suppress(FileExistsError):
                os.link(str(draft), str(target))


@contextmanager
def _new_draft(target: Path, mode: int) -> Iterator[Path]:
    """A new, empty file beside ``target``, locked against ``_sweep``, and deleted at the end unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    while True:
        draft, handle = target.with_name(f"{_stem(target)}{secrets.token_hex(8)}.draft"), -1
        try:
            handle = os.open(str(draft), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)  # less the umask
            if not _locked(handle):
                continue
            if fcntl is None:  # Windows cannot rename an open file, and there are no locks
                handle, open_handle = -1, handle
                os.close(open_handle)
            yield draft
            return
        finally:
            with suppress(FileNotFoundError):  # it was renamed, or the interrupt came before it existed
                os.unlink(str(draft))
            if handle >= 0:
                os.close(handle)


def _status(path: Any) -> Optional[os.stat_result]:
    """The status of ``path``, links followed; None if there is nothing."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(path))
    if not os.access(path, os.W_OK):  # renaming replaces write-protected files without an error
        raise PermissionError(errno.EACCES, "is write-protected", str(path))
    return old


def _write(path: Any, data: bytes, finish: Callable[[int], None]) -> None:
    handle = os.open(str(path), os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        rest = memoryview(data)
        while len(rest):
            rest = rest[os.write(handle, rest) :]
        finish(handle)
    finally:
        os.close(handle)


def _finish(draft: Path, handle: int, old: Optional[os.stat_result]) -> None:
    """Give a draft the owner, the group and the mode of the file that it replaces, and sync it to the disk."""
    if old is not None:
        new = os.fstat(handle)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            with suppress(OSError):  # another user's file in a shared folder: it may be replaced, but not given away
                os.chown(str(draft), old.st_uid, old.st_gid)
        os.chmod(str(draft), stat.S_IMODE(old.st_mode))
    os.fsync(handle)


def _rename(draft: Path, target: Path) -> None:
    os.replace(str(draft), str(target))
    _sync_folder(target.parent)


def _stem(target: Path) -> str:
    """The common beginning of the names of all drafts of a file."""
    return f".{os.fsencode(target.name)[:LONGEST].decode('utf-8', 'ignore')}."


def _locked(handle: int) -> bool:
    """Lock an open draft, so that ``_sweep`` does not delete it; False if ``_sweep`` deleted it before the lock."""
    if fcntl is not None:
        with suppress(OSError):  # on a file system without locks, _sweep deletes nothing either
            fcntl.flock(handle, fcntl.LOCK_EX)
    return os.fstat(handle).st_nlink > 0


def _sweep(target: Path) -> None:
    """Delete the drafts of a file that killed processes abandoned: those without a lock."""
    if fcntl is None:
        return
    name, abandoned = re.compile(re.escape(_stem(target)) + r"[0-9a-f]{16}\.draft"), []
    with suppress(OSError):  # a folder that may not be listed
        abandoned = [target.with_name(entry) for entry in os.listdir(str(target.parent)) if name.fullmatch(entry)]
    for draft in abandoned:
        with suppress(OSError):  # another process holds the lock, or has deleted the draft
            handle = os.open(str(draft), os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(str(draft))
            finally:
                os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Sync a folder to the disk after a rename in it, if the system can."""
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
    """Data in JSON's types: NumPy's numbers become Python's, arrays and tuples become lists.

    Args:
        value: numbers, text, None, and lists and dicts of them.
        odd: called with NaN or an infinity, which JSON lacks; returns what to write instead.

    Raises:
        TypeError: ``value`` holds something else.
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
    """JSON that every reader accepts: NaN and the infinities become null; see ``plain``."""
    return json.dumps(plain(value, lambda number: None), indent=indent, allow_nan=False)

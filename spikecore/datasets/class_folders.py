"""Folders with a folder per class: which classes and files there are, and which files are for the test."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from spikecore.datasets.errors import DataError, DataFileError


def classes_of(folder: Path, what: str, absent: str = "") -> Tuple[str, ...]:
    """The names of the folders of a folder, except for those that begin with "_" or ".": its classes.

    Args:
        folder: the folder.
        what: its files, for messages.
        absent: what to do if there is no such folder, for messages.
    """
    if not folder.is_dir():
        raise DataFileError(f"{folder}: no such folder{absent}")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")
    if not names:
        raise DataFileError(f"{folder}: has no folders; need one for each class, with {what}")
    return tuple(names)


def files_of(folder: Path, name: str, endings: Sequence[str]) -> List[str]:
    """The names of the files of a class with one of these endings."""
    if not (folder / name).is_dir():
        raise DataFileError(f"{folder}: has no folder {name!r}; classes are the names of its folders")
    entries = (entry for entry in (folder / name).iterdir() if not entry.name.startswith("."))
    files = [entry.name for entry in entries if entry.suffix.lower() in endings]
    if not files:
        raise DataFileError(f"{folder / name}: has no {', '.join(endings)} files")
    return files


def by_files(owner: str, files: List[str], shares: Tuple[float, float]) -> Dict[str, int]:
    """The part of each file, "CLASS/NAME": 1 and 2 for shares of the files of each class, by a hash of their names."""
    part = dict.fromkeys(files, 0)
    for name in sorted({file.partition("/")[0] for file in files}):
        mine = sorted((file for file in files if file.partition("/")[0] == name), key=hash_of)
        counts = [max(round(share * len(mine)), 1 if share else 0) for share in shares]
        if sum(counts) >= len(mine):
            raise DataError(
                f"{owner}: class {name!r} has {len(mine)} files, of which shares={shares!r} leave none to train on"
            )
        part.update(dict.fromkeys(mine[: counts[0]], 1))
        part.update(dict.fromkeys(mine[counts[0] : sum(counts)], 2))
    return part


def hash_of(text: str) -> int:
    """A number that depends on the text alone."""
    return int(hashlib.sha1(text.encode()).hexdigest(), 16)

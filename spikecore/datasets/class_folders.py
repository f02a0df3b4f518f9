"""Folders with a folder per class: which classes and files there are, and which files are for the test."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from spikecore.datasets.errors import DataError, DataFileError

PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}


class ClassFiles(NamedTuple):
    """The files of a folder with a folder per class.

    Args:
        names: the classes.
        files: "CLASS/NAME", or "PART/CLASS/NAME" if the set is divided; the first ones are of all classes.
        part: of each file of a divided set 0, 1 or 2: to train, to validate, to test; empty if the set is not divided.
    """

    names: Tuple[str, ...]
    files: List[str]
    part: Dict[str, int]


def class_files(
    folder: Path, what: str, endings: Sequence[str], absent: str = "", classes: Optional[Tuple[str, ...]] = None
) -> ClassFiles:
    """The classes and the files of a folder. See ``classes_of``.

    Args:
        folder, what, absent: see ``classes_of``.
        endings: of the files, in lower case.
        classes: those to read, in the order of their labels; None: all.
    """
    names = classes_of(folder, what, absent) if classes is None else classes
    part: Dict[str, int] = {}
    files: List[str] = []
    for own, number in (parts_of(folder) or {"": 0}).items():
        have = names if number == 0 else folders_of(folder / own)
        unknown = [] if classes is not None else [name for name in have if name not in names]
        if unknown:
            raise DataFileError(f"{folder / own}: has the class {unknown[0]!r}, of which there is nothing to train on")
        found = [(name, file) for name in have if name in names for file in files_of(folder / own, name, endings)]
        paths = ["/".join(filter(None, (own, *pair))) for pair in found]
        files += paths
        part.update(dict.fromkeys(paths, number) if own else {})
    return ClassFiles(names, sorted(files, key=lambda file: file.split("/")[::-1]), part)


def parts_of(folder: Path) -> Dict[str, int]:
    """The folders of the parts of a set that is divided already, such as "train" and "test"; of two, the second is for
    the test. Empty if the set is not divided.
    """
    if not folder.is_dir():
        return {}
    names = folders_of(folder)
    found = {name: PARTS[name.lower()] for name in names if name.lower() in PARTS}
    if len(found) < len(names) or len(set(found.values())) < max(2, len(found)) or 0 not in found.values():
        return {}
    if not all(folders_of(folder / name) and not _has_data(folder / name) for name in found):
        return {}
    return found if len(found) > 2 else {name: min(2 * number, 2) for name, number in found.items()}


def _has_data(folder: Path) -> bool:
    """Whether files lie in a folder itself, besides lists and descriptions: it is then a class."""
    files = (entry for entry in folder.iterdir() if entry.is_file() and entry.name[0] not in "._")
    return any(file.suffix.lower() not in (".txt", ".csv", ".tsv", ".json", ".md", ".html") for file in files)


def folders_of(folder: Path) -> List[str]:
    """The names of the folders of a folder, except for those that begin with "_" or "."."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")


def classes_of(folder: Path, what: str, absent: str = "") -> Tuple[str, ...]:
    """The classes of a folder: the names of its folders, except for those that begin with "_" or "."; of a divided set
    those of the folder to train.

    Args:
        folder: the folder.
        what: its files, for messages.
        absent: what to do if there is no such folder, for messages.
    """
    if not folder.is_dir():
        raise DataFileError(f"{folder}: no such folder{absent}")
    train = next((name for name, number in parts_of(folder).items() if number == 0), "")
    names = folders_of(folder / train)
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
    for name in sorted({class_of(file) for file in files}):
        mine = sorted((file for file in files if class_of(file) == name), key=hash_of)
        counts = [max(round(share * len(mine)), 1 if share else 0) for share in shares]
        if sum(counts) >= len(mine):
            raise DataError(
                f"{owner}: class {name!r} has {len(mine)} files, of which shares={shares!r} leave none to train on"
            )
        part.update(dict.fromkeys(mine[: counts[0]], 1))
        part.update(dict.fromkeys(mine[counts[0] : sum(counts)], 2))
    return part


def class_of(file: str) -> str:
    """The class of a file, "CLASS/NAME" or "PART/CLASS/NAME"."""
    return file.split("/")[-2]


def hash_of(text: str) -> int:
    """A number that depends on the text alone."""
    return int(hashlib.sha1(text.encode()).hexdigest(), 16)

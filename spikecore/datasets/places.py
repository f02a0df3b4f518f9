"""Where data sets lie on disk, what to say when they do not, and how files are told apart."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

from spikecore.arguments import PathLike as PathLike
from spikecore.datasets.errors import DataFileError


@dataclass(frozen=True)
class Home:
    """A data set's home: what it is called, in which folders it may lie, where it comes from.

    Args:
        name: of the data set.
        folders: below the root given by the user, most usual first; "." is the root itself.
        page: where its files are offered.
        paper: what describes it.
        unpacked: what must lie in the folder, for people.
    """

    name: str
    folders: Tuple[str, ...]
    page: str
    paper: str
    unpacked: str

    def find(self, root: PathLike, *files: str) -> Path:
        """The first folder that holds all these files or folders.

        Raises:
            DataFileError: there is none; says which are missing, where to get them and where to put them.
        """
        folders = [Path(root) / folder for folder in self.folders]
        for folder in folders:
            if all((folder / file).exists() for file in files):
                return folder
        missing = [file for file in files if not any((folder / file).exists() for folder in folders)]
        raise DataFileError(
            f"{self.name}: no {' and '.join(missing or files)} in {', '.join(map(str, folders))}. Get the data from "
            f"{self.page} ({self.paper}) and unpack it into {folders[0]}, so that it holds {self.unpacked}; or pass "
            "the folder in which it lies"
        )


def stamp(path: PathLike) -> Tuple[str, int, int]:
    """Name, size and time of the last change (ns): what changes when a file does.

    Raises:
        DataFileError: it cannot be looked at.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error
    return os.path.basename(os.fspath(path)), status.st_size, status.st_mtime_ns


def content(path: PathLike) -> bytes:
    """The bytes of a file; raises DataFileError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error

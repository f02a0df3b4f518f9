"""Folders of data sets on disk, messages about missing ones, and the stamps that show whether a file has changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

from spikecore.arguments import PathLike as PathLike
from spikecore.datasets.errors import DataFileError


@dataclass(frozen=True)
class Home:
    """A data set's name, its possible folders, and its web page.

    Args:
        name: of the data set.
        folders: possible folders below the root that the user gives, the usual one first; "." is the root itself.
        page: web page that offers its files.
        paper: publication that describes it.
        unpacked: what the folder must contain, in words for a message.
    """

    name: str
    folders: Tuple[str, ...]
    page: str
    paper: str
    unpacked: str

    def find(self, root: PathLike, *files: str) -> Path:
        """Find the first folder below `root` that has all of these files or folders.

        Raises:
            DataFileError: no folder has them; says which are missing, where to get them and where to put them.
        """
        folders = [Path(root) / folder for folder in self.folders]
        for folder in folders:
            if all((folder / file).exists() for file in files):
                return folder
        missing = [file for file in files if not any((folder / file).exists() for folder in folders)]
        raise DataFileError(
            f"{self.name}: no {' and '.join(missing or files)} in {', '.join(map(str, folders))}. Get the data from "
            f"{self.page} ({self.paper}) and unpack it into {folders[0]}, so that it holds {self.unpacked}; or pass "
            "the folder that holds it"
        )


def stamp(path: PathLike) -> Tuple[str, int, int]:
    """Name, size and time of the last change (ns) of a file. They change when the file is changed.

    Raises:
        DataFileError: the file is absent or cannot be read.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error
    return os.path.basename(os.fspath(path)), status.st_size, status.st_mtime_ns


def content(path: PathLike) -> bytes:
    """The bytes of a file; raises DataFileError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error

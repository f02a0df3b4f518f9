"""Folders of data sets on disk, messages about missing ones, and the stamps that show whether a file has changed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Tuple

from spikecore.arguments import PathLike as PathLike
from spikecore.datasets.errors import DataFileError

ARCHIVES = (".zip", ".tar.gz")


@dataclass(frozen=True)
class Remote:
    """A file on the internet.

    Args:
        name: of the file on disk.
        url: its address; empty if it can only be fetched with a browser.
        md5: its checksum, which its publishers and other libraries name.
        inside: for an archive: the folder in it that holds what is wanted; "" for all of it.
    """

    name: str
    url: str
    md5: str
    inside: str = ""

    def fetch(self, folder: Path, page: str) -> Path:
        """Fetch the file into `folder`, unless it is there; returns its path. See `download.fetch`."""
        from spikecore.datasets.download import fetch  # HTTP takes 0.1 s to import

        return fetch(self.url, folder / self.name, self.md5, page)


@dataclass(frozen=True)
class Home:
    """A data set's name, its possible folders, its web page and its files on the internet.

    Args:
        name: of the data set.
        folders: possible folders below the root that the user gives, the usual one first; "." is the root itself.
        page: web page that offers its files.
        paper: publication that describes it.
        unpacked: what the folder must contain, in words for a message.
        remotes: for each file or folder that `find` may be asked for: where it comes from.
    """

    name: str
    folders: Tuple[str, ...]
    page: str
    paper: str
    unpacked: str
    remotes: Dict[str, Remote] = field(default_factory=dict)

    def find(self, root: PathLike, *files: str, download: bool = False) -> Path:
        """Find the first folder below `root` that has all of these files or folders.

        Args:
            root: the folder that the user gives.
            files: names of the files or folders.
            download: fetch those that are missing.

        Raises:
            DataFileError: no folder has them; says which are missing, where to get them and where to put them. Or they
                cannot be fetched.
        """
        folders = [Path(root) / folder for folder in self.folders]
        for folder in folders:
            if all((folder / file).exists() for file in files):
                return folder
        if download:
            folder = next((f for f in folders if any((f / file).exists() for file in files)), folders[0])
            for file in files:
                if not (folder / file).exists():
                    self._obtain(file, folder, folders)
            return folder
        missing = [file for file in files if not any((folder / file).exists() for folder in folders)]
        raise DataFileError(
            f"{self.name}: no {' and '.join(missing or files)} in {', '.join(map(str, folders))}. {self._offer(root)}; "
            f"or get the data from {self.page} ({self.paper}) and unpack it into {folders[0]}, so that it holds "
            f"{self.unpacked}; or pass the folder that holds it"
        )

    def _offer(self, root: PathLike) -> str:
        """The effect of download=True, for a message."""
        by_hand = {remote.name for remote in self.remotes.values() if not remote.url}
        if by_hand:
            archives = " and ".join(sorted(by_hand))
            return f"Put {archives} into {root} and pass download=True, which checks and unpacks it"
        return "Pass download=True to fetch the data"

    def _obtain(self, file: str, folder: Path, folders: List[Path]) -> None:
        """Fetch a file, and unpack it if it is in an archive. An archive that was there before stays."""
        from spikecore.datasets.unpack import unpack

        remote = self.remotes[file]
        there = [place for place in folders if (place / remote.name).exists()]
        path = remote.fetch(there[0] if there else folder, self.page)
        if not path.name.endswith(ARCHIVES):
            return
        unpack(path, folder, remote.inside)
        if not (folder / file).exists():
            raise DataFileError(f"{path}: holds no {file}; unpack it by hand, so that {folder} holds {self.unpacked}")
        if not there:
            path.unlink()


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

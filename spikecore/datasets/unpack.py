"""Archives of data sets, unpacked so that a folder holds all of them or nothing."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, Iterator, Tuple

from spikecore.datasets.errors import DataFileError


def unpack(archive: Path, folder: Path, inside: str = "") -> None:
    """Unpack a zip or tar archive into a folder. Its files appear there when all of them are unpacked.

    Args:
        archive: the file.
        folder: where they go.
        inside: the folder in the archive whose content is wanted; "" for all of it.

    Raises:
        DataFileError: the archive is damaged, has links or names outside of the folder, or there is no space.
    """
    room = folder / f".{archive.name}.unpacking"
    shutil.rmtree(room, ignore_errors=True)  # of a process that was killed
    try:
        for name, member in _members(archive):
            target = room / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with member() as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        wanted = room / inside
        if not wanted.is_dir():
            raise DataFileError(f"{archive}: holds no folder {inside}")
        for path in sorted(wanted.iterdir()):
            if (folder / path.name).is_dir():
                shutil.rmtree(folder / path.name)
            os.replace(path, folder / path.name)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataFileError(f"{archive}: damaged: {error}") from error
    except OSError as error:
        raise DataFileError(f"{folder}: {archive.name} cannot be unpacked: {error.strerror or error}") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _members(archive: Path) -> Iterator[Tuple[str, Any]]:
    """Name and opener of each file in the archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for item in packed.infolist():
                if not item.filename.endswith("/"):  # is_dir() fails where there is no name
                    yield _safe(archive, item.filename), lambda item=item: packed.open(item)
        return
    with tarfile.open(archive) as packed_tar:
        for entry in packed_tar:
            if entry.isdir():
                continue
            if not entry.isfile():
                raise DataFileError(f"{archive}: {entry.name} is a link or a device: not a file of a data set")
            yield _safe(archive, entry.name), lambda entry=entry: packed_tar.extractfile(entry)


def _safe(archive: Path, name: str) -> str:
    parts = Path(name.replace("\\", "/")).parts
    if not parts or ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]:
        raise DataFileError(f"{archive}: the name {name!r} in it leads out of the folder")
    return "/".join(parts)

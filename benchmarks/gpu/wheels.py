"""Wheels in the folder ``.whl`` of the repository, for a machine without a network."""

from __future__ import annotations

import re
import zipfile
from importlib import metadata
from pathlib import Path
from typing import List, Set, Tuple

FOLDER = ".whl"


def unpack(folder: Path, target: Path) -> Tuple[List[str], List[str]]:
    """Unpack the wheels of a folder that fit this Python and system, but for packages that are installed here.

    Args:
        folder: where the wheels are; it may be absent.
        target: a new folder, which is to come before all others on Python's path.

    Returns:
        The names of the wheels that were unpacked, and of those that do not fit or are broken, with the reason.
    """
    target.mkdir(parents=True, exist_ok=True)
    taken, left = [], []
    fitting, here = _tags(), {_plain(d.metadata["Name"]) for d in metadata.distributions() if d.metadata["Name"]}
    for wheel in sorted(folder.glob("*.whl")):
        if _plain(wheel.name.partition("-")[0]) in here:
            continue  # it goes with what else is here: NumPy with torch, say
        if fitting and not fitting & _tags_of(wheel.stem):
            left.append(f"{wheel.name}: made for another Python or system")
            continue
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
        except (zipfile.BadZipFile, OSError) as error:
            left.append(f"{wheel.name}: {error}")
            continue
        taken.append(wheel.name)
    return taken, left


def _plain(name: str) -> str:
    """A package's name, as names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _tags() -> Set[str]:
    """The tags of wheels that fit here; empty where the package that knows them is absent."""
    try:
        from packaging.tags import sys_tags
    except ImportError:
        return set()
    return {str(tag) for tag in sys_tags()}


def _tags_of(stem: str) -> Set[str]:
    """The tags in a wheel's name: ``numpy-2.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64``."""
    parts = stem.split("-")
    if len(parts) < 5:  # name, version, Python, ABI, platform
        return set()
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    return {f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms}

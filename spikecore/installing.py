"""Commands that install a missing package, for messages.

No index has spikecore before its first release, and anybody may take a name that is free. pyproject.toml says that this
is so by a classifier, with which an index refuses the package. As long as it stands there, messages name the packages
of an extra: pip finds these for a clone and for a wheel. Without it they name the extra.
"""

from __future__ import annotations

import re
import sys
from typing import Iterable, List, Tuple

UNPUBLISHED = "Private :: Do Not Upload"
PYTHON = re.compile(r"python_version (<|>=) '3\.(\d+)'")


def to_install(extra: str) -> str:
    """The command that installs what an extra of spikecore brings, by the metadata of the installed package."""
    from importlib import metadata  # takes 30 ms to import, so not at the top

    try:
        found = metadata.distribution("spikecore")
    except metadata.PackageNotFoundError:  # a clone that is on the path
        return f'pip install -e ".[{extra}]", in the clone of spikecore'
    if UNPUBLISHED not in (found.metadata.get_all("Classifier") or ()):
        return f'pip install "spikecore[{extra}]"'
    named = packages(found.requires or (), extra, sys.version_info[:2])
    return f"pip install {' '.join(map(_quoted, named))}"


def packages(requires: Iterable[str], extra: str, python: Tuple[int, int]) -> List[str]:
    """The requirements of an extra on a version of Python.

    Args:
        requires: lines of metadata, ``name>=1; (python_version < '3.11') and extra == 'cli'``.
        extra: its name.
        python: the version, as (3, 11).

    Returns:
        ``name>=1`` of each line. If this Python is too old for all of them, all: the installer will say so.
    """
    lines = [line.partition(";") for line in requires]
    ours = [(name.strip(), PYTHON.search(when)) for name, _, when in lines if f"extra == '{extra}'" in when]
    fitting = [name for name, when in ours if not when or (python < (3, int(when[2]))) == (when[1] == "<")]
    return fitting or [name for name, _ in ours]


def _quoted(requirement: str) -> str:
    return requirement if re.fullmatch(r"[\w.-]+", requirement) else f'"{requirement}"'

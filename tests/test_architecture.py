"""The tree in docs/architecture.md names the files that are there, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
COMPLETE = (  # of other folders the page says what is in them, not every file
    "api/core api/layers api/neurons api/spikegen api/functional api/training api/learning api/verification cli "
    "engines/numpy engines/torch engines/ipu kernels kernels/runtime".split()
)
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")


def sections():
    """What the tree says of each folder, by its path below spikecore/."""
    tree = re.search(
        r"^## The tree\n\n```text\nspikecore/\n(.*?)^benchmarks/", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    found, top, here = {}, "", ""
    for line in tree[1].splitlines():
        start = re.match(r"^( {2}| {4})(?! )(\w+/(?= |$))?", line)
        if start and len(start[1]) == 2:
            here = top = (start[2] or "").rstrip("/")
        elif start:
            here = f"{top}/{start[2]}".rstrip("/") if start[2] else top
        found[here] = f"{found.get(here, '')}{line}\n"
    return found


@pytest.mark.parametrize("folder", COMPLETE)
def test_every_file_is_named(folder):
    named = set(re.findall(r"\w+", sections()[folder]))
    files = {path.stem for path in (ROOT / "spikecore" / folder).glob("*.py")} - {"__init__"}
    assert files - named == set()


def test_every_name_is_a_file():
    for folder, text in sections().items():
        below = {path.name for path in (ROOT / "spikecore" / folder).rglob("*.py")}
        assert set(re.findall(r"\w+\.py\b", text)) - below == set(), folder


def test_each_stop_of_the_tour_is_one_short_file():
    tour = PAGE.read_text("utf-8").split("## A tour in five stops")[1].split("## Ideas")[0]
    stops = re.findall(r"^\d\. \*\*(.*?)\*\*", tour, re.MULTILINE)
    files = [re.search(r"`(\S+)`", stop)[1] if "`" in stop else "docs/architecture.md" for stop in stops]
    assert len(files) == 5
    for name in files:
        assert len((ROOT / name).read_text("utf-8").splitlines()) <= 200, name


def test_every_file_that_builds_the_site_is_named():
    below = PAGE.read_text("utf-8").split("\ndocs/ ")[1].split("\nexamples/")[0]
    files = [*(ROOT / "docs").glob("*.py"), *(ROOT / "docs" / "builder").iterdir()]
    names = {path.name for path in files if path.is_file()}
    assert names - set(re.findall(r"[\w.]+", below)) == set()
    assert set(re.findall(r"\w+\.py\b", below)) - names == set()

"""Drawings of the tutorials, ``docs/tutorials/drawings``: each is a function of a module here, and a file of its name.

``make pictures`` writes them and the chart of Home, in no time, so nothing records what they were made from.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Tuple

from . import codes, deploy, events, learned, learning, networks, neurons  # noqa: F401  each registers its drawings
from .canvas import COLOURS, DRAWINGS, SHOWN, SIZE, WIDTH
from .chart import chart

__all__ = ["COLOURS", "DRAWINGS", "FOLDER", "SHOWN", "SIZE", "WIDTH", "build", "chart", "files", "pages"]

DOCS = Path(__file__).resolve().parents[2]
FOLDER = DOCS / "tutorials" / "drawings"
CHART, BENCHMARKS = DOCS / "images" / "chart.svg", DOCS / "benchmarks.md"
IMAGE = re.compile(r"!\[([^\]]*)\]\((?:tutorials/)?drawings/(\w+)\.svg\)")


def files() -> Dict[str, str]:
    """The text of each file by its name."""
    return {f"{name}.svg": made().svg() for name, made in DRAWINGS.items()}


def build(folder: Path = FOLDER) -> int:
    """Write the files, and remove all others; returns how many there are."""
    folder.mkdir(exist_ok=True)
    drawn = files()
    for path in folder.iterdir():
        if path.name not in drawn:
            path.unlink()
    for name, text in drawn.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(drawn)


def pages(docs: Path = DOCS) -> Dict[str, List[Tuple[str, str]]]:
    """For each page that shows drawings, their names and what is said of them to those who do not see them."""
    texts = {path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in sorted(docs.rglob("*.md"))}
    found = {page: [(name, alt) for alt, name in IMAGE.findall(text)] for page, text in texts.items()}
    return {page: shown for page, shown in found.items() if shown}

"""Tutorials are percent files: ``# %%`` begins a cell of code, ``# %% [markdown]`` one of text, in comments.

Editors and Jupyter (by jupytext) read the same format. What is beside the marks of a cell, such as ``alt="A line"`` or
``tags=["answer"]``, is a name and a value in JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import List, Tuple

MARK = re.compile(r"^# %%(.*)$", re.MULTILINE)
OPTION = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\[[^\]]*\])')


@dataclass(frozen=True)
class Cell:
    """A cell of a tutorial."""

    kind: str  # "code" or "markdown"
    source: str
    tags: Tuple[str, ...] = ()  # "answer": folded on the page; "warns": may write to stderr
    alt: str = ""  # what its picture shows


def read(text: str) -> List[Cell]:
    """The cells of a percent file."""
    _, *parts = MARK.split(text)
    return [_cell(mark.strip(), source.strip("\n")) for mark, source in zip(parts[::2], parts[1::2])]


def _cell(mark: str, source: str) -> Cell:
    options = {name: json.loads(value) for name, value in OPTION.findall(mark)}
    kind = "markdown" if mark.startswith("[markdown]") else "code"
    if kind == "markdown":
        source = re.sub(r"^# ?", "", source, flags=re.MULTILINE)
    return Cell(kind, source, tuple(options.get("tags", ())), options.get("alt", "").strip())

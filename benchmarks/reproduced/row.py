"""A row of the page: a paper's figure and how ours is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict

Measure = Callable[[int, Path], Dict[str, float]]


@dataclass(frozen=True)
class Row:
    """A figure that a paper prints.

    Args:
        title: task and network.
        paper: whose figure it is.
        theirs: the figure, as the paper prints it.
        unit: of both figures.
        run: makes our figure from a seed and the folder of ``--data``; the line of a run has what it returns, and its
            "figure" is what counts.
        seeds: how many are run.
        data: files that the folder has to have; empty: the data are made or carried by a package.
        differs: what differs from the paper.
    """

    title: str
    paper: str
    theirs: str
    unit: str
    run: Measure
    seeds: int = 3
    data: str = ""
    differs: str = ""

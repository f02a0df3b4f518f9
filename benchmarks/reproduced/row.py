"""A row of the page: a paper's figure and how ours is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Callable, Dict, List, Sequence

Line = Dict[str, Any]
Measure = Callable[[int, Path], Line]


@dataclass(frozen=True)
class Row:
    """A figure that a paper prints.

    Args:
        title: task and network.
        paper: whose figure it is.
        theirs: the figure, as the paper prints it; may be empty if the lines have "theirs".
        unit: of both figures.
        run: makes our figure from a seed and the folder of ``--data``; the line of a run has what it returns, and its
            "figure" is what counts. The table shows "shown" in its place, and "theirs", what something else reaches on
            the same data, if the line has them.
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


def spread(values: Sequence[float]) -> str:
    """Mean and deviation."""
    digits = 1 if max(values) > 2.0 else 3
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def ours(lines: List[Line]) -> str:
    """Our figure, from the lines of a row."""
    shown = {str(line["shown"]) for line in lines if "shown" in line}
    return ", ".join(sorted(shown)) if shown else spread([line["figure"] for line in lines])


def theirs(row: Row, lines: List[Line]) -> str:
    """The paper's figure, and that of something else on the same data."""
    measured = [line["theirs"] for line in lines if "theirs" in line]
    return "; ".join([*filter(None, [row.theirs]), *([spread(measured)] if measured else [])])

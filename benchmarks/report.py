"""Results of benchmarks as rows, as Markdown and as JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Tuple

from benchmarks import rates
from benchmarks.machine import sentence
from benchmarks.parity import Parity
from benchmarks.plan import Bar

HEAD = (
    "| {} | side | {}, median (min–max) | relative | peak, MB | spike rates | parity | bar met? |\n"
    "|---|---|--:|--:|--:|---|---|---|"
)
NOTHING = "Nothing is left to run: --engine and --peers leave out every side of this workload."


@dataclass(frozen=True)
class Row:
    """The result of one side.

    Args:
        group: title of the group.
        side: name of the side.
        unit: "ms", "MB", "s" or "bits".
        figures: one figure per round; empty if the side did not run.
        relative: the median divided by that of the group's first side.
        parity: comparison with the reference; None if there is none.
        bars: each bar of the side with the measured ratio (or figure), which is None if the other side did not run.
        note: the reason if the side did not run.
        failed: whether the reason is an error, and not a missing package.
        rates: measured spike rates in [0, 1], by what fires: "input", "layer 1", "output".
        memory: peak memory of a run in MB; None where it is not measured.
    """

    group: str
    side: str
    unit: str
    figures: Tuple[float, ...] = ()
    relative: Optional[float] = None
    parity: Optional[Parity] = None
    bars: Tuple[Tuple[Bar, Optional[float]], ...] = ()
    note: str = ""
    failed: bool = False
    rates: Dict[str, float] = field(default_factory=dict)
    memory: Optional[float] = None

    @property
    def median(self) -> float:
        """The median of the figures."""
        return statistics.median(self.figures)

    def cells(self) -> List[str]:
        """The cells of the row in the table."""
        if not self.figures:
            return [self.group, self.side, self.note, "", "", "", "", ""]
        low, high = (digits(f) for f in (min(self.figures), max(self.figures)))
        figure = f"{digits(self.median)} ({low}–{high})" if len(self.figures) > 1 else digits(self.median)
        relative = "" if self.relative is None else "1" if self.relative == 1.0 else f"{self.relative:.2g}×"
        if self.relative is not None and self.relative >= 10:
            relative = f"{self.relative:.0f}×"
        parity = "" if self.parity is None else str(self.parity)
        bars = "; ".join(_verdict(*bar) for bar in self.bars)
        memory = "" if self.memory is None else digits(self.memory)
        return [self.group, self.side, figure, relative, memory, rates.text(self.rates), parity, bars]


@dataclass(frozen=True)
class Section:
    """The results of one workload.

    ``summary`` is a text about its rows, ``picture`` where its picture is, seen from the file with the results.
    """

    name: str
    title: str
    text: str
    rows: Tuple[Row, ...]
    picture: str = ""
    summary: str = ""


def as_markdown(machine: Dict[str, Any], sections: Iterable[Section]) -> str:
    """A table for each workload, under its heading, as Markdown."""
    parts = [sentence(machine)]
    for section in sections:
        unit = section.rows[0].unit if section.rows else "ms"
        lines = [HEAD.format("workload", unit), *("| " + " | ".join(row.cells()) + " |" for row in section.rows)]
        lines = lines if section.rows else [NOTHING]
        shown = f"![{section.title}]({section.picture})\n\n" if section.picture else ""
        shown += f"{section.summary}\n\n" if section.summary else ""
        parts.append(f"## {section.title}\n\n{section.text}\n\n{shown}" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_json(machine: Dict[str, Any], sections: Iterable[Section]) -> str:
    """All results as JSON, with every single figure."""
    report: Dict[str, Any] = {"machine": machine, "workloads": {}}
    for section in sections:
        report["workloads"][section.name] = {"title": section.title, "rows": [plain(row) for row in section.rows]}
    return json.dumps(report, indent=1) + "\n"


def plain(row: Row) -> Dict[str, Any]:
    """A row as JSON has it."""
    bars = [{**asdict(bar), "found": ratio, "met": _met(bar, ratio)} for bar, ratio in row.bars]
    return {**asdict(row), "bars": bars, "median": row.median if row.figures else None}


def of_plain(plain: Dict[str, Any]) -> Row:
    """The row of a line of JSON: what ``plain`` gave."""
    given = {name: plain[name] for name in Row.__dataclass_fields__}
    bars = tuple((Bar(one["side"], one["against"], one["most"]), one["found"]) for one in given["bars"])
    parity = given["parity"] and Parity(**given["parity"])
    return Row(**{**given, "figures": tuple(given["figures"]), "bars": bars, "parity": parity})


def _met(bar: Bar, ratio: Optional[float]) -> Optional[bool]:
    return None if ratio is None else ratio <= bar.most


def _verdict(bar: Bar, ratio: Optional[float]) -> str:
    """Whether a bar is met, with the measured ratio and the bar."""
    if ratio is None:
        return f"unknown: {bar.against} did not run"
    answer = "yes" if _met(bar, ratio) else "no"
    if bar.against is None:
        return f"{answer}: {ratio:.3g} (at most {bar.most:.2g})"
    if bar.most < 1.0 and ratio > 0.0:
        return f"{answer}: {bar.against} takes {1 / ratio:.3g}× (at least {1 / bar.most:.2g}×)"
    return f"{answer}: {ratio:.3g}× {bar.against} (at most {bar.most:.2g}×)"


def digits(figure: float) -> str:
    """A figure with three digits."""
    return f"{figure:.2f}" if figure < 10 else f"{figure:.1f}" if figure < 100 else f"{figure:.0f}"

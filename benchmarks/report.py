"""Results as rows, Markdown and JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterable, List, Optional, Tuple

from benchmarks.machine import sentence
from benchmarks.parity import Parity
from benchmarks.plan import Bar

HEAD = "| {} | side | {}, median (min–max) | relative | parity | bar met? |\n|---|---|--:|--:|---|---|"
NOTHING = "Nothing is left to run: --engine and --peers leave out every side of this workload."


@dataclass(frozen=True)
class Row:
    """One side's result.

    Args:
        group: title of the group.
        side: name of the side.
        unit: "ms", "MB" or "s".
        figures: one per round; none where the side did not run.
        relative: median over that of the group's first side.
        parity: against the reference.
        bars: the bars it is held to, each with the ratio (or figure) found; None where the other side did not run.
        note: why it did not run.
        failed: whether that was an error rather than an absent package.
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

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.figures)

    def cells(self) -> List[str]:
        """The row of the table."""
        if not self.figures:
            return [self.group, self.side, self.note, "", "", ""]
        low, high = (_digits(f) for f in (min(self.figures), max(self.figures)))
        figure = f"{_digits(self.median)} ({low}–{high})" if len(self.figures) > 1 else _digits(self.median)
        relative = "" if self.relative is None else "1" if self.relative == 1.0 else f"{self.relative:.2g}×"
        if self.relative is not None and self.relative >= 10:
            relative = f"{self.relative:.0f}×"
        parity = "" if self.parity is None else str(self.parity)
        return [self.group, self.side, figure, relative, parity, "; ".join(_verdict(*bar) for bar in self.bars)]


@dataclass(frozen=True)
class Section:
    """A workload's rows."""

    name: str
    title: str
    text: str
    rows: Tuple[Row, ...]


def as_markdown(machine: Dict[str, Any], sections: Iterable[Section]) -> str:
    """The tables, under one heading per workload."""
    parts = [sentence(machine)]
    for section in sections:
        unit = section.rows[0].unit if section.rows else "ms"
        lines = [HEAD.format("workload", unit), *("| " + " | ".join(row.cells()) + " |" for row in section.rows)]
        lines = lines if section.rows else [NOTHING]
        parts.append(f"## {section.title}\n\n{section.text}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_json(machine: Dict[str, Any], sections: Iterable[Section]) -> str:
    """Everything, every single figure included."""
    found: Dict[str, Any] = {"machine": machine, "workloads": {}}
    for section in sections:
        found["workloads"][section.name] = {"title": section.title, "rows": [_plain(row) for row in section.rows]}
    return json.dumps(found, indent=1) + "\n"


def _plain(row: Row) -> Dict[str, Any]:
    plain = asdict(row)
    plain["bars"] = [{**asdict(bar), "found": found, "met": _met(bar, found)} for bar, found in row.bars]
    plain["median"] = row.median if row.figures else None
    return plain


def _met(bar: Bar, found: Optional[float]) -> Optional[bool]:
    return None if found is None else found <= bar.most


def _verdict(bar: Bar, found: Optional[float]) -> str:
    """Whether a bar is met, what was found, and the bar."""
    if found is None:
        return f"unknown: {bar.against} did not run"
    answer = "yes" if _met(bar, found) else "no"
    if bar.against is None:
        return f"{answer}: {found:.3g} (at most {bar.most:.2g})"
    if bar.most < 1.0 and found > 0.0:
        return f"{answer}: {bar.against} takes {1 / found:.3g}× (at least {1 / bar.most:.2g}×)"
    return f"{answer}: {found:.3g}× {bar.against} (at most {bar.most:.2g}×)"


def _digits(figure: float) -> str:
    return f"{figure:.2f}" if figure < 10 else f"{figure:.1f}" if figure < 100 else f"{figure:.0f}"

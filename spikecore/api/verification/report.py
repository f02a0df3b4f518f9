"""The report of ``verify``: one row per thing compared, printed as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, NamedTuple, Optional, Tuple

OK, FAIL, UNAVAILABLE, UNCHECKED = "ok", "FAIL", "not available", "not checked"


class Row(NamedTuple):
    """One comparison."""

    check: str  # e.g. "float64", "finite differences"
    name: str  # "loss", "spikes 1", "gradient 0.weight"
    shape: Tuple[int, ...]
    max_abs: Optional[float]
    max_rel: Optional[float]
    limit: Optional[float]
    verdict: str


class Divergence(NamedTuple):
    """Where two engines first spike differently."""

    check: str
    layer: str
    kind: str
    step: int
    place: Tuple[int, ...]  # sample, then neuron
    distance: float  # |U - threshold| there
    differing: int  # spikes that differ in all
    rounding: bool  # whether each of them lies within rounding of the threshold

    def __str__(self) -> str:
        sample, *neuron = self.place
        return (
            f"{self.check}: first different spike in layer {self.layer or '(the network)'} ({self.kind}) at time step "
            f"{self.step}, sample {sample}, neuron {tuple(neuron)}: |U - threshold| = {self.distance:.3g}; "
            f"{self.differing} spikes differ in all{', each within rounding of the threshold' if self.rounding else ''}"
        )


@dataclass
class Report:
    """What ``verify`` found. ``print`` it, or look at ``ok``, ``worst``, ``table``, ``divergences``."""

    title: str
    table: List[Row] = field(default_factory=list)
    divergences: List[Divergence] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and something was compared, gradients among it if there are any."""
        verdicts = [row.verdict for row in self.table]
        gradients = {row.verdict for row in self._gradients()}
        return FAIL not in verdicts and OK in verdicts and gradients != {UNCHECKED}

    def _gradients(self) -> List[Row]:
        """The gradients that were compared with the reference: in float64, or in float32 where there is no other."""
        rows = [row for row in self.table if row.name.startswith("gradient")]
        double = [row for row in rows if row.check == "float64"]
        return double or [row for row in rows if row.check == "float32"]

    @property
    def worst(self) -> float:
        """The largest relative error of a gradient in float64; in float32 on an engine that has no other."""
        errors = [row.max_rel for row in self._gradients()]
        return max((e for e in errors if e is not None), default=float("nan"))

    @property
    def worst_difference(self) -> float:
        """The largest relative error against finite differences; NaN if they were not taken."""
        errors = [row.max_rel for row in self.table if row.check == "finite differences"]
        return max((e for e in errors if e is not None), default=float("nan"))

    def add(self, check: str, name: str, shape: Tuple[int, ...], errors: Tuple[float, float], limit: float) -> None:
        """Judge a comparison by its relative error. A NaN fails."""
        self.table.append(Row(check, name, shape, *errors, limit, OK if errors[1] <= limit else FAIL))

    def note(self, check: str, name: str, shape: Tuple[int, ...], verdict: str) -> None:
        """Enter something that could not be compared."""
        self.table.append(Row(check, name, shape, None, None, None, verdict))

    def __str__(self) -> str:
        head = ("check", "what", "shape", "max abs", "max rel", "limit", "verdict")
        rows = [head, *(_cells(row) for row in self.table)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        verdict = "verified" if self.ok else "NOT VERIFIED"
        return "\n".join([self.title, *lines, *map(str, self.divergences), *self.notes, verdict])


def _cells(row: Row) -> Tuple[str, ...]:
    figures = ("" if x is None else f"{x:.2e}" if x else "0" for x in (row.max_abs, row.max_rel, row.limit))
    return (row.check, row.name, "x".join(map(str, row.shape)) or "scalar", *figures, row.verdict)

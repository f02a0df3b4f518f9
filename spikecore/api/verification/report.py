"""The report of ``verify``: one row per comparison, printed as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, NamedTuple, Optional, Tuple

OK, FAIL, UNAVAILABLE, UNCHECKED = "ok", "FAIL", "not available", "not checked"
APPROXIMATION, MEASURED = "approximation", "measured"  # a check without a limit, and its verdict


class Row(NamedTuple):
    """One comparison; figures are None if nothing could be compared."""

    check: str  # e.g. "float64", "finite differences"
    name: str  # "loss", "spikes 1", "gradient 0.weight"
    shape: Tuple[int, ...]
    max_abs: Optional[float]
    max_rel: Optional[float]
    limit: Optional[float]
    verdict: str


class Divergence(NamedTuple):
    """The first spike in which two engines differ."""

    check: str
    layer: str
    kind: str
    step: int
    place: Tuple[int, ...]  # sample, then neuron
    distance: float  # |U - threshold| of this neuron at this step
    differing: int  # number of spikes that differ
    rounding: bool  # whether the difference is explained by rounding near the threshold

    def __str__(self) -> str:
        sample, *neuron = self.place
        return (
            f"{self.check}: first different spike in layer {self.layer or '(the network)'} ({self.kind}) at time step "
            f"{self.step}, sample {sample}, neuron {tuple(neuron)}: |U - threshold| = {self.distance:.3g}; "
            f"{self.differing} spikes differ in all{', each within rounding of the threshold' if self.rounding else ''}"
        )


@dataclass
class Report:
    """The result of ``verify``: print it, or read ``ok``, ``worst``, ``table`` and ``divergences``."""

    title: str
    table: List[Row] = field(default_factory=list)
    divergences: List[Divergence] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no comparison failed, at least one succeeded, and gradients were checked if there are any."""
        verdicts = [row.verdict for row in self.table]
        gradients = {row.verdict for row in self._gradients()}
        return FAIL not in verdicts and OK in verdicts and gradients != {UNCHECKED}

    def _gradients(self) -> List[Row]:
        """The comparisons of gradients with the reference: in float64, or in float32 if there are none in float64."""
        rows = [row for row in self.table if row.name.startswith("gradient")]
        double = [row for row in rows if row.check == "float64"]
        return double or [row for row in rows if row.check == "float32"]

    @property
    def worst(self) -> float:
        """The largest relative error of a gradient in float64, or in float32 on an engine without float64."""
        errors = [row.max_rel for row in self._gradients()]
        return max((e for e in errors if e is not None), default=float("nan"))

    @property
    def worst_difference(self) -> float:
        """The largest relative error against finite differences; NaN if they were not computed."""
        errors = [row.max_rel for row in self.table if row.check == "finite differences"]
        return max((e for e in errors if e is not None), default=float("nan"))

    @property
    def approximation(self) -> float:
        """The largest relative change that ``sparse_backward`` makes to a gradient; NaN on an engine without it."""
        errors = [row.max_rel for row in self.table if row.check == APPROXIMATION]
        return max((e for e in errors if e is not None), default=float("nan"))

    def add(self, check: str, name: str, shape: Tuple[int, ...], errors: Tuple[float, float], limit: float) -> None:
        """Add a comparison; it is ok if its relative error is within ``limit``, and NaN fails."""
        self.table.append(Row(check, name, shape, *errors, limit, OK if errors[1] <= limit else FAIL))

    def measure(self, check: str, name: str, shape: Tuple[int, ...], errors: Tuple[float, float]) -> None:
        """Add a comparison that has no limit and decides nothing."""
        self.table.append(Row(check, name, shape, *errors, None, MEASURED))

    def note(self, check: str, name: str, shape: Tuple[int, ...], verdict: str) -> None:
        """Add a row for something that could not be compared."""
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

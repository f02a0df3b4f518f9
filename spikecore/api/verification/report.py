"""The report of ``verify``: a verdict in one line, what it is about, and one row per comparison as a table."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Tuple

from spikecore.printing import columns

OK, FAIL, UNAVAILABLE, UNCHECKED = "ok", "FAIL", "not available", "not checked"
APPROXIMATION, MEASURED = "approximation", "measured"  # a check without a limit, and its verdict
DIFFERENCES = "finite differences"
SPOKEN = {
    "numpy": "NumPy",
    "numpy-smooth": "NumPy",
    "cupy": "CuPy",
    "ipu": "the IPU",
}  # names of engines in sentences; others as they are
LISTED = 5  # lines about comparisons that failed, before the rest is a number


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
    """The result of ``verify``: print it for the verdict, ``print(report.table())`` for every comparison.

    Attributes:
        title: what was compared, on which engines.
        engine, reference, differentiated: names of the engine under test, of the reference, and of the engine whose
            gradients the finite differences check.
        rows: the comparisons.
        divergences: the first spikes in which two engines differ.
        remarks: what a reader should know before trusting the verdict, e.g. that a layer never fires.
        notes: details for the table, e.g. how each layer runs.
        independent: whether the reference is another engine than the one under test.
        approximates: the options without which the engine was verified, as text.
        silent: whether gradients are zero because nothing fires; those rows are not checked, and that fails nothing.
    """

    title: str
    engine: str = ""
    reference: str = ""
    differentiated: str = ""
    approximates: str = ""
    rows: List[Row] = field(default_factory=list)
    divergences: List[Divergence] = field(default_factory=list)
    remarks: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    silent: bool = False
    independent: bool = True

    @property
    def ok(self) -> bool:
        """Whether no comparison failed, at least one succeeded, and gradients were checked if there are any.

        Gradients that are zero because nothing fires count as checked: they are right, but say little.
        """
        verdicts = [row.verdict for row in self.rows]
        gradients = {row.verdict for row in self._gradients()}
        return FAIL not in verdicts and OK in verdicts and (gradients != {UNCHECKED} or self.silent)

    def _gradients(self) -> List[Row]:
        """The comparisons of gradients with the reference: in float64, or in float32 if there are none in float64."""
        rows = [row for row in self.rows if row.name.startswith("gradient")]
        double = [row for row in rows if row.check == "float64"]
        return double or [row for row in rows if row.check == "float32"]

    @property
    def worst(self) -> float:
        """The largest relative error of a gradient in float64, or in float32 on an engine without float64."""
        return _largest(self._gradients())

    @property
    def worst_difference(self) -> float:
        """The largest relative error against finite differences; NaN if they were not computed."""
        return _largest([row for row in self.rows if row.check == DIFFERENCES])

    @property
    def approximation(self) -> float:
        """The largest relative change that ``sparse_backward`` or half precision makes to a gradient; NaN on an engine
        without them.
        """
        rows = [row for row in self.rows if row.check == APPROXIMATION]
        return _largest([row for row in rows if row.name.startswith("gradient")])

    def add(self, check: str, name: str, shape: Tuple[int, ...], errors: Tuple[float, float], limit: float) -> None:
        """Add a comparison; it is ok if its relative error is within ``limit``, and NaN fails."""
        self.rows.append(Row(check, name, shape, *errors, limit, OK if errors[1] <= limit else FAIL))

    def measure(self, check: str, name: str, shape: Tuple[int, ...], errors: Tuple[float, float]) -> None:
        """Add a comparison that has no limit and decides nothing."""
        self.rows.append(Row(check, name, shape, *errors, None, MEASURED))

    def note(self, check: str, name: str, shape: Tuple[int, ...], verdict: str) -> None:
        """Add a row to the table for something that was not compared; ``notes`` are other text, below it."""
        self.rows.append(Row(check, name, shape, None, None, None, verdict))

    # ---- in words ----

    def table(self) -> str:
        """Every comparison with its figures and its limit, as a table in plain text."""
        head = ("check", "what", "shape", "max abs", "max rel", "limit", "verdict")
        lines = columns([head, *map(_cells, self.rows)], left=len(head)).split("\n")
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join([self.title, *lines, *map(str, self.divergences), *self.remarks, *self.notes, self.verdict])

    @property
    def verdict(self) -> str:
        """One line: whether the gradients are right, against what, and the largest errors."""
        if self.ok:
            silence = "verified, but this says little: nothing fires, and every gradient is zero"
            return silence if self.silent else f"verified: {self._checked()}"
        failed = [row for row in self.rows if row.verdict == FAIL]
        if not failed:
            return "NOT VERIFIED: no gradient could be compared"
        checks = dict.fromkeys(row.check for row in failed)
        found = (f"{self._pair(check, 'differ')} ({_worst(self._of(check, FAIL))})" for check in checks)
        return f"NOT VERIFIED: {', '.join(found)}"

    def _checked(self) -> str:
        """The comparisons that agreed, and how closely."""
        between = {row.check: "" for row in self._compared() if row.check not in (DIFFERENCES, APPROXIMATION)}
        figures = [f"{_largest(self._of(check, OK, 'gradient')):.1g} in {check}" for check in between]
        sentences = []
        if between and self.independent:
            sentences.append(
                f"{_possessive(self.engine)} gradients equal {_possessive(self.reference)} (largest relative error "
                f"{', '.join(figures)})"
            )
        if self._of(DIFFERENCES, OK):
            whose = _possessive(self.differentiated) + ("" if sentences else " gradients")
            sentences.append(f"{whose} equal finite differences ({self.worst_difference:.1g})")
        if between and not self.independent:
            sentences.append(f"{_possessive(self.engine)} kernels and loop agree ({', '.join(figures)})")
        return ", ".join(sentences) or "the compared spikes, states and loss are equal"

    def _compared(self) -> List[Row]:
        return [row for row in self.rows if row.verdict == OK and row.name.startswith("gradient")]

    def _of(self, check: str, verdict: str, kind: str = "") -> List[Row]:
        return [r for r in self.rows if r.check == check and r.verdict == verdict and r.name.startswith(kind)]

    def _pair(self, check: str, verb: str) -> str:
        """The two sides of a check in words."""
        if check == DIFFERENCES:
            return f"{_possessive(self.differentiated)} gradients {verb} from finite differences"
        return f"{_possessive(self.engine)} results {verb} from {_possessive(self.reference)} in {check}"

    def __str__(self) -> str:
        """The verdict, and a line for each thing that failed, was not checked, or matters for trusting the verdict."""
        lines = [self.verdict]
        for row in [row for row in self.rows if row.verdict == FAIL][:LISTED]:
            lines.append(f"  {row.check}: {row.name} is off by {row.max_rel:.2g} of its size, limit {row.limit:.0e}")
        more = sum(row.verdict == FAIL for row in self.rows) - LISTED
        if more > 0:
            lines.append(f"  and {more} more that fail")
        lines += [f"  {where}" for where in self.divergences]
        lines += [f"  {line}" for line in self.remarks]
        if not math.isnan(self.approximation):
            lines.append(
                f"  not verified: {self.approximates} changes gradients by up to {self.approximation:.1g} of their size"
            )
        lines += [f"  not checked: {what}" for what in self._unchecked()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _unchecked(self) -> List[str]:
        """The rows that were not compared, those with the same reason together."""
        by_reason: Dict[Tuple[str, str], List[str]] = {}
        for row in self.rows:
            silence = self.silent and row.name.startswith("gradient")  # the verdict says so
            if row.verdict == UNAVAILABLE or (row.verdict == UNCHECKED and not silence):
                what, _, why = row.name.partition(": ")
                reason = why or ("the engine does not hand it out" if row.verdict == UNAVAILABLE else "")
                by_reason.setdefault((row.check, reason), []).append(what)
        lines = []
        for (check, reason), names in by_reason.items():
            lines.append(f"{check} of {listed(names)}{reason and ': ' + reason}")
        return lines

    def _repr_html_(self) -> str:
        """The verdict, and the table folded away, for notebooks."""
        first, *rest = str(self).splitlines()
        below = "".join(f"<div>{html.escape(line.strip())}</div>" for line in rest)
        return (
            f"<div><b>{html.escape(first)}</b></div>{below}<details><summary>every comparison</summary>"
            f"<pre>{html.escape(self.table())}</pre></details>"
        )


def listed(names: List[str], most: int = 6) -> str:
    """Names in a sentence, the last ones as a number if there are more than ``most``."""
    return ", ".join(names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"])


def _cells(row: Row) -> Tuple[str, ...]:
    figures = ("" if x is None else f"{x:.2e}" if x else "0" for x in (row.max_abs, row.max_rel, row.limit))
    return (row.check, row.name, "x".join(map(str, row.shape)) or "scalar", *figures, row.verdict)


def _largest(rows: List[Row]) -> float:
    """The largest relative error of rows; NaN if none has one, or if one is NaN."""
    errors = [row.max_rel for row in rows if row.max_rel is not None]
    return float("nan") if any(map(math.isnan, errors)) else max(errors, default=float("nan"))


def _worst(rows: List[Row]) -> str:
    worst = max(rows, key=lambda row: math.inf if math.isnan(row.max_rel or 0.0) else row.max_rel or 0.0)
    return f"{worst.name}: {worst.max_rel:.2g}, limit {worst.limit:.0e}"


def _possessive(engine: str) -> str:
    return f"{SPOKEN.get(engine, engine)}'s"

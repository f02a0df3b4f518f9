"""The report of ``verify(..., learning=rule)``: how close a rule's gradient is to the exact one, and what it drops."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Tuple

from spikecore.api.verification.agreement import ALL, Agreement
from spikecore.api.verification.report import FAIL, listed
from spikecore.printing import columns

EXACT, APPROXIMATE, ZERO = "exact", "approximate", "zero"


class LearningRow(NamedTuple):
    """The rule's gradient of one parameter against the exact gradient.

    Attributes:
        agreement: cosine, norm ratio and difference.
        verdict: "exact" or "FAIL" where the rule leaves nothing out; "approximate" where it does; "zero" if the exact
            gradient and the rule's are zero, or rounding. A gradient that is not finite is a "FAIL" in any case.
    """

    agreement: Agreement
    verdict: str


@dataclass(frozen=True)
class LearningReport:
    """Agreement of the gradient of a learning rule with the exact one: print it for a table.

    Both gradients are those of the same loss, batch, weights and surrogate, in float64.

    Attributes:
        title: the rule and both engines.
        learning: the rule, as the argument that gave it: "learning='bptt', window=5".
        rows: one for each parameter, and a last one, "all", for all together.
        omissions: what the rule leaves out: the parameters that miss it, and the part in words.
        loss, exact_loss: of the run of the rule, and of the run of BPTT.
        remarks: what a reader should know before trusting the figures.
    """

    title: str
    learning: str
    rows: Tuple[LearningRow, ...]
    omissions: Tuple[Tuple[Tuple[str, ...], str], ...]
    loss: float
    exact_loss: float
    remarks: Tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether what the rule claims to be exact is, every gradient is finite, and both runs have the same loss."""
        return all(row.verdict != FAIL for row in self.rows) and self.same_loss

    @property
    def same_loss(self) -> bool:
        """Whether both runs have the same loss: otherwise they did not fire the same spikes."""
        return abs(self.loss - self.exact_loss) <= 1e-11 * abs(self.exact_loss)

    @property
    def cosine(self) -> Dict[str, float]:
        """The cosine of the angle between both gradients, by parameter; of all together under "all"."""
        return {row.agreement.name: row.agreement.cosine for row in self.rows}

    @property
    def ratio(self) -> Dict[str, float]:
        """The norm of the rule's gradient divided by that of the exact one, by parameter; "all"."""
        return {row.agreement.name: row.agreement.ratio for row in self.rows}

    @property
    def difference(self) -> Dict[str, float]:
        """The norm of the difference divided by that of the exact gradient, by parameter; "all"."""
        return {row.agreement.name: row.agreement.difference for row in self.rows}

    # ---- in words ----

    @property
    def verdict(self) -> str:
        """One line: how close the rule is, and whether what it claims to be exact is."""
        rows = [row for row in self.rows if row.agreement.name != ALL]
        failed = [row.agreement for row in rows if row.verdict == FAIL]
        broken = [a.name for a in failed if math.isnan(a.difference)]
        if broken:
            return f"NOT VERIFIED: by {self.learning} or by BPTT, the gradient of {listed(broken)} is not finite"
        if failed:
            worst = max(failed, key=lambda a: a.difference)
            return (
                f"NOT VERIFIED: {self.learning} leaves nothing out of {listed([a.name for a in failed])}, and yet the "
                f"gradient differs from the exact one ({worst.name}: {worst.difference:.2g} of its size)"
            )
        if not self.same_loss:
            return f"NOT VERIFIED: the loss is {self.loss:.6g}, and {self.exact_loss:.6g} in the run of BPTT"
        exact = [row.agreement for row in rows if row.verdict == EXACT]
        approximate = [row.agreement for row in rows if row.verdict == APPROXIMATE]
        parts = []
        if approximate:
            angles = [a for a in approximate if not math.isnan(a.cosine)]
            lowest = min(angles, key=lambda a: a.cosine, default=None)
            if lowest is None:
                parts.append("no angle to the exact gradient where something is left out: one of the two is zero")
            else:
                parts.append(f"cosine {_figure(self.cosine[ALL])} with the exact gradient, all parameters together")
                parts.append(f"of single ones at least {_figure(lowest.cosine)} ({lowest.name})")
        if exact:
            largest = max(a.difference for a in exact)
            which = f"{len(exact)} of {len(rows)} gradients are exact" if approximate else "every gradient is exact"
            parts.append(f"{which} (largest relative difference {largest:.1g})")
        return f"{self.learning}: {'; '.join(parts) or 'every gradient is zero, which says nothing'}"

    def table(self) -> str:
        """Every parameter with its figures, as a table in plain text."""
        head = ("parameter", "shape", "cosine", "norm ratio", "difference", "verdict")
        lines = columns([head, *map(_cells, self.rows)], left=2).split("\n")
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join(lines)

    def __str__(self) -> str:
        left_out = [f"left out of {listed(list(names))}: {what}" for names, what in self.omissions]
        return "\n".join([self.verdict, self.title, self.table(), *left_out, *self.remarks])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        first, text = html.escape(self.verdict), html.escape(str(self))
        return f"<div><b>{first}</b></div><details><summary>every parameter</summary><pre>{text}</pre></details>"


def _cells(row: LearningRow) -> List[str]:
    name, shape, cosine, ratio, difference = row.agreement
    size = "" if name == ALL else "x".join(map(str, shape)) or "scalar"
    return [name, size, _figure(cosine), _figure(ratio), f"{difference:.2g}", row.verdict]


def _figure(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.3f}"

"""The results of a check: its findings, and the report that lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

LARGE = 20_000  # nodes from which compile time and memory deserve a warning


class NotForIpu(ValueError):
    """PopTorch would refuse the module, or compile it into something other than its author meant."""


@dataclass(frozen=True)
class Finding:
    """One objection, or one note.

    Args:
        trap: its kind in one or two words, e.g. "autograd.Function".
        layer: dotted name of the layer; empty for the whole module.
        reason: what PopTorch would do.
        remedy: what to write instead.
        error: True if the module must not be compiled, False for a note.
    """

    trap: str
    layer: str
    reason: str
    remedy: str
    error: bool = True

    def __str__(self) -> str:
        where = f"layer {self.layer}" if self.layer else "the module"
        return f"{'REFUSED' if self.error else 'note   '}  {where}: {self.trap}: {self.reason}. {self.remedy}"


@dataclass
class CheckReport:
    """The result of ``check``: the findings and the size of the graph. ``print(report)`` shows them.

    Args:
        title: name of the module that was checked.
        findings: objections and notes, in the order in which they came up.
        nodes: aten calls of one forward pass with its loss, as PopTorch would record them (before its own passes).
        per_step: aten calls that one more time step adds; None if the module has no known time steps.
        steps: number of time steps; None if unknown.
    """

    title: str
    findings: List[Finding] = field(default_factory=list)
    nodes: int = 0
    per_step: Optional[int] = None
    steps: Optional[int] = None

    @property
    def ok(self) -> bool:
        """Whether the module can be compiled: no finding is an error."""
        return not any(finding.error for finding in self.findings)

    def add(self, finding: Finding) -> None:
        """Add a finding, unless the report has it already."""
        if finding not in self.findings:
            self.findings.append(finding)

    def require(self) -> None:
        """Raise an exception if there are errors.

        Raises:
            NotForIpu: with the whole report as its message.
        """
        if not self.ok:
            raise NotForIpu(str(self))

    def __str__(self) -> str:
        size = f"{self.nodes} aten calls" if self.nodes else "not traced to the end"
        if self.per_step is not None and self.steps:
            size += f", {self.per_step} for each of {self.steps} time steps"
        lines = [f"check {self.title}: {size}", *map(str, self.findings)]
        verdict = "no objection" if self.ok else "refused"
        return "\n".join(
            [*lines, f"{verdict}: static checks on this machine; nothing was compiled and no IPU was involved"]
        )


def large_graph(nodes: int, per_step: Optional[int], steps: Optional[int]) -> Optional[Finding]:
    """A note about a graph that is large because time is unrolled, or None."""
    if nodes <= LARGE:
        return None
    share = f" ({steps} time steps x {per_step})" if per_step is not None else ""
    return Finding(
        "graph size",
        "",
        f"{nodes} aten calls{share} are unrolled into one program",
        "Compile time and memory grow with it: use fewer time steps or fewer layers",
        error=False,
    )

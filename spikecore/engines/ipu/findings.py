"""What a check found, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

LARGE = 20_000  # nodes from which compile time and memory deserve a warning


class NotForIpu(ValueError):
    """PopTorch would refuse the module, or compile something else than was meant."""


@dataclass(frozen=True)
class Finding:
    """One objection.

    Args:
        trap: its kind, one word or two, e.g. "autograd.Function".
        layer: dotted name of the layer, empty where it is the whole module.
        reason: what PopTorch would do.
        remedy: what to write instead.
        error: whether the module must not be compiled; False for what is only worth knowing.
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
    """What ``check`` returns: ``ok``, ``findings``, the size of the graph; ``print`` it.

    Args:
        title: what was checked.
        findings: the objections.
        nodes: aten calls of one forward pass with its loss, as PopTorch would record them (before its own passes).
        per_step: those that one more time step adds; None where time steps are unknown.
        steps: number of time steps.
    """

    title: str
    findings: List[Finding] = field(default_factory=list)
    nodes: int = 0
    per_step: Optional[int] = None
    steps: Optional[int] = None

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against compiling."""
        return not any(one.error for one in self.findings)

    def add(self, finding: Finding) -> None:
        """Enter an objection once."""
        if finding not in self.findings:
            self.findings.append(finding)

    def require(self) -> None:
        """Refuse a module that has errors.

        Raises:
            NotForIpu: with all of them.
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
    """A warning about a graph that is long because time is unrolled."""
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

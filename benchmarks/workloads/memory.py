"""Peak memory of a training step."""

from __future__ import annotations

from typing import Iterable

from benchmarks import peak
from benchmarks.plan import Bar, Group, Settings, Side, Workload
from benchmarks.workloads import tutorial5

TEXT = """\
Tutorial 5's training step with T=100: how far memory rises above what the process holds between steps (code, weights,
the optimiser's moments, the input). Each figure is from a process of its own, from the second step; on Linux it is the
rise of the resident set up to its high-water mark (VmHWM, reset before the step), on CUDA that of torch's allocator."""


def groups(settings: Settings) -> Iterable[Group]:
    """One group."""
    steps = settings.size(100, 4)
    known = tutorial5.default_sides(tutorial5.problem(Settings(quick=True)))
    sides = tuple(
        Side(side.name, peak.side(side.name, settings, steps), peer=side.peer, engine=side.engine)
        for side in known
        if not (side.peer == "jax" and settings.device != "cpu")  # its allocator is not torch's
    )
    bars = (Bar("torch engine", "snnTorch", 0.5), Bar("torch, snn.run", "snnTorch", 0.5))
    yield Group(f"tutorial 5, T={steps}", sides, bars=bars, unit="MB", rounds=3, warmup=0)


WORKLOAD = Workload("memory", "Peak memory", TEXT, groups)

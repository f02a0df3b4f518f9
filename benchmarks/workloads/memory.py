"""Peak memory of a training step."""

from __future__ import annotations

from functools import partial
from typing import Iterable

import spikecore as sc
from benchmarks import peak
from benchmarks.plan import Bar, Group, Settings, Side, Workload
from benchmarks.workloads import tutorial5

TEXT = """\
The training step of tutorial 5 with T=100. The figure is the rise of memory in the step above the memory between steps
(code, weights, the moments of the optimiser, the input). Each figure is from the second step of a separate process. On
Linux it is the rise of the resident set up to its peak (VmHWM, which is reset before the step), on CUDA that of torch's
allocator."""


def groups(settings: Settings) -> Iterable[Group]:
    """One group."""
    steps = settings.size(100, 4)
    task, leaky = tutorial5.problem(settings, steps), sc.Leaky(beta=tutorial5.BETA)
    known = tutorial5.default_sides(task)
    sides = tuple(
        Side(side.name, peak.side(side.name, settings, steps), peer=side.peer, engine=side.engine)
        for side in known
        if not (side.peer == "jax" and settings.device != "cpu")  # JAX does not use torch's allocator
    )
    bars = (Bar("torch engine", "snnTorch", 0.5), Bar("torch, snn.run", "snnTorch", 0.5))
    rates = partial(tutorial5.rates_of, task, leaky, leaky)
    yield Group(f"tutorial 5, T={steps}", sides, bars=bars, unit="MB", rounds=3, warmup=0, rates=rates)


WORKLOAD = Workload("memory", "Peak memory", TEXT, groups)

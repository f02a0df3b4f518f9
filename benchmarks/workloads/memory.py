"""Peak memory of a training step."""

from __future__ import annotations

from functools import partial
from typing import Iterable

import spikecore as sc
from benchmarks import peak
from benchmarks.plan import Bar, Group, Settings, Side, Workload
from benchmarks.workloads import tutorial5

TEXT = """\
The training step of tutorial 5 with T=100. SpikingJelly is compared in its own neuron model, as there. The figure is
the rise of memory in the step above the memory between steps (code, weights, the moments of the optimiser, the input).
Each figure is from the second step of a separate process. On Linux it is the rise of the resident set up to its peak
(VmHWM, which is reset before the step), on CUDA that of torch's allocator."""


def groups(settings: Settings) -> Iterable[Group]:
    """A group for snnTorch's neuron, and one for SpikingJelly's."""
    steps = settings.size(100, 4)
    task = tutorial5.problem(settings, steps)
    leaky = sc.Leaky(beta=tutorial5.BETA)
    zero, integrator = sc.Leaky(beta=tutorial5.DYADIC, reset_mechanism="zero"), sc.LI(beta=tutorial5.DYADIC)
    neurons = {"Leaky": (leaky, leaky), "Leaky, zero; LI": (zero, integrator)}
    bars = {"Leaky": (Bar("torch engine", "snnTorch", 0.5), Bar("torch, snn.run", "snnTorch", 0.5))}
    for name, sides_of in tutorial5.SIDES.items():
        sides = tuple(
            Side(side.name, peak.side(name, side.name, settings, steps), peer=side.peer, engine=side.engine)
            for side in sides_of(task)
            if not (side.peer == "jax" and settings.device != "cpu")  # JAX does not use torch's allocator
        )
        rates = partial(tutorial5.rates_of, task, *neurons[name])
        group = f"{name}, T={steps}"
        yield Group(group, sides, bars=bars.get(name, ()), unit="MB", rounds=3, warmup=0, rates=rates)


WORKLOAD = Workload("memory", "Peak memory", TEXT, groups)

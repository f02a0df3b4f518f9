"""What a network keeps between forward and backward."""

from __future__ import annotations

from typing import Iterable

from benchmarks import kept
from benchmarks.plan import Group, Settings, Side, Workload
from benchmarks.workloads.rates import KINDS, Task

TEXT = """\
Layers of the workload `rates`, T=100, batch 128, at a rate of 5 %. The figure is the memory that they hold between
forward and backward, in bits per neuron and step, of a `Linear` per input and step; the input and the result of forward
are not held by anybody else. Spikes as float32 would be 32 bits. The current of "Leaky, Linear" is data and does not
count; between the layers of "two layers" the currents count, 32 bits each. Each figure is the rise of the resident set
of a separate process, on CUDA that of torch's allocated memory."""

RATE, STEPS = 0.05, 100


def groups(settings: Settings) -> Iterable[Group]:
    """A group for every kind of layers, but for the convolution."""
    for kind in ("Linear", "Leaky, Linear", "two layers"):
        task = Task(settings, KINDS[kind], RATE, STEPS)
        sides = tuple(
            Side(name, kept.side(name, settings, kind, RATE, STEPS), peer=one.peer, engine=one.engine)
            for name, one in task.networks().items()
        )
        steps, batch = task.in_shape[:2]
        title = f"{kind}, T={steps} B={batch}"
        yield Group(title, sides, unit="bits", rounds=3, warmup=0, rates=task.rates)


WORKLOAD = Workload("kept", "Kept for backward", TEXT, groups)

"""The time of a neuron's first use, which compiles its kernels."""

from __future__ import annotations

from functools import partial
from typing import Iterable

from benchmarks import first_use
from benchmarks.plan import Bar, Group, Settings, Side, Workload

TEXT = """\
The first forward and backward of a neuron in a new process with an empty kernel cache (a temporary
`$SPIKECORE_CACHE`), including `import numba`. Later processes load the compiled kernels from the cache."""


def groups(settings: Settings) -> Iterable[Group]:
    """One group, with the same bar for every neuron."""
    names = settings.size(tuple(first_use.NEURONS), ("Leaky",))
    steps, neurons = settings.size((100, 1024), (3, 16))
    sides = tuple(
        Side(name, partial(first_use.run, name, steps, neurons, settings.memory_kept), engine="torch") for name in names
    )
    yield Group("first use", sides, bars=tuple(Bar(n, None, 5.0) for n in names), unit="s", rounds=3, warmup=0)


WORKLOAD = Workload("first-use", "First use of a neuron", TEXT, groups)

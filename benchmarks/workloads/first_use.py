"""What compiling costs."""

from __future__ import annotations

from functools import partial
from typing import Iterable

from benchmarks import first_use
from benchmarks.plan import Bar, Group, Settings, Side, Workload

TEXT = """\
Forward and backward of a neuron the first time ever: a fresh process, an empty kernel cache (a temporary
`$SPIKECORE_CACHE`), `import numba` included. Later processes load the compiled kernels from the cache."""


def groups(settings: Settings) -> Iterable[Group]:
    """One group; every neuron is held to the same bar."""
    names = settings.size(tuple(first_use.NEURONS), ("Leaky",))
    steps, neurons = settings.size((100, 1024), (3, 16))
    sides = tuple(
        Side(name, partial(first_use.run, name, steps, neurons, settings.memory_kept), engine="torch") for name in names
    )
    yield Group("first use", sides, bars=tuple(Bar(n, None, 5.0) for n in names), unit="s", rounds=3, warmup=0)


WORKLOAD = Workload("first-use", "First use of a neuron", TEXT, groups)

"""The workloads, by name."""

from __future__ import annotations

from typing import Dict, Iterable, Tuple

from benchmarks.plan import Workload
from benchmarks.workloads import (
    first_use,
    growth,
    kept,
    memory,
    neurons,
    open_neuromorphic,
    own_neuron,
    rates,
    recurrent,
    tutorial5,
    tutorial6,
)

WORKLOADS: Dict[str, Workload] = {
    module.WORKLOAD.name: module.WORKLOAD
    for module in (
        neurons,
        recurrent,
        rates,
        own_neuron,
        tutorial5,
        tutorial6,
        open_neuromorphic,
        growth,
        memory,
        kept,
        first_use,
    )
}


def workloads(names: Iterable[str]) -> Tuple[Workload, ...]:
    """Workloads by name; without names, all.

    Raises:
        KeyError: there is no workload of this name.
    """
    wanted = tuple(names) or tuple(WORKLOADS)
    for name in wanted:
        if name not in WORKLOADS:
            raise KeyError(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
    return tuple(WORKLOADS[name] for name in wanted)

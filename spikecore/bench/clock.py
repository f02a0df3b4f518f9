"""Taking turns at the clock."""

from __future__ import annotations

import gc
import time
from typing import Any, Callable, Dict, List, Tuple

from spikecore.bench.plan import Run


def interleaved(
    runs: Dict[str, Run],
    rounds: int,
    warmup: int,
    measure: Callable[[Run], Tuple[float, Any]],
    tick: Callable[[str], None],
) -> Dict[str, List[float]]:
    """The figures of ``rounds`` rounds after ``warmup`` ones; in each round every side runs once, and each round begins
    with the next side: what comes first after a pause finds cold caches.

    The garbage collector waits: what a side allocates is freed between its runs, not within another's.
    """
    figures: Dict[str, List[float]] = {name: [] for name in runs}
    names = list(runs)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(warmup + rounds):
            first = turn % len(names) if names else 0
            for name in names[first:] + names[:first]:
                figure, result = measure(runs[name])
                del result  # freed here, outside of anyone's time
                if turn >= warmup:
                    figures[name].append(figure)
                tick(name)
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return figures


def wall(synchronise: Callable[[], None]) -> Callable[[Run], Tuple[float, Any]]:
    """Wall-clock milliseconds of a run; ``synchronise`` waits for a GPU."""

    def measure(run: Run) -> Tuple[float, Any]:
        synchronise()
        begun = time.perf_counter()
        result = run()
        synchronise()
        return 1e3 * (time.perf_counter() - begun), result

    return measure


def synchroniser(device: str) -> Callable[[], None]:
    """What waits until a torch device has done its work; nothing for the CPU."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)

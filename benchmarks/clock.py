"""Timing of several runs in turn."""

from __future__ import annotations

import gc
import time
from typing import Any, Callable, Dict, List, Tuple

from benchmarks.plan import Run


def interleaved(
    runs: Dict[str, Run],
    rounds: int,
    warmup: int,
    measure: Callable[[Run], Tuple[float, Any]],
    tick: Callable[[str], None],
) -> Dict[str, List[float]]:
    """Run every side once per round, in the round's ``order``, and return the figures of each side by its name.

    The first ``warmup`` rounds do not count. ``measure`` runs a side and returns its figure and its result. ``tick``
    gets the side's name after each run. The garbage collector runs only between rounds, so no side pays for another.
    """
    figures: Dict[str, List[float]] = {name: [] for name in runs}
    names = list(runs)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(warmup + rounds):
            for name in (names[i] for i in order(len(names), turn)):
                figure, result = measure(runs[name])
                del result  # freed here, where no side is timed
                if turn >= warmup:
                    figures[name].append(figure)
                tick(name)
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return figures


def order(count: int, turn: int) -> List[int]:
    """The order of a round. Over many rounds, each side comes first, and after each other side, equally often.

    The side before influences a run by the caches and the waiting threads that it leaves. In a fixed order, each side
    would always run after the same other side. ``count`` is the number of sides, ``turn`` that of the round.

    Source: E. J. Williams, Australian Journal of Scientific Research A 2 (1949), 149-168: designs balanced for residual
    effects.
    """
    zigzag = ((i + 1) // 2 if i % 2 else -(i // 2) for i in range(count))  # 0, 1, -1, 2, -2, ...: all differences
    row = [(i + turn) % count for i in zigzag]
    return row[::-1] if turn // max(count, 1) % 2 else row


def wall(synchronise: Callable[[], None]) -> Callable[[Run], Tuple[float, Any]]:
    """A function that measures a run in wall-clock milliseconds; ``synchronise`` waits for a GPU."""

    def measure(run: Run) -> Tuple[float, Any]:
        synchronise()
        begun = time.perf_counter()
        result = run()
        synchronise()
        return 1e3 * (time.perf_counter() - begun), result

    return measure


def processor(run: Run) -> Tuple[float, Any]:
    """Measure a run on the CPU in milliseconds of processor time, which does not grow while other programs run."""
    begun = time.process_time()
    result = run()
    return 1e3 * (time.process_time() - begun), result


def synchroniser(device: str) -> Callable[[], None]:
    """A function that waits until a torch device has finished its work; on the CPU it does nothing."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)

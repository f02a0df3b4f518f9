"""Taking turns at the clock."""

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
    """The figures of ``rounds`` rounds after ``warmup`` ones; in each, every side runs once, in that round's ``order``.

    The garbage collector waits: what a side allocates is freed between its runs, not within another's.
    """
    figures: Dict[str, List[float]] = {name: [] for name in runs}
    names = list(runs)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(warmup + rounds):
            for name in (names[i] for i in order(len(names), turn)):
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


def order(count: int, turn: int) -> List[int]:
    """The order of a round: over many rounds everyone comes first, and after each of the others, equally often.

    What a side finds, caches and threads that still wait for work, is what the one before it left. In a fixed order one
    would always come after its like, another always after who leaves the most. Source: E. J. Williams, Australian
    Journal of Scientific Research A 2 (1949), 149-168: designs balanced for residual effects.
    """
    zigzag = ((i + 1) // 2 if i % 2 else -(i // 2) for i in range(count))  # 0, 1, -1, 2, -2, ...: all differences
    row = [(i + turn) % count for i in zigzag]
    return row[::-1] if turn // max(count, 1) % 2 else row


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

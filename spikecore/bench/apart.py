"""A group in a process of its own: memory that other groups left behind, and threads of peers that it does not need,
cannot make a side faster or slower.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import List, Optional

from spikecore.bench.plan import Settings
from spikecore.bench.report import Row
from spikecore.kernels import memory


def measured_apart(workload: str, index: int, settings: Settings, rounds: int, progress: Optional[bool]) -> List[Row]:
    """The rows of one of a workload's groups.

    Args:
        workload: name, as in ``WORKLOADS``.
        index: of the group.
        settings, rounds, progress: see ``runner.run``.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_rows, workload, index, settings, rounds, progress).result()


def _rows(workload: str, index: int, settings: Settings, rounds: int, progress: Optional[bool]) -> List[Row]:
    from spikecore.bench.runner import measured
    from spikecore.bench.workloads import WORKLOADS

    if settings.memory_kept:
        memory.keep()
    group = next(islice(WORKLOADS[workload].groups(settings), index, None))
    return measured(group, settings, rounds, f"{workload}: ", progress)

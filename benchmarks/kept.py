"""What a network keeps for backward, measured in a separate process: ``python -m benchmarks.kept REQUEST``.

The process runs forward and backward once, which compiles kernels, and returns freed memory to the system. It then runs
forward again, drops all but the gradient's way back, and returns freed memory once more. The figure is by how much the
resident set has grown; on CUDA, torch's allocated memory. The input is made in that run and dropped, too, if it is
spikes, as an encoder's would be; a current is data that the caller keeps.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import asdict
from typing import Callable, List

from benchmarks.peak import allocated, trim
from benchmarks.plan import Absent, Run, Settings
from benchmarks.process import in_a_process
from spikecore.kernels.runtime import allocator


def side(name: str, settings: Settings, kind: str, rate: float, steps: int) -> Callable[[], Run]:
    """A function that makes a run; the run measures what a side of the workload ``rates`` keeps, in bits per place.

    The function raises Absent where the system does not tell how large the resident set is.
    """
    request = {"side": name, "settings": asdict(settings), "kind": kind, "rate": rate, "steps": steps}

    def make() -> Run:
        if not (settings.device.startswith("cuda") or os.path.exists("/proc/self/status")):
            raise Absent("the resident set is measured on Linux only")
        return lambda: float(in_a_process("benchmarks.kept", request))  # type: ignore[return-value]  # a figure

    return make


def main(arguments: List[str]) -> None:
    """Measure the side of a request, and print the figure."""
    import torch

    from benchmarks.workloads import rates

    request = json.loads(arguments[0])
    settings = Settings(**{**request["settings"], "engines": (), "peers": None})
    if settings.memory_kept:
        allocator.keep()
    task = rates.Task(settings, rates.KINDS[request["kind"]], request["rate"], request["steps"])
    call, leaves = task.networks()[request["side"]].make()
    data = torch.tensor(task.drawn.x, device=settings.device, requires_grad=task.current)
    loss = call(data if task.current else data.clone()).sum()
    loss.backward()
    del loss
    gc.collect()
    trim()
    before = allocated(settings.device)
    loss = call(data if task.current else data.clone()).sum()
    gc.collect()
    trim()
    kept = allocated(settings.device) - before
    loss.backward()  # what was kept was enough
    print(8.0 * kept / task.places)


if __name__ == "__main__":
    main(sys.argv[1:])

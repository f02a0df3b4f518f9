"""Peak memory of a side, measured in a process of its own: ``python -m spikecore.bench.peak REQUEST``.

The process builds the side, runs it once (which compiles, and gives the optimiser its moments), returns freed memory to
the system, and notes what it holds. Then it runs once more; the figure is how far the resident set rose meanwhile. On
Linux the kernel's own high-water mark is read (VmHWM, reset through /proc/self/clear_refs), elsewhere that of
``getrusage``, which cannot be reset and counts from the largest size so far. On CUDA it is torch's allocator.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import sys
from dataclasses import asdict
from typing import Callable, List

from spikecore.bench.plan import Run, Settings
from spikecore.bench.process import in_a_process
from spikecore.kernels.runtime import allocator


def side(name: str, settings: Settings, steps: int) -> Callable[[], Run]:
    """A maker whose run measures a side of tutorial 5 with ``steps`` steps, in MB."""
    request = {"side": name, "settings": asdict(settings), "steps": steps}
    return lambda: lambda: float(in_a_process("spikecore.bench.peak", request))  # type: ignore[return-value]  # a figure


def measured(run: Run, device: str) -> float:
    """MB by which memory rises in the second of two runs."""
    run()
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    _trim()
    reset = _reset()
    before = _status("VmRSS") if reset else _highest()
    run()
    return ((_status("VmHWM") if reset else _highest()) - before) / 1024


def _trim() -> None:
    """Return freed memory to the system, ours and where the C library offers that."""
    allocator.release()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset() -> bool:
    """Reset the high-water mark; whether that is possible."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    """A figure of /proc/self/status in kB."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _highest() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def main(arguments: List[str]) -> None:
    """Measure what a request names and print the figure."""
    from spikecore.bench.workloads import tutorial5

    request = json.loads(arguments[0])
    settings = Settings(**{**request["settings"], "engines": (), "peers": None})
    if settings.memory_kept:
        allocator.keep()
    task = tutorial5.problem(settings, request["steps"])
    found = {side.name: side for side in tutorial5.default_sides(task)}
    print(measured(found[request["side"]].ready(), settings.device))


if __name__ == "__main__":
    main(sys.argv[1:])

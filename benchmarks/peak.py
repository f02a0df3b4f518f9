"""Peak memory of a side, measured in a separate process: ``python -m benchmarks.peak REQUEST``.

The process builds the side and runs it once, which compiles kernels and creates the moments of the optimiser. It
returns freed memory to the system, and reads its resident set. Then it runs the side again. The figure is the rise of
the resident set in this run. On Linux its peak is VmHWM, which is reset through /proc/self/clear_refs before the run.
Elsewhere it is that of ``getrusage``, which cannot be reset. On CUDA the figure is that of torch's allocator.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import sys
from dataclasses import asdict
from typing import Callable, List

from benchmarks.plan import Run, Settings
from benchmarks.process import in_a_process
from spikecore.kernels.runtime import allocator


def side(neuron: str, name: str, settings: Settings, steps: int) -> Callable[[], Run]:
    """A function that makes a run; the run measures the memory of a side of tutorial 5, in MB.

    Args:
        neuron: the neuron model that the sides share, a key of ``tutorial5.SIDES``.
        name: the name of the side.
        settings: the settings of the benchmark.
        steps: time steps.
    """
    request = {"neuron": neuron, "side": name, "settings": asdict(settings), "steps": steps}
    return lambda: lambda: float(in_a_process("benchmarks.peak", request))  # type: ignore[return-value]  # a figure


def measured(run: Run, device: str, warm: bool = True) -> float:
    """The rise of memory in the second of two runs, in MB; without ``warm`` there is one, and others came before."""
    if warm:
        run()
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    trim()
    reset = _reset()
    before = _status("VmRSS") if reset else _highest()
    run()
    return ((_status("VmHWM") if reset else _highest()) - before) / 1024


def allocated(device: str) -> int:
    """The bytes that the process holds: its resident set; on CUDA, those of torch's tensors."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_allocated(device))
    return _status("VmRSS") * 1024


def trim() -> None:
    """Return freed memory to the system: that of our allocator, and that of the C library if it has malloc_trim."""
    allocator.release()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset() -> bool:
    """Reset the peak of the resident set; returns whether the system can do that."""
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
    """Measure the side of a request, and print the figure."""
    from benchmarks.workloads import tutorial5

    request = json.loads(arguments[0])
    settings = Settings(**{**request["settings"], "engines": (), "peers": None})
    if settings.memory_kept:
        allocator.keep()
    task = tutorial5.problem(settings, request["steps"])
    sides = {side.name: side for side in tutorial5.SIDES[request["neuron"]](task)}
    print(measured(sides[request["side"]].ready(), settings.device))


if __name__ == "__main__":
    main(sys.argv[1:])

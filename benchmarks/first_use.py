"""How long the first call of a neuron takes in a fresh process with an empty kernel cache.

``python -m benchmarks.first_use '{"neuron": "Leaky", "steps": 100, ...}'`` prints seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any, Dict, List

import spikecore as sc
from benchmarks import bare, data
from benchmarks.plan import Run
from benchmarks.process import in_a_process
from spikecore.kernels.runtime import allocator

NEURONS: Dict[str, Dict[str, Any]] = {
    "Leaky": {"beta": 0.9},
    "Synaptic": {"alpha": 0.8, "beta": 0.9},
    "Alpha": {"alpha": 0.9, "beta": 0.8},
    "Lapicque": {"beta": 0.9},
    "ALIF": {},
    "Izhikevich": {},
}


def run(name: str, steps: int, neurons: int, memory_kept: bool) -> Run:
    """A run that starts a process with an empty kernel cache, and returns the seconds of the first call.

    Args:
        name: class of the neuron.
        steps: number of time steps.
        neurons: number of neurons; the batch is 64.
        memory_kept: whether the process keeps the memory that it frees.

    Raises:
        Absent: Numba is not installed.
    """
    bare.check()

    def call() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "SPIKECORE_CACHE": folder}
            request = {"neuron": name, "steps": steps, "neurons": neurons, "memory_kept": memory_kept}
            return float(in_a_process("benchmarks.first_use", request, environment))

    return call


def main(arguments: List[str]) -> None:
    """Time forward and backward of a neuron, with Numba's import but without torch's, and print the seconds."""
    from benchmarks.workloads.neurons import own

    request = json.loads(arguments[0])
    if request["memory_kept"]:
        allocator.keep()
    layer = getattr(sc, request["neuron"])(**NEURONS[request["neuron"]])
    shape, draw = (request["steps"], 64, request["neurons"]), data.rng()
    x, upstream = (draw.random(shape, dtype="float32") for _ in range(2))
    call = own(layer, x, upstream, "cpu", True)()
    begun = time.perf_counter()
    call()
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(sys.argv[1:])

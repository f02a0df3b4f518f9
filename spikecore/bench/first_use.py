"""How long the first call of a neuron takes in a fresh process with an empty kernel cache.

``python -m spikecore.bench.first_use '{"neuron": "Leaky", "steps": 100, ...}'`` prints seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any, Dict, List

import spikecore as sc
from spikecore.bench import bare, data
from spikecore.bench.plan import Run
from spikecore.bench.process import in_a_process
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
    """A run that starts the process; the cache is thrown away with it.

    Raises:
        Absent: there are no kernels here.
    """
    bare.check()

    def call() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "SPIKECORE_CACHE": folder}
            request = {"neuron": name, "steps": steps, "neurons": neurons, "memory_kept": memory_kept}
            return float(in_a_process("spikecore.bench.first_use", request, environment))

    return call


def main(arguments: List[str]) -> None:
    """Time forward and backward of a neuron, Numba's import included, torch's not; and print the seconds."""
    from spikecore.bench.workloads.neurons import own

    request = json.loads(arguments[0])
    if request["memory_kept"]:
        allocator.keep()
    layer = getattr(sc, request["neuron"])(**NEURONS[request["neuron"]])
    shape, draw = (request["steps"], 64, request["neurons"]), data.rng()
    x, upstream = (draw.random(shape, dtype="float32") for _ in range(2))
    made = own(layer, x, upstream, "cpu", True)()
    begun = time.perf_counter()
    made()
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(sys.argv[1:])

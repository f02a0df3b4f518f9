"""The neuron of NIR's paper: one LIF, written as a NIR graph, fires when the equation says so (Pedersen et al. 2024).

    tau dv/dt = -v + I,   tau 2.5 ms, threshold 0.1, steps of 0.1 ms

The input is a pulse of one step at every tenth step of ``PULSES``. Twelve platforms ran this graph; between two steps
the current is constant, so that the equation has a solution in closed form, whose spikes are in ``EXACT``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from benchmarks.reproduced.row import Row

DT, TAU, THRESHOLD, STEPS, EVERY = 1e-4, 2.5e-3, 0.1, 1000, 10
PULSES = (6, 22, 27, 31, 32, 35, 37, 40, 41, *range(43, 54), *range(67, 79), 84, 85)
EXACT = (460, 510, 710, 760)


def pulses() -> np.ndarray:
    """The current, (steps,)."""
    current = np.zeros(STEPS, np.float32)
    current[np.array(PULSES) * EVERY] = 1.0
    return current


def solution(current: np.ndarray) -> List[int]:
    """The steps in which the solution of the equation reaches the threshold, from which it goes on at 0."""
    spikes, v = [], 0.0
    for step, drive in enumerate(current.astype(float)):
        left = DT
        while drive + (v - drive) * math.exp(-left / TAU) > THRESHOLD:
            left += TAU * math.log((THRESHOLD - drive) / (v - drive))
            v = 0.0
            spikes.append(step)
        v = drive + (v - drive) * math.exp(-left / TAU)
    return spikes


def graph() -> Any:
    """The paper's graph: an affine map that changes nothing, and the neuron."""
    import nir

    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    neuron = nir.LIF(tau=TAU * one, r=one, v_leak=zero, v_threshold=THRESHOLD * one, v_reset=zero)
    return nir.NIRGraph.from_list(nir.Affine(weight=one[:, None], bias=zero), neuron)


def run(seed: int, folder: Path) -> Dict[str, Any]:
    """Whether all spikes are the exact ones: 1 or 0."""
    from spikecore.nir import model_from_nir

    del seed, folder
    spikes = model_from_nir(graph(), dt=DT, engine="numpy")(pulses()[:, None, None]).spikes
    found = [int(step) for step in np.flatnonzero(np.asarray(spikes))]
    return {"figure": float(found == list(EXACT)), "shown": ", ".join(map(str, found))}


ROW = Row(
    title="a LIF neuron from a NIR graph",
    paper="NIR (Pedersen et al. 2024), exact solution",
    theirs=", ".join(map(str, EXACT)),
    unit="steps with a spike",
    run=run,
    seeds=1,
    differs="integrated by Euler's method, as snnTorch and Norse do; the paper's other platforms are up to ten steps "
    "away",
)

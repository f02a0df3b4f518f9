"""The measurement of docs/learning.md: what training by rules costs, per time step of a batch of 64 samples.

OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python -m benchmarks.learning_rules

It measures processor time, on one thread, and takes the fastest of some batches. ``fused=False`` is without kernels and
without derivatives as programs.
"""

from __future__ import annotations

import argparse
import runpy
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

import spikecore as sc
from spikecore import backprop, functional
from spikecore.datasets import delay_recall

EXAMPLE = Path(__file__).parents[1] / "examples" / "delay_recall.py"
SAMPLES, BATCHES = 64, 20
RULES = ("bptt", "eprop", "ottt", "sltt", "decolle")
ENGINES: List[Tuple[str, Any]] = [(name, fused) for name in ("numpy", "torch") for fused in ("auto", False)]
Task = Tuple[Any, Any, Any, Dict[str, Any]]  # network, batch, loss, options of e-prop


def recall() -> Task:
    """40 recurrent ALIF neurons that recall a bit after 40 steps."""
    example = runpy.run_path(str(EXAMPLE))
    data, _ = delay_recall(SAMPLES, 1, seed=0, steps=60, delay=40, neurons=5, rate=0.4, distractors=False)
    loss = backprop.per_step(example["likelihood"], "sum")
    return example["network"](40), example["batch"](data), loss, {"kappa": "readout"}


def classify() -> Task:
    """784-128-10 Leaky neurons, 25 steps."""
    rng = np.random.default_rng(0)
    x = (rng.random((25, SAMPLES, 784)) < 0.15).astype(np.float32)
    network = sc.Sequential(sc.Linear(784, 128), sc.Leaky(beta=0.9), sc.Linear(128, 10), sc.Leaky(beta=0.9))
    return network, (x, rng.integers(0, 10, SAMPLES)), functional.ce_rate_loss(), {}


TASKS: Dict[str, Callable[[], Task]] = {"delay_recall": recall, "784-128-10": classify}


def milliseconds(task: Task, rule: str, engine: str, fused: Any) -> float:
    """Processor time of a training step on a batch, per time step."""
    network, batch, loss, options = task
    model = sc.Model(network, sc.get_engine(engine, fused=fused), seed=0)
    learning: Any = sc.EProp(**options) if rule == "eprop" else rule
    found = []
    for _ in range(BATCHES + 1):  # the first one compiles
        begun = time.process_time()
        model.fit([batch], loss=loss, optimizer=sc.Adam(lr=1e-3), learning=learning, progress=False)
        found.append(time.process_time() - begun)
    return 1e3 * min(found[1:]) / len(batch[0])


def main() -> None:
    """Print a table for each task."""
    parser = argparse.ArgumentParser(description="What a time step of each learning rule costs.")
    parser.add_argument("--task", choices=list(TASKS), help="default: all")
    chosen = parser.parse_args().task
    for name in [chosen] if chosen else TASKS:
        task = TASKS[name]()
        columns = [f"{engine}{'' if fused else ', `fused=False`'}" for engine, fused in ENGINES]
        print(f"\n| {name}, ms per time step | {' | '.join(columns)} |")
        print(f"|---|{'--:|' * len(columns)}")
        for rule in RULES:
            times = (milliseconds(task, rule, *how) for how in ENGINES)
            print(f"| {rule} | {' | '.join(f'{t:.2f}' for t in times)} |", flush=True)


if __name__ == "__main__":
    main()

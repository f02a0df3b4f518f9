"""The time of a training step in two processes beside that in one.

``torchrun --nproc-per-node 2 -m benchmarks.parallel`` prints a table; ``... benchmarks.parallel fsdp`` prints that of
processes that divide the weights, and what each keeps of weights and moments beside what one process keeps. The whole
batch is the same. One process has two threads, each of two processes has one. They run in turns; while process 0 trains
alone, process 1 sleeps. Printed are medians, and the median of the ratios with quartiles.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import warnings
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import torch
import torch.distributed as dist

import spikecore as sc
from benchmarks import machine
from spikecore import functional, surrogate

ROUNDS, WARM = 7, 2
SPIKING = sc.Leaky(beta=0.5, surrogate=surrogate.fast_sigmoid(25))


class Task(NamedTuple):
    """A network with its batch, and how many batches make one measurement."""

    layers: Tuple[Any, ...]
    shape: Tuple[int, ...]
    batch: int
    steps: int
    batches: int


def maps(norm: bool) -> Tuple[Any, ...]:
    """The layers of tutorial 6, if wanted with batch normalisation."""
    layers: List[Any] = []
    for inputs, outputs in ((1, 12), (12, 64)):
        layers += [sc.Conv2d(inputs, outputs, 5, bias=not norm), *([sc.BatchNorm2d(outputs)] if norm else [])]
        layers += [sc.MaxPool2d(2), SPIKING]
    return (*layers, sc.Flatten(), sc.Linear(1024, 10), SPIKING)


def dense(*sizes: int, beta: float) -> Tuple[Any, ...]:
    """Linear layers of these sizes, each with neurons behind it."""
    return tuple(layer for pair in zip(sizes, sizes[1:]) for layer in (sc.Linear(*pair), sc.Leaky(beta=beta)))


TASKS: Dict[str, Task] = {
    "convolutional, of tutorial 6": Task(maps(False), (1, 28, 28), 128, 10, 2),
    "the same with batch normalisation": Task(maps(True), (1, 28, 28), 128, 10, 2),
    "784-1000-10": Task(dense(784, 1000, 10, beta=0.95), (784,), 128, 25, 8),
    "784-2000-2000-10": Task(dense(784, 2000, 2000, 10, beta=0.95), (784,), 128, 10, 4),
    "64-128-10": Task(dense(64, 128, 10, beta=0.9), (64,), 64, 15, 20),
}


def seconds(model: sc.Model, task: Task, data: Any, threads: int, parallel: Any) -> float:
    """Seconds of a training step."""
    torch.set_num_threads(threads)
    begun = time.perf_counter()
    options: Dict[str, Any] = {"num_steps": task.steps, "progress": False, "compute": sc.Compute(parallel=parallel)}
    model.fit(data, loss=functional.ce_rate_loss(), optimizer=sc.Adam(lr=1e-3), **options)
    return (time.perf_counter() - begun) / task.batches


def kept(model: Any) -> float:
    """Megabytes of weights and moments in this process."""
    own = model.trainer.executor
    slots = own.optimizer.slots
    held = [x for one in own.leaves for x in (one, *(own.torch_optimizer.state[one][slot] for slot in slots))]
    parts = [x.to_local() if hasattr(x, "to_local") else x for x in held]
    return float(sum(x.untyped_storage().nbytes() for x in parts)) / 1e6


def measured(name: str, task: Task, folder: str, parallel: str) -> str:
    """One row of the table."""
    rng = np.random.default_rng(0)
    data = [(rng.random((task.batch, *task.shape), dtype=np.float32), rng.integers(0, 10, task.batch))] * task.batches
    alone, together = (
        sc.Model(sc.Sequential(*task.layers), engine="torch", seed=0, input_shape=task.shape) for _ in range(2)
    )
    pairs = []
    for number in range(ROUNDS + WARM):
        done, one = os.path.join(folder, f"{name} {number}"), 0.0
        if dist.get_rank() == 0:
            one = seconds(alone, task, data, 2, "none")
            open(done, "w").close()
        while not os.path.exists(done):  # a barrier would take time from the process that trains
            time.sleep(0.005)
        dist.barrier()
        pairs.append((one, seconds(together, task, data, 1, parallel)))
    if dist.get_rank() != 0:
        return ""
    low, ratio, high = statistics.quantiles([two / one for one, two in pairs[WARM:]], n=4)
    times = " | ".join(f"{1e3 * statistics.median(column):.1f} ms" for column in zip(*pairs[WARM:]))
    losses = abs(alone.history[-1]["loss"] - together.history[-1]["loss"])
    about = f"{name}, batch {task.batch}, {task.steps} steps"
    memory = " | ".join(f"{kept(model):.1f} MB" for model in (alone, together))
    return f"| {about} | {times} | {ratio:.2f} ({low:.2f}–{high:.2f}) | {losses:.1g} | {memory} |"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")
    folder = [tempfile.mkdtemp()]
    dist.broadcast_object_list(folder)
    first = dist.get_rank() == 0
    if first:
        print(machine.sentence(machine.describe("cpu")))
        print("\n| network | one process | two processes | ratio | losses differ by | one keeps | each of two keeps |")
        print("|---|--:|--:|--:|--:|--:|--:|")
    for name, task in TASKS.items():
        row = measured(name, task, folder[0], *sys.argv[1:] or ("data",))
        if first:
            print(row, flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Does training keep its memory budget? Peaks of processes beside budgets: ``python -m benchmarks.budget``.

For each of six networks and three budgets a process trains two batches under the budget once, which compiles kernels,
drops the model and returns freed memory. Then it makes a new model and trains two batches again. The peak is that of
the resident set (VmHWM) over the resident set before: weights, gradients, moments of Adam, batch and all between, and
what the C library and Python hold beside. It is divided by the budget; the bar is 1.1. The time is that of the second
batch.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from statistics import median
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks import machine, peak
from benchmarks.process import in_a_process
from spikecore import functional
from spikecore.api.training.batching import Feed
from spikecore.api.training.budgets import plan_of

BAR = 1.1
FRACTIONS = (1.12, 0.8, 0.66)  # of what a step takes without a budget; a tenth is left for what is not counted


class Task(NamedTuple):
    """A network and its batch, (time, batch, *features), or (1, batch, *features) for so many steps."""

    layers: Tuple[Any, ...]
    shape: Tuple[int, ...]
    steps: Optional[int] = None


def block(channels: int, out: int) -> Tuple[Any, ...]:
    """A convolution with batch norm and neurons."""
    return sc.Conv2d(channels, out, 3, padding=1), sc.BatchNorm2d(out), sc.Leaky(beta=0.9)


TASKS: Dict[str, Task] = {
    "dense": Task(
        tuple(layer for _ in range(4) for layer in (sc.Linear(800, 800), sc.Leaky(beta=0.9)))
        + (sc.Linear(800, 10), sc.Leaky(beta=0.9)),
        (1, 256, 800), 50,
    ),
    "recurrent": Task(
        (sc.Linear(100, 512), sc.RLeaky(beta=0.9, linear_features=512), sc.Linear(512, 10), sc.Leaky(beta=0.9)),
        (100, 128, 100),
    ),
    "convolutional": Task(
        (sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), sc.Leaky(beta=0.9), sc.Conv2d(12, 64, 5), sc.MaxPool2d(2),
         sc.Leaky(beta=0.9), sc.Flatten(), sc.Linear(1024, 10), sc.Leaky(beta=0.9)),
        (1, 128, 1, 28, 28), 50,
    ),
    "conv + batch norm": Task(
        (*block(2, 16), *block(16, 16), *block(16, 16), *block(16, 16), sc.AvgPool2d(4), sc.Flatten(),
         sc.Linear(16 * 16, 10), sc.Leaky(beta=0.9)),
        (20, 32, 2, 16, 16),
    ),
    "long sequence": Task(
        (sc.Linear(64, 128), sc.Leaky(beta=0.99), sc.Linear(128, 128), sc.Synaptic(alpha=0.9, beta=0.99),
         sc.Linear(128, 10), sc.LI(beta=0.99)),
        (1000, 64, 64),
    ),
    "wide": Task(
        (sc.Linear(256, 2048), sc.Leaky(beta=0.9), sc.Linear(2048, 512), sc.Leaky(beta=0.9), sc.Linear(512, 10),
         sc.Leaky(beta=0.9)),
        (1, 256, 256), 25,
    ),
}  # fmt: skip


MEANS: Dict[str, Tuple[Dict[str, Any], Dict[str, Any]]] = {  # options of the engine, and of Compute
    "nothing": ({}, {}),
    'precision="bf16"': ({"precision": "bf16"}, {}),
    "checkpoint_layers=3": ({"checkpoint_layers": 3}, {}),
    "batches of a quarter, accumulate=4": ({}, {"accumulate": 4}),
    'memory="50MB"': ({}, {"memory": 50_000_000}),
    "fused=False": ({"fused": False}, {}),
    "fused=False, checkpoint_every=5": ({"fused": False, "checkpoint_every": 5}, {}),
}
SMALL = TASKS["convolutional"]._replace(shape=(1, 64, 1, 28, 28), steps=25)


def trained(task: Task, options: Dict[str, Any], fit: Dict[str, Any]) -> Tuple[Any, List[float]]:
    """A model that has learned from two batches, and the seconds of each."""
    rng = np.random.default_rng(0)
    static = task.steps is not None
    shape = task.shape[1:] if static else task.shape
    parts = fit.get("accumulate", 1)  # a batch of the task in so many batches
    count = task.shape[1] // parts
    batch = rng.random((*shape[: not static], count, *task.shape[2:]), dtype=np.float32), rng.integers(0, 10, count)
    seconds: List[float] = []
    model = sc.Model(sc.Sequential(*task.layers), "torch", seed=0, input_shape=task.shape[2:], **options)
    begun = time.perf_counter()

    def batches() -> Any:
        nonlocal begun
        for _ in range(2 * parts):
            yield batch
            seconds.append(time.perf_counter() - begun)
            begun = time.perf_counter()

    rest: Dict[str, Any] = {"num_steps": task.steps, "progress": False, "optimizer": sc.Adam()}
    model.fit(batches(), loss=functional.ce_rate_loss(), compute=sc.Compute(**fit), **rest)
    return model, seconds


def measured(request: Dict[str, Any]) -> Dict[str, Any]:
    """Peak in bytes, seconds of the second batch, and the plan of a task under a budget."""
    if "means" in request:
        task, (options, fit) = SMALL, MEANS[request["means"]]
        fit = {"memory": 10**12, **fit}  # which returns freed memory
    else:
        task, options, fit = TASKS[request["task"]], {}, {"memory": request["budget"]}
    run = lambda: trained(task, options, fit)  # noqa: E731
    try:
        run()
    except ValueError as error:
        return {"refused": str(error)}
    gc.collect()
    found: List[Any] = []

    def again() -> None:
        found.append(run())

    rise = peak.measured(again, "cpu", warm=False)  # type: ignore[arg-type,return-value]
    model, seconds = found[-1]
    plan = model.trainer.executor.plan
    return {"bytes": rise * 2**20, "seconds": seconds[-1], "plan": str(plan), "plain": plan and plan.plain}


def main(arguments: List[str]) -> None:
    """Measure a request and print it as JSON; without one, print the table."""
    if arguments and arguments[0].startswith("{"):
        print(json.dumps(measured(json.loads(arguments[0]))))
        return
    print(machine.sentence(machine.describe("cpu")))
    if arguments == ["--means"]:
        print_means()
        return
    print("| network | budget | peak of the process | of the budget | s per batch | how |\n|---|--:|--:|--:|--:|---|")
    worst = 0.0
    for name in arguments or TASKS:
        plain = plain_of(TASKS[name])
        for fraction in FRACTIONS:
            budget = round(fraction * plain)
            found = of(name, budget)
            if "refused" in found:
                print(f"| {name} | {budget / 1e6:.0f} MB | refused: {found['refused']} | | | |", flush=True)
                continue
            share = found["bytes"] / budget
            worst = max(worst, share)
            print(
                f"| {name} | {budget / 1e6:.0f} MB | {found['bytes'] / 1e6:.0f} MB | {share:.2f} "
                f"| {found['seconds']:.2f} | {found['plan'].partition(': ')[2]} |",
                flush=True,
            )
    print(f"\nworst share {worst:.2f}, bar {BAR}: {'kept' if worst <= BAR else 'MISSED'}")


def plain_of(task: Task) -> int:
    """Bytes of a step without a budget, from shapes."""
    model = sc.Model(sc.Sequential(*task.layers), "torch", seed=0, input_shape=task.shape[2:])
    shape = task.shape[1:] if task.steps is not None else task.shape
    batch = np.zeros(shape, np.float32), np.zeros(task.shape[1], np.int64)
    budget: Dict[str, Any] = {"memory": 10**12, "accumulates": False}
    plan = plan_of(model, batch, functional.ce_rate_loss(), sc.Adam(), Feed(task.steps), budget, None)
    return int(plan.plain)


def of(name: str, budget: int) -> Dict[str, Any]:
    """``measured``, in a process of its own."""
    return dict(json.loads(in_a_process("benchmarks.budget", {"task": name, "budget": budget})))


def print_means(rounds: int = 5) -> None:
    """Peaks of one network with each of the means, and times of two updates over those without any, in turn."""
    times: Dict[str, List[float]] = {name: [] for name in MEANS}
    for _ in range(1 + rounds):
        for name, (options, fit) in MEANS.items():
            times[name].append(sum(trained(SMALL, options, fit)[1]))
    print("| | peak, MB | time |\n|---|--:|--:|")
    plain = median(times["nothing"][1:])
    for name in MEANS:
        found = json.loads(in_a_process("benchmarks.budget", {"means": name}))
        print(f"| {name} | {found['bytes'] / 1e6:.0f} | {median(times[name][1:]) / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

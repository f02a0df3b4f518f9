"""The measurements of docs/training.md: how settings change what a network learns from the sample of MNIST.

python -m benchmarks.recipes --list
python -m benchmarks.recipes surrogate --seeds 0 1 2

All accuracies are on 800 validation images; 3200 others train. Networks read the images as rows (28 steps of 28 pixels)
or whole (a constant current). Nothing here touches the test images.
"""

from __future__ import annotations

import argparse
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

    network: sc.Layer
    rows: bool = True  # whether an image comes row by row
    steps: int = 25  # of a whole image
    batch_size: int = 64
    loss: Any = functional.ce_count_loss()
    lr: float = 2e-3
    epochs: int = 5
    options: Dict[str, Any] = {}
    gain: float = 1.0  # of the initial weights that neurons read
    metric: Any = None  # default: as the loss decodes


STEEP = surrogate.fast_sigmoid(25)


def recurrent(spike_grad: Any = STEEP, hidden: int = 128, beta: Any = 0.9, inputs: int = 28) -> sc.Layer:
    """Recurrent leaky neurons that read rows."""
    return sc.Sequential(
        sc.Linear(inputs, hidden),
        sc.RLeaky(beta=beta, surrogate=spike_grad, linear_features=hidden),
        sc.Linear(hidden, 10),
        sc.Leaky(beta=0.9, surrogate=spike_grad),
    )


def dense(
    spike_grad: Any = STEEP, layers: int = 2, hidden: int = 200, beta: Any = 0.9, threshold: float = 1.0, norm: bool = False
) -> sc.Layer:
    """A fully connected network with ``layers`` layers of neurons, that of the classes included."""
    parts: List[sc.Layer] = []
    for number in range(layers):
        outputs = 10 if number == layers - 1 else hidden
        parts.append(sc.Linear(784 if number == 0 else hidden, outputs))
        if norm and number < layers - 1:
            parts.append(sc.BatchNorm1d(outputs))
        parts.append(sc.Leaky(beta=beta, surrogate=spike_grad, threshold=threshold))
    return sc.Sequential(*parts)


SURROGATES = {
    "atan(2), the default": surrogate.atan(2.0),
    "atan(10)": surrogate.atan(10.0),
    "fast_sigmoid(5)": surrogate.fast_sigmoid(5),
    "fast_sigmoid(25)": STEEP,
    "fast_sigmoid(100)": surrogate.fast_sigmoid(100),
    "sigmoid(25)": surrogate.sigmoid(25),
    "triangular(1)": surrogate.triangular(1.0),
}
SOFT = surrogate.atan(2.0)
WHOLE = Run(dense(), rows=False)
EXPERIMENTS: Dict[str, Dict[str, Run]] = {
    "surrogate": {name: Run(recurrent(each)) for name, each in SURROGATES.items()},
    "depth": {
        f"{layers} layers, {name}": Run(dense(SURROGATES[name], layers), rows=False)
        for layers in (2, 4, 6)
        for name in ("atan(2), the default", "fast_sigmoid(25)", "triangular(1)")
    },
    "rate": {
        f"lr {lr:g}, {name}": Run(recurrent(each), lr=lr)
        for name, each in (("atan(2)", SOFT), ("fast_sigmoid(25)", STEEP))
        for lr in (2e-4, 1e-3, 5e-3, 2e-2)
    },
    "clip": {
        f"{name}, clip_norm={norm}": Run(recurrent(each), options={"clip_norm": norm})
        for name, each in (("atan(2)", SOFT), ("fast_sigmoid(25)", STEEP))
        for norm in (None, 1.0, 0.1)
    },
    "gain": {
        f"gain {gain:g}, {layers} layers": Run(dense(layers=layers), rows=False, gain=gain)
        for layers in (2, 4)
        for gain in (0.25, 1.0, 2.0, 4.0, 16.0)
    },
    "norm": {
        "4 layers, as drawn": Run(dense(layers=4), rows=False),
        "4 layers, batch norm": Run(dense(layers=4, norm=True), rows=False),
    },
    "threshold": {f"threshold {value:g}": Run(dense(threshold=value), rows=False) for value in (0.25, 0.5, 1.0, 2.0, 8.0)},
    "decay": {
        "beta 0.5": Run(recurrent(beta=0.5)),
        "beta 0.9": Run(recurrent(beta=0.9)),
        "beta 0.99": Run(recurrent(beta=0.99)),
        "learned, from 0.5": Run(recurrent(beta=sc.learn(0.5))),
        "learned for each neuron, from 0.5": Run(recurrent(beta=sc.learn(np.full(128, 0.5)))),
        "learned for each neuron, from 0.5 to 0.99": Run(recurrent(beta=sc.learn(np.linspace(0.5, 0.99, 128)))),
    },
    "steps": {f"{steps} steps": WHOLE._replace(steps=steps) for steps in (1, 2, 5, 10, 25, 50)},
    "batch": {f"batch size {size}": WHOLE._replace(batch_size=size) for size in (16, 64, 256)},
    "schedule": {
        "constant": Run(recurrent(), lr=5e-3),
        "cosine to 0": Run(recurrent(), lr=5e-3, options={"schedule": schedule.cosine()}),
        "cosine, a warm-up of 1 epoch": Run(recurrent(), lr=5e-3, options={"schedule": schedule.cosine(warmup=1)}),
    },
    "window": {f"window={window}": Run(recurrent(), options={"window": window}) for window in (None, 14, 7, 2, 1)},
    "dropout": {
        f"dropout {p:g}": WHOLE._replace(
            network=sc.Sequential(
                *(sc.Linear(784, 200), sc.Leaky(beta=0.9, surrogate=STEEP), sc.Dropout(p)),
                *(sc.Linear(200, 10), sc.Leaky(beta=0.9, surrogate=STEEP)),
            ),
            epochs=10,
        )
        for p in (0.0, 0.2, 0.5)
    },
}


def data(run: Run) -> List[Dataset]:
    """Training and validation data; with ``rows``, samples of 28 steps."""
    parts = images(validate=True)
    return [replace(part, inputs=part.inputs.reshape(-1, 28, 28)) if run.rows else part for part in parts]


def trained(run: Run, seed: int) -> Dict[str, float]:
    """Train; return accuracy, rates of the first and the last layer, and the size of the first gradient."""
    part, validation = data(run)
    model = sc.Model(run.network, engine="torch", seed=seed, input_shape=(28 if run.rows else 784,))
    if run.gain != 1.0:
        state = model.state()
        for name, values in state["params"].items():
            if name.endswith("weight"):
                values *= run.gain
        model.load_state(state)
    feed: Dict[str, Any] = {"time_axis": 1} if run.rows else {"num_steps": run.steps}
    first, labels = part.inputs[:64], part.targets[:64]
    begin = backprop.bptt(model, first, labels, run.loss, **feed)
    size = float(np.sqrt(sum(float((grad**2).sum()) for grad in begin.grads.values())))
    model.fit(
        Loader(part, batch_size=run.batch_size, seed=seed),
        loss=run.loss,
        optimizer=sc.Adam(lr=run.lr),
        epochs=run.epochs,
        metric=run.metric,
        progress=False,
        **feed,
        **run.options,
    )
    found = model.evaluate(Loader(validation, batch_size=200, shuffle=False), run.loss, metric=run.metric, **feed)
    shown = validation.inputs[:200]
    firing = functional.activity(model, shown.swapaxes(0, 1) if run.rows else shown, None if run.rows else run.steps).firing
    accuracy = next(value for name, value in found.items() if name != "loss")
    rates = {"first": firing[0].rate, "last": firing[-1].rate, "silent": max(layer.silent for layer in firing)}
    return {"accuracy": 100.0 * accuracy, "gradient": size, **{name: 100.0 * rate for name, rate in rates.items()}}


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
        say(
            f"| {name} | {middle['accuracy']:.1f} ({min(accuracies):.1f}–{max(accuracies):.1f}) | {middle['gradient']:.2g} "
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

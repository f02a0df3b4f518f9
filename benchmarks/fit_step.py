"""What ``fit`` adds to a training step: a step of fit beside the same step in a loop by hand.

python -m benchmarks.fit_step                       # torch
python -m benchmarks.fit_step --engine numpy

The network is small, 32-64-32 neurons with 16 steps and 32 samples, and runs in kernels on both sides. On torch the
loop by hand is what a program with modules writes: ``zero_grad``, ``snn.run``, torch's ``cross_entropy``, ``backward``,
Adam's ``step``, the loss as a number. On NumPy it is the training step of the network alone, of which ``fit`` is made.
Both sides take the same batches in turns, in one thread, and end with the same weights. Times are processor time of the
thread; the row has the medians, and the median of the differences of neighbours.

``--metric none`` leaves out the accuracy, which the loop by hand does not compute either.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks import machine
from benchmarks.differentiate import with_weights
from spikecore.api.core.layer import Key

STEPS, BATCH, INPUTS, HIDDEN, CLASSES, LR, WARMUP = 16, 32, 32, 64, 32, 1e-3, 50
Hand = Tuple[Callable[[Any, Any], float], Callable[[], Dict[str, np.ndarray]]]  # a step; the weights


def network() -> Any:
    """The network."""
    hidden, readout = sc.Leaky(beta=0.9), sc.Leaky(beta=0.9)
    return sc.Sequential(sc.Linear(INPUTS, HIDDEN), hidden, sc.Linear(HIDDEN, CLASSES), readout)


def by_modules(weights: Dict[str, np.ndarray]) -> Hand:
    """The loop by hand with modules of torch."""
    import torch

    import spikecore.nn as snn

    first, last = torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    hidden, readout = snn.Leaky(beta=0.9, init_hidden=True), snn.Leaky(beta=0.9, init_hidden=True, output=True)
    net = torch.nn.Sequential(first, hidden, last, readout)
    with torch.no_grad():
        for name, param in net.named_parameters():
            param.copy_(torch.as_tensor(weights[name]))
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=True)

    def step(x: Any, y: Any) -> float:
        optimizer.zero_grad()
        spikes, _ = snn.run(net, x, num_steps=STEPS)
        loss = torch.nn.functional.cross_entropy(spikes.reshape(-1, CLASSES), y.repeat(STEPS))
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step, lambda: {name: param.detach().numpy() for name, param in net.named_parameters()}


def by_executor(engine: Any, weights: Dict[str, np.ndarray]) -> Hand:
    """The training step alone."""
    init = network().init(Key((0,)), (INPUTS,))
    loss = sc.functional.ce_rate_loss()
    executor = engine.compile(network(), with_weights(init, weights), init.buffers, loss, sc.Adam(lr=LR))
    return lambda x, y: executor.step(x[None], y, steps=STEPS)[0], executor.weights


class InTurns:
    """Batches for ``fit``; before each one the loop by hand takes it, and both are timed."""

    def __init__(self, batches: List[Tuple[Any, Any]], hand: Callable[[Any, Any], float]) -> None:
        self.batches, self.hand = batches, hand
        self.by_hand: List[int] = []
        self.by_fit: List[int] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tuple[Any, Any]]:
        clock = time.thread_time_ns
        for x, y in self.batches:
            begun = clock()
            self.hand(x, y)
            self.by_hand.append(clock() - begun)
            begun = clock()
            yield x, y
            self.by_fit.append(clock() - begun)


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("torch", "numpy"), default="torch")
    parser.add_argument("--metric", choices=("default", "none"), default="default")
    parser.add_argument("--batches", type=int, default=2000, help="how many steps of each side (default 2000)")
    args = parser.parse_args()
    draw = np.random.default_rng(0)
    x = 2 * draw.random((args.batches, BATCH, INPUTS), dtype=np.float32)
    y = draw.integers(0, CLASSES, (args.batches, BATCH))
    batches: List[Tuple[Any, Any]] = list(zip(x, y))
    model = sc.Model(network(), engine=args.engine, seed=0)
    model.build((INPUTS,))
    if args.engine == "torch":
        import torch

        torch.set_num_threads(1)
        batches = [(torch.as_tensor(one), torch.as_tensor(labels)) for one, labels in batches]
        hand, weights = by_modules(model.params())
    else:
        hand, weights = by_executor(model.engine, model.params())
    turns = InTurns(batches, hand)
    metric: Optional[Dict[str, Any]] = None if args.metric == "default" else {}
    model.fit(
        turns,
        loss=sc.functional.ce_rate_loss(),
        optimizer=sc.Adam(lr=LR),
        num_steps=STEPS,
        metric=metric,
        progress=False,
    )
    own, theirs = (np.array(times[WARMUP:]) / 1e3 for times in (turns.by_fit, turns.by_hand))
    apart = max(float(abs(weights()[name] - value).max()) for name, value in model.params().items())
    print(machine.sentence(machine.describe("cpu")))
    print(f"by hand {median(theirs):.1f} us, fit {median(own):.1f} us; fit adds {median(own - theirs):.1f} us")
    print(f"weights apart by at most {apart:.1e}")


if __name__ == "__main__":
    main()

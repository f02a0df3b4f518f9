"""snnTorch's regression 1: the membrane of the last neuron follows a square root."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy as np

import spikecore as sc
from benchmarks.accuracy.plan import Experiment, Library

STEPS, HIDDEN, LR, ITERATIONS = 50, 128, 1e-3, 100


def task(seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """A line from 0 to a random end, (time, 1, 1), and the square root of it times a random slope."""
    end, slope = np.random.default_rng(seed).uniform(0.2, 1.0, 2)
    x = np.linspace(0.0, end, STEPS)[:, None, None]
    return x.astype(np.float32), np.sqrt(slope * x).astype(np.float32)


def train(library: Library, seed: int, validate: bool) -> float:
    """In PyTorch, with the neurons of a library. The tutorial measures on the curve that it trains on, and so do we."""
    import torch

    torch.manual_seed(seed)
    steep = library.surrogate.fast_sigmoid(slope=25)

    def neuron() -> Any:
        own = {"beta": torch.rand(HIDDEN), "threshold": torch.rand(HIDDEN)}
        return library.nn.Leaky(**own, learn_beta=True, spike_grad=steep)

    lif1, lif2 = neuron(), neuron()
    last = library.nn.Leaky(beta=torch.rand(1), learn_beta=True, reset_mechanism="none")
    fc1, fc2, fc3 = torch.nn.Linear(1, HIDDEN), torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    x, y = (torch.as_tensor(values) for values in task(seed))
    return follow([fc1, lif1, fc2, lif2, fc3, last], x, y)


def follow(layers: Sequence[Any], x: Any, y: Any) -> float:
    """Train three ``Linear`` layers, each before a neuron, to follow a curve; the mean absolute error afterwards."""
    import torch

    fc1, lif1, fc2, lif2, fc3, last = layers
    optimizer = torch.optim.Adam(torch.nn.ModuleList(layers).parameters(), lr=LR)

    def forward() -> Any:
        mem1, mem2, mem3, seen = lif1.reset_mem(), lif2.reset_mem(), last.reset_mem(), []
        for step in x:
            spk1, mem1 = lif1(fc1(step), mem1)
            spk2, mem2 = lif2(fc2(spk1), mem2)
            _, mem3 = last(fc3(spk2), mem3)
            seen.append(mem3)
        return torch.stack(seen)

    for _ in range(ITERATIONS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(forward(), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float(abs(forward() - y).mean())


def fit(seed: int, validate: bool) -> float:
    """With sc.Model."""
    draws, steep = np.random.default_rng(seed + 1000), sc.surrogate.fast_sigmoid(25)
    lif1, lif2 = (
        sc.Leaky(beta=sc.learn(draws.random(HIDDEN)), threshold=draws.random(HIDDEN), surrogate=steep) for _ in range(2)
    )
    last = sc.Leaky(beta=sc.learn(float(draws.random())), reset_mechanism="none")
    net = sc.Sequential(sc.Linear(1, HIDDEN), lif1, sc.Linear(HIDDEN, HIDDEN), lif2, sc.Linear(HIDDEN, 1), last)
    model = sc.Model(net, engine="torch", seed=seed)
    x, y = task(seed)
    loss = sc.functional.mse_membrane_loss(time_var_targets=True)
    model.fit([(x, y)], loss=loss, optimizer=sc.Adam(lr=LR), epochs=ITERATIONS, progress=False)
    return float(abs(model.engine.to_numpy(model(x).membrane) - y).mean())


EXPERIMENT = Experiment(
    title=f"regression 1: 1-{HIDDEN}-{HIDDEN}-1, {STEPS} steps, lr {LR:g}, {ITERATIONS} iterations",
    figure="mean absolute error of the membrane",
    higher=False,
    train=train,
    fit=fit,
)

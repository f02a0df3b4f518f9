"""snnTorch's tutorial 6: a training step of a convolutional network."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Iterable

import numpy as np

import spikecore as sc
from benchmarks import data, rates, training
from benchmarks.peers import snntorch
from benchmarks.plan import Group, Run, Settings, Side, Workload

TEXT = """\
12C5-MP2-64C5-MP2-FC10 on 28×28 images, T=50, batch 128, an input that is constant in time, `ce_rate_loss`, Adam; a
whole training step. snnTorch runs the network step by step; "hoisted" moves the first convolution and pooling out of
its loop by hand."""

BETA, SLOPE = 0.5, 25.0
SHAPES = {"l0": (12, 1, 5, 5), "l3": (64, 12, 5, 5), "l7": (10, 64 * 4 * 4)}
NAMES = ("0", "3", "7")


class Task:
    """Data, weights, and the runs of the sides."""

    def __init__(self, settings: Settings) -> None:
        draw = data.rng()
        self.steps, batch = settings.size(50, 2), settings.samples(128, 2)
        self.device = settings.device
        self.x = data.images(draw, (batch, 1, 28, 28))
        self.y = draw.integers(0, 10, batch)
        self.weights: Dict[str, np.ndarray] = data.network_weights(draw, **SHAPES)

    def network(self) -> Any:
        """The network in this library's layers."""
        leaky = sc.Leaky(beta=BETA, surrogate=sc.surrogate.fast_sigmoid(SLOPE))
        return sc.Sequential(
            *(sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), leaky),
            *(sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), leaky),
            *(sc.Flatten(), sc.Linear(1024, 10), leaky),
        )

    def rates(self) -> rates.Rates:
        """The rates of the three neurons with the initial weights."""
        engine = sc.get_engine("torch", fused=False)
        return rates.of_layers(engine, self.network(), self.weights, self.x[None], self.steps)

    def ours(self, **options: Any) -> Run:
        """A training step on the torch engine."""
        engine = sc.get_engine("torch", **{"device": self.device, **options})
        loss = sc.functional.ce_rate_loss()
        return training.executor_run(engine, self.network(), self.weights, loss, self.x, self.y, self.steps)

    def torch_parts(self, neuron: Any) -> Any:
        """Layers, parameters by name, input and labels; ``neuron(**options)`` makes a neuron."""
        from torch import as_tensor, nn

        conv1, conv2, dense = nn.Conv2d(1, 12, 5), nn.Conv2d(12, 64, 5), nn.Linear(1024, 10)
        leaves = training.load((conv1, conv2, dense), NAMES, self.weights, self.device)
        layers = (
            *(conv1, nn.MaxPool2d(2), neuron()),
            *(conv2, nn.MaxPool2d(2), neuron()),
            *(nn.Flatten(), dense, neuron(output=True)),
        )
        return layers, leaves, as_tensor(self.x, device=self.device), as_tensor(self.y, device=self.device)

    def face(self) -> Run:
        """A training step with ``snn.run`` on a network of modules."""
        from torch import nn

        import spikecore.nn as snn

        surrogate = sc.surrogate.fast_sigmoid(SLOPE)
        layers, leaves, x, y = self.torch_parts(
            lambda **more: snn.Leaky(beta=BETA, spike_grad=surrogate, init_hidden=True, **more)
        )
        net = nn.Sequential(*layers).to(self.device)
        return training.torch_run(lambda: _rate_loss(snn.run(net, x, num_steps=self.steps)[0], y), leaves)

    def snntorch(self, hoisted: bool) -> Run:
        """A training step with the loop of the tutorial in snnTorch."""
        import torch
        from snntorch import surrogate

        grad = surrogate.fast_sigmoid(slope=SLOPE)
        layers, leaves, x, y = self.torch_parts(lambda **_: snntorch.neuron("Leaky", beta=BETA, spike_grad=grad))
        conv, pool, *rest = [layer.to(self.device) for layer in layers]

        def loss() -> Any:
            states: Any = [snntorch.at_rest(layer)[0] if hasattr(layer, "reset_mem") else None for layer in rest]
            once: Any = pool(conv(x)) if hoisted else None
            spikes: Any = []
            for _ in range(self.steps):
                values = once if hoisted else pool(conv(x))
                for i, layer in enumerate(rest):
                    if states[i] is None:
                        values = layer(values)
                    else:
                        values, states[i] = layer(values, states[i])
                spikes.append(values)
            return _rate_loss(torch.stack(spikes), y)

        return training.torch_run(loss, leaves)


def _rate_loss(spikes: Any, targets: Any) -> Any:
    """Cross-entropy of the spikes at every step, averaged over time and samples."""
    import torch

    return torch.nn.functional.cross_entropy(spikes.flatten(0, 1), targets.repeat(spikes.shape[0]))


def groups(settings: Settings) -> Iterable[Group]:
    """One group."""
    task = Task(settings)
    sides = (
        Side("torch engine", task.ours, engine="torch"),
        Side("torch, snn.run", task.face, engine="torch"),
        Side("snnTorch", lambda: task.snntorch(False), peer="snntorch"),
        Side("snnTorch, hoisted", lambda: task.snntorch(True), peer="snntorch"),
    )
    title = f"tutorial 6, T={task.steps} B={task.x.shape[0]}"
    loop = partial(task.ours, fused=False, device="cpu")
    yield Group(title, sides, loop, rounds=7, warmup=1, rates=task.rates, memory=True)


WORKLOAD = Workload("tutorial6", "A training step: tutorial 6", TEXT, groups)

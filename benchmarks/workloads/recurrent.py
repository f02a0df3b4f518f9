"""Dense recurrence: RLeaky, in which each neuron is connected with every other neuron."""

from __future__ import annotations

from typing import Any, Dict, Iterable

import numpy as np

import spikecore as sc
from benchmarks import data
from benchmarks.differentiate import backward_run, layer_call, leaf, with_weights
from benchmarks.peers import snntorch
from benchmarks.plan import Group, Run, Settings, Side, Workload
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import map_leaves

TEXT = """\
`RLeaky` with a dense connection, T=100, batch 128, forward and backward, with gradients with respect to input, weight
and bias. All sides have the same weights. "fused" is the default of the torch engine. "loop" is the same `step` under
autograd. snnTorch is called with `unbind`. The input of the third size is weaker, so that 5 % of the neurons fire."""

BETA = 0.9
SIZES = ((128, 0.5), (256, 0.5), (512, 0.22))  # neurons; upper end of the input


class Task:
    """Data and weights of one size; inputs are in [0, ``drive``)."""

    def __init__(self, settings: Settings, neurons: int, drive: float = 0.5) -> None:
        draw = data.rng()
        shape = settings.size(100, 5), settings.samples(128, 3), neurons
        self.device = settings.device
        self.x = data.grid(draw, shape, 0.0, drive, 8)
        self.upstream = draw.random(shape, dtype="float32")
        self.weights = data.affine(draw, (neurons, neurons))

    def finish(self, call: Any, leaves: Dict[str, Any]) -> Run:
        """A run of forward and backward."""
        import torch

        inputs, upstream = leaf(self.x, self.device), torch.as_tensor(self.upstream, device=self.device)
        return backward_run(lambda: call(inputs), upstream, {"input": inputs, **leaves})

    def ours(self, fused: Any) -> Run:
        """A run on the torch engine."""
        engine = sc.get_engine("torch", device=self.device, fused=fused)
        layer = sc.RLeaky(beta=BETA, linear_features=self.x.shape[2])
        init = layer.init(Key((0,)), self.x.shape[2:])
        weights = {f"connection.{name}": value for name, value in self.weights.items()}
        params = map_leaves(lambda array: leaf(np.asarray(array), self.device), with_weights(init, weights))
        leaves = {name: params.connection[name] for name in self.weights}
        return self.finish(layer_call(layer, engine, params), leaves)

    def snntorch(self) -> Run:
        """A run of snnTorch."""
        import torch

        neuron = snntorch.neuron("RLeaky", beta=BETA, linear_features=self.x.shape[2]).to(self.device)
        with torch.no_grad():
            for name, value in self.weights.items():
                getattr(neuron.recurrent, name).copy_(torch.as_tensor(value))
        return self.finish(snntorch.unrolled(neuron), {name: getattr(neuron.recurrent, name) for name in self.weights})


def groups(settings: Settings) -> Iterable[Group]:
    """A group for every size."""
    for neurons, drive in settings.size(SIZES, ((8, 0.5),)):
        task = Task(settings, neurons, drive)
        sides = (
            Side("fused", lambda task=task: task.ours("auto")),  # type: ignore[misc]
            Side("loop", lambda task=task: task.ours(False)),  # type: ignore[misc]
            Side("snnTorch", task.snntorch, peer="snntorch"),
        )
        steps, batch, _ = task.x.shape
        yield Group(
            f"RLeaky, T={steps} B={batch} N={neurons}",
            sides,
            lambda task=task: task.ours(False),  # type: ignore[misc]
        )


WORKLOAD = Workload("recurrent", "Dense recurrence", TEXT, groups)

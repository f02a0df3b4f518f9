"""Launches of a training step per time step, on the torch engine with Triton in its interpreter: a process of its own.

Each operator of torch that computes or copies counts as one, and so does each kernel; views and empty tensors do not.
Prints a JSON object: launches per time step by neuron, with kernels and in the loop.
"""

from __future__ import annotations

import json

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves
from spikecore.engines.torch import operators
from spikecore.kernels import select, sequence_gpu, triton
from tests.kernels import libdevice  # noqa: F401  # for what it puts in Triton

FREE = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "_unsafe_view"}
NEURONS = {
    "Leaky": sc.Leaky(beta=0.9, threshold=0.5),
    "RLeaky": sc.RLeaky(beta=0.9, linear_features=6, threshold=0.5),
    "RSynaptic": sc.RSynaptic(alpha=0.8, beta=0.9, linear_features=6, threshold=0.5),
    "SLSTM": sc.SLSTM(input_size=6, hidden_size=6, threshold=0.1),
    "SLSTM subtract": sc.SLSTM(input_size=6, hidden_size=6, threshold=0.1, reset_mechanism="subtract"),
    "Recurrent ALIF": sc.Recurrent(sc.ALIF(beta=0.9, rho=0.9, threshold=0.5), sc.Linear(6, 6)),
}


class Launches(TorchDispatchMode):
    """Counts launches; a kernel is one, whatever the interpreter does."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not (function.is_view or function._schema.name.partition("::")[2] in FREE)
        return function(*args, **(kwargs or {}))


def counted(layer, steps, fused):
    """Launches of a run over time with its gradients."""
    engine = sc.get_engine("torch", fused=fused)
    params = map_leaves(lambda a: engine.asarray(a).requires_grad_(), layer.init(Key((0,)), (6,)).params)
    x = torch.rand(steps, 4, 6).requires_grad_()
    with Launches() as launches:
        layer.run(Pass(engine), params, Tree(), None, x).outputs.sum().backward()
    assert x.grad.abs().sum() > 0
    return launches.count


def per_step(layer, fused):
    _, few, more = (counted(layer, steps, fused) for steps in (2, 3, 8))  # the first run places its constants, too
    return (more - few) / 5


def main():
    sequence_gpu.BLOCKS = (32,)
    start = triton.SequenceTriton.start
    running = []

    def once(*arguments):
        running[-1].count += 1
        with _disable_current_modes():
            start(*arguments)

    enter = Launches.__enter__
    Launches.__enter__ = lambda self: (running.append(self), enter(self))[1]
    triton.SequenceTriton.start = once
    select.KINDS["cpu"], operators._array = select.KINDS["cuda"], torch.Tensor.detach
    print(json.dumps({name: [per_step(layer, fused) for fused in (True, False)] for name, layer in NEURONS.items()}))


if __name__ == "__main__":
    main()

"""Training steps with Adam: of this library by an executor, of torch networks by autograd.

The evidence of a training step is its gradients g, which are computed from Adam's first moment after the first step,
m = (1 - b1) g.
"""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Dict, Optional, Sequence

import numpy as np

import spikecore as sc
from benchmarks.differentiate import with_weights
from benchmarks.plan import Evidence, Run
from spikecore.api.core.layer import Key
from spikecore.api.functional import Loss

LR, B1 = 5e-4, 0.9


class SumOverTime(Loss):
    """Cross-entropy of the membrane, summed over the steps: the loss of snnTorch's tutorial 5."""

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def per_sample(self, engine: Any, values: Any, code: Any, steps: Any) -> Any:
        return steps.sum(-engine.xp.sum(code * engine.xp.log_softmax(values, axis=-1), axis=-1))


def executor_run(
    engine: Any,
    network: Any,
    weights: Dict[str, Any],
    loss: Any,
    x: Any,
    y: Any,
    steps: Optional[int],
    lr: float = LR,
) -> Run:
    """A run of a training step of a network of this library.

    Args:
        engine: the engine.
        network: a layer.
        weights: initial weights by name; other parameters have the network's own initial values.
        loss: a loss of this library.
        x: input (batch, *features), which is constant in time; (time, batch, *features) if ``steps`` is None.
        y: class labels.
        steps: number of time steps, or None.
        lr: learning rate.
    """
    x = x if steps is None else x[None]
    init = network.init(Key((0,)), tuple(x.shape[2:]))
    executor = engine.compile(network, with_weights(init, weights), init.buffers, loss, sc.Adam(lr=lr))
    inputs = engine.asarray(x)

    def run() -> Callable[[], Evidence]:
        executor.step(inputs, y, steps=steps)
        return lambda: _gradients({n: engine.to_numpy(v) for n, v in executor.slots().items()})

    return run


def _gradients(slots: Dict[str, Any]) -> Evidence:
    return {
        name[: -len(".exp_avg")]: np.asarray(mean) / (1 - B1)
        for name, mean in slots.items()
        if name.endswith(".exp_avg")
    }


def torch_run(loss: Callable[[], Any], leaves: Dict[str, Any], lr: float = LR) -> Run:
    """A run of a training step in torch.

    Args:
        loss: runs the network and returns the loss.
        leaves: parameters by the names that this library uses.
        lr: learning rate.
    """
    import torch

    optimizer = torch.optim.Adam(list(leaves.values()), lr=lr, fused=True)

    def run() -> Callable[[], Evidence]:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        float(value.detach())  # waits for the loss, as a training step of this library does
        moments = {name: optimizer.state[tensor]["exp_avg"] for name, tensor in leaves.items()}
        return lambda: {name: mean.cpu().numpy() / (1 - B1) for name, mean in moments.items()}

    return run


def summed_over_time(membrane: Any, targets: Any) -> Any:
    """``SumOverTime`` in torch, as one call for all steps and samples."""
    import torch

    steps, batch = membrane.shape[:2]
    logits = membrane.reshape(steps * batch, -1)
    return torch.nn.functional.cross_entropy(logits, targets.repeat(steps), reduction="sum") / batch


def load(modules: Sequence[Any], names: Sequence[str], weights: Dict[str, Any], device: str) -> Dict[str, Any]:
    """Copy weights to torch layers; returns their parameters by the names that this library uses."""
    import torch

    leaves = {}
    for module, name in zip(modules, names):
        module.to(device)
        with torch.no_grad():
            for part in ("weight", "bias"):
                tensor = getattr(module, part)
                tensor.copy_(torch.as_tensor(weights[f"{name}.{part}"], device=device))
                leaves[f"{name}.{part}"] = tensor
    return leaves

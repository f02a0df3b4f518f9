"""Runs of forward and backward by torch's autograd, which most sides use."""

from __future__ import annotations

from typing import Any, Callable, Dict

from benchmarks.plan import Evidence, Run
from spikecore.api.core.layer import Pass
from spikecore.api.core.tree import Params, Tree, flatten, unflatten


def layer_call(layer: Any, engine: Any, params: Any = None) -> Callable[[Any], Any]:
    """A layer of this library as a function of a sequence."""
    params = params if params is not None else Params()
    return lambda x: layer.run(Pass(engine), params, Tree(), None, x).outputs


def with_weights(init: Any, weights: Dict[str, Any]) -> Any:
    """Initial parameters, with those named in ``weights`` replaced."""
    return unflatten({**flatten(init.params), **weights}, init.params)


def leaf(array: Any, device: str) -> Any:
    """A tensor that collects a gradient."""
    import torch

    return torch.tensor(array, device=device, requires_grad=True)


def backward_run(forward: Callable[[], Any], upstream: Any, leaves: Dict[str, Any], output: str = "spikes") -> Run:
    """A run of ``forward``, and of backward if there is a gradient ``upstream``.

    Args:
        forward: returns spikes, or something else that ``output`` names.
        upstream: gradient of the result of ``forward``; None for forward only.
        leaves: tensors by name, whose gradients are computed.
        output: name of the result in the evidence.
    """

    def run() -> Callable[[], Evidence]:
        for tensor in leaves.values():
            tensor.grad = None
        result = forward()
        if upstream is not None:
            result.backward(upstream)
        return lambda: evidence(result, leaves if upstream is not None else {}, output)

    return run


def evidence(result: Any, leaves: Dict[str, Any], output: str) -> Evidence:
    """A result, by the name ``output``, and gradients as NumPy arrays."""
    gradients = {name: tensor.grad.cpu().numpy().copy() for name, tensor in leaves.items()}
    return {output: result.detach().cpu().numpy(), **gradients}

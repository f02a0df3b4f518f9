"""Sinabs: its LIF with single spikes and reset to zero, like our reset "zero". Its sequences are batch first."""

from __future__ import annotations

import math
from typing import Any, Callable


def lif(beta: float, device: str) -> Callable[[Any], Any]:
    """A function of a current (batch, time, ...)."""
    import torch
    from sinabs import activation, layers

    def atan(v: Any, threshold: Any) -> Any:
        return 1.0 / (1.0 + (math.pi * (v - threshold)) ** 2)

    layer = layers.LIF(
        tau_mem=-1.0 / math.log(beta),
        spike_fn=activation.SingleSpike,
        reset_fn=activation.MembraneReset(),
        surrogate_grad_fn=atan,
        norm_input=False,
    ).to(device)
    layer.tau_mem.requires_grad_(False)

    def call(x: Any) -> Any:
        layer.reset_states()
        # step by step, because its own loop indexes x[:, t], whose backward pass takes O(T^2)
        spikes = [layer(step.unsqueeze(1)) for step in x.unbind(1)]
        return torch.cat(spikes, dim=1)

    return call

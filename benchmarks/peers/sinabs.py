"""Sinabs: its LIF with single spikes and reset to zero, which is our "zero"; batch first."""

from __future__ import annotations

import math
from typing import Any, Callable


def lif(beta: float, device: str) -> Callable[[Any], Any]:
    """A function of (batch, time, ...)."""
    import torch
    from sinabs import activation, layers

    def atan(v: Any, threshold: Any) -> Any:
        return 1.0 / (1.0 + (math.pi * (v - threshold)) ** 2)

    made = layers.LIF(
        tau_mem=-1.0 / math.log(beta),
        spike_fn=activation.SingleSpike,
        reset_fn=activation.MembraneReset(),
        surrogate_grad_fn=atan,
        norm_input=False,
    ).to(device)
    made.tau_mem.requires_grad_(False)

    def call(x: Any) -> Any:
        made.reset_states()
        spikes = [made(step.unsqueeze(1)) for step in x.unbind(1)]  # its own loop indexes x[:, t]: O(T^2)
        return torch.cat(spikes, dim=1)

    return call

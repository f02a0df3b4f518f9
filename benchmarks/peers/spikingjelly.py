"""SpikingJelly in multi-step mode. Its hard, detached reset is like our "zero". It has no reset like our default."""

from __future__ import annotations

from typing import Any


def lif(beta: float, **options: Any) -> Any:
    """A layer for a current (time, batch, ...). It decays by v - v/tau, which rounds like beta v if beta = 1 - 2^-n."""
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.LIFNode(
        tau=1.0 / (1.0 - beta),
        decay_input=False,
        v_reset=0.0,
        detach_reset=True,
        surrogate_function=surrogate.ATan(2.0),
        step_mode="m",
        **options,
    )


def afresh(layer: Any, x: Any) -> Any:
    """The output of a layer that starts at rest."""
    layer.reset()
    return layer(x)

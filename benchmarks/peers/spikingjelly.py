"""SpikingJelly: multi-step mode. Its hard, detached reset is our "zero"; our default reset it has not."""

from __future__ import annotations

from typing import Any


def lif(beta: float, **options: Any) -> Any:
    """A layer that takes (time, batch, ...). It decays by v - v/tau: for beta = 1 - 2^-n rounded as beta v is."""
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


def afresh(made: Any, x: Any) -> Any:
    """Its output from rest."""
    made.reset()
    return made(x)

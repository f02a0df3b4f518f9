"""Norse: the functional step of its LIF box, without synapse. It resets to zero at once, and the reset has a gradient.

Norse 1.1 ignores the width parameter of its surrogate; the derivative is 1/(1 + |u|)^2, as ``fast_sigmoid(slope=1)``.
"""

from __future__ import annotations

from typing import Any, Callable


def box(beta: float, device: str) -> Callable[[Any], Any]:
    """A function of a current (time, batch, ...). It multiplies the current by 1 - beta: scale it by 1/(1 - beta)."""
    import torch
    from norse.torch.functional import lif_box

    def constant(value: float) -> Any:
        return torch.tensor(value, device=device)

    options = lif_box.LIFBoxParameters(
        tau_mem_inv=constant(1.0 - beta),
        v_leak=constant(0.0),
        v_th=constant(1.0),
        v_reset=constant(0.0),
        alpha=constant(1.0),
    )

    def call(x: Any) -> Any:
        state, spikes = lif_box.LIFBoxFeedForwardState(v=torch.zeros_like(x[0].detach())), []
        for step in x.unbind(0):
            spike, state = lif_box.lif_box_feed_forward_step(step, state, options, dt=1.0)
            spikes.append(spike)
        return torch.stack(spikes)

    return call

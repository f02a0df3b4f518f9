"""snnTorch: a neuron is called step by step."""

from __future__ import annotations

from typing import Any, Callable


def neuron(kind: str, **options: Any) -> Any:
    """A neuron by the name of its class."""
    import snntorch

    return getattr(snntorch, kind)(**options)


def at_rest(made: Any) -> Any:
    """Fresh states, as a tuple."""
    states = made.reset_mem()
    return states if isinstance(states, tuple) else (states,)


def unrolled(made: Any) -> Callable[[Any], Any]:
    """A function of (time, batch, ...): the loop of its tutorials, with ``unbind`` in place of ``x[t]``."""
    import torch

    recurrent = type(made).__name__.startswith("R")

    def call(x: Any) -> Any:
        states, spikes = at_rest(made), []
        for step in x.unbind(0):
            out = made(step, *states)
            spikes.append(out[0])
            states = out if recurrent else out[1:]
        return torch.stack(spikes)

    return call

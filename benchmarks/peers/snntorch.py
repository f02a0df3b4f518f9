"""snnTorch: its neurons are called step by step."""

from __future__ import annotations

from typing import Any, Callable


def neuron(kind: str, **options: Any) -> Any:
    """A neuron by the name of its class."""
    import snntorch

    return getattr(snntorch, kind)(**options)


def at_rest(module: Any) -> Any:
    """The states of a neuron at rest, as a tuple."""
    states = module.reset_mem()
    return states if isinstance(states, tuple) else (states,)


def unrolled(module: Any) -> Callable[[Any], Any]:
    """A function of a current (time, batch, ...): the loop of its tutorials, with ``unbind`` instead of ``x[t]``."""
    import torch

    recurrent = type(module).__name__.startswith("R")

    def call(x: Any) -> Any:
        states, spikes = at_rest(module), []
        for step in x.unbind(0):
            out = module(step, *states)
            spikes.append(out[0])
            states = out if recurrent else out[1:]
        return torch.stack(spikes)

    return call

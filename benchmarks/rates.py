"""Spike rates: which part of the places of an array, one for each neuron and step, holds a spike."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from benchmarks.differentiate import with_weights
from benchmarks.plan import Evidence
from spikecore.api.core.layer import Key

Rates = Dict[str, float]  # by what fires: "input", "layer 1", "output"


def rate(spikes: Any) -> float:
    """The part of an array that is not zero."""
    return float(np.count_nonzero(spikes)) / max(1, np.size(spikes))


def of_evidence(evidence: Evidence) -> Rates:
    """The rate of a side's own output; empty if its evidence has no spikes."""
    return {"output": rate(evidence["spikes"])} if "spikes" in evidence else {}


def of_layers(engine: Any, network: Any, weights: Dict[str, Any], x: Any, steps: Optional[int] = None) -> Rates:
    """The rates of the layers of a network that spike, by one forward pass: {"layer 1": ...}.

    Args:
        engine: the engine.
        network: a Sequential.
        weights: initial weights by name; other parameters have the network's own initial values.
        x: input (time, batch, *features).
        steps: number of time steps if the input is constant in time; None takes it from the input.
    """
    init = network.init(Key((0,)), tuple(x.shape[2:]))
    executor = engine.compile(network, with_weights(init, weights), init.buffers, None, None)
    states = executor.run(engine.asarray(x), steps=steps, record=True).states
    firing = [name for name, layer in network.children() if name in states and getattr(layer, "spiking", True)]
    return {f"layer {name}": rate(engine.to_numpy(states[name].spikes)) for name in firing}


def text(rates: Rates) -> str:
    """Rates in per cent, as in the table."""
    return ", ".join(f"{name} {_digits(100.0 * found)} %" for name, found in rates.items())


def _digits(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.2g}"

"""Resets: which reset in the step of the spike, as chips have it, a neuron's reset equals."""

from __future__ import annotations

from typing import Tuple

from spikecore.base import Membrane
from spikecore.hardware.names import name_among


def reset_of(neuron: Membrane) -> Tuple[str, bool]:
    """The reset in the step of the spike that a neuron's reset equals, and whether it comes one step later instead.

    A delayed reset that acts before the decay, as "subtract_decayed" and, in neurons that keep the input, "zero" do,
    gives the same spikes as one in the step of the spike. So does "subtract" where nothing decays.
    """
    name = "subtract" if neuron.reset_mechanism == "subtract_decayed" else neuron.reset_mechanism
    before_decay = (
        neuron.reset_mechanism == "subtract_decayed"
        or (name == "zero" and neuron.zero_keeps_input)
        or (name == "subtract" and bool(name_among(neuron, ("IF",))))
    )
    return name, neuron.reset_delay and name != "none" and not before_decay

"""Energy of a network on a chip: operations counted on samples, times the chip's published energies."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from spikecore import Model
from spikecore.api.training.batching import Encoder
from spikecore.arguments import ArrayLike
from spikecore.hardware.chip import Chip
from spikecore.hardware.needs import needs_of
from spikecore.neurobench.metrics import SynapticOperations, measure


class EnergyEstimate(NamedTuple):
    """Energy of one sample by the chip's published energies; arithmetic of synapses and neurons alone.

    Args:
        synaptic_operations: weights that are not zero and meet a spike, per sample.
        neuron_updates: neurons times time steps.
        joules: of both together; None if an energy is not published.
        conditions: process, voltage and method of the published energies.
        source: where they stand.
        uncounted: layers whose operations are not counted.
    """

    synaptic_operations: float
    neuron_updates: float
    joules: Optional[float]
    conditions: str
    source: str
    uncounted: Tuple[str, ...]

    def __str__(self) -> str:
        counts = f"{self.synaptic_operations:,.1f} synaptic operations and {self.neuron_updates:,.0f} neuron updates"
        lines = [
            f"energy per sample: not known, energies of single operations are not published ({counts})"
            if self.joules is None
            else f"energy per sample: {1e9 * self.joules:,.4g} nJ for {counts}"
        ]
        if self.joules is not None:
            lines += [
                f"  {self.conditions}; {self.source}",
                "  without input and output, transport of spikes, memory at rest and leakage",
            ]
        return "\n".join([*lines, *(f"  not counted: {name}" for name in self.uncounted)])


def estimate(
    model: Model, chip: Chip, x: ArrayLike, num_steps: Optional[int], encoder: Optional[Encoder]
) -> Tuple[EnergyEstimate, SynapticOperations]:
    """The energy of a sample, and the operations that it is made of; ``x`` and the rest as in ``sc.hardware.check``.

    An update counts for every neuron and step, as if all were active. Without a published energy of an update the
    estimate has that of synaptic operations alone, and says so in its conditions.
    """
    found = measure(model, x, num_steps, encoder)
    operations = found.synaptic_operations.effective_macs + found.synaptic_operations.effective_acs
    updates = float(found.steps * sum(need.neurons for need in needs_of(model)))
    synaptic, update = chip.energy.get("synaptic_operation"), chip.energy.get("neuron_update")
    joules, conditions = None, chip.conditions
    if synaptic is not None:
        joules = operations * synaptic.value
        if update is None:
            conditions = f"{conditions}; without updates of neurons, whose energy is not published"
        else:
            joules += updates * update.value
    source = "" if synaptic is None else chip.sources[synaptic.source]
    return EnergyEstimate(operations, updates, joules, conditions, source, found.uncounted), found.synaptic_operations

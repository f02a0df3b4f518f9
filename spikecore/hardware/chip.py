"""``Chip``: what is publicly known of a chip, as numbers with their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from spikecore.arguments import argument_kind, unknown
from spikecore.printing import columns, in_bytes, table

#: Limits: what each counts. Those of the second group are about convolutions, those of the third about processors.
LIMITS: Dict[str, str] = {
    "cores": "cores that hold neurons",
    "neurons_per_core": "neurons that a core holds at most",
    "memory_per_core": "bytes for weights in each core",
    "neurons": "neurons of the whole chip",
    "synapses": "synapses of the whole chip",
    "inputs": "input channels",
    "outputs": "output neurons",
    "fan_in": "inputs of a neuron",
    "fan_out": "targets of a neuron",
    "weight_bits": "bits of a weight",
    "state_bits": "bits of a neuron's state",
    "kernel_size": "largest kernel of a convolution, along each axis",
    "padding": "largest padding of a convolution, along each axis",
    "strides": "strides of a convolution",
    "channels": "output channels of a convolution",
    "input_size": "height and width of a convolution's input",
    "output_size": "height and width of a convolution's output",
    "flash": "bytes for programs and weights",
    "ram": "bytes for states and buffers",
}
LISTS = ("strides",)
#: What a chip can do.
SUPPORTS: Dict[str, str] = {
    "layers": "layers between neurons, by their classes",
    "neurons": "neurons, by their classes",
    "resets": "reset mechanisms, in the step of the spike",
    "own_neurons": "whether its neurons can be programmed",
    "recurrence": "whether spikes of a layer may return to it",
    "graded_spikes": "whether spikes have a size",
    "shared_weights": "whether a convolution's kernel is stored once, not once for each synapse",
    "whole_layers": "whether each layer takes a core of its own, which holds all of it",
}
NAMES = ("layers", "neurons", "resets")
#: Energy in joules.
ENERGY: Dict[str, str] = {
    "synaptic_operation": "J for each synapse that a spike reaches",
    "neuron_update": "J for each neuron and time step",
}
BYTES = ("memory_per_core", "flash", "ram")


class Known(NamedTuple):
    """One public number, or list.

    Args:
        value: the number; names or numbers in a tuple.
        source: key of the source in ``Chip.sources``.
        note: what a reader should know about it; "" for nothing.
    """

    value: Any
    source: str
    note: str = ""


@dataclass(frozen=True, repr=False)
class Chip:
    """The public facts about a chip. ``hardware.chip`` reads them from a file.

    Args:
        name: its name.
        maker: who makes it.
        about: a description, in a line.
        sources: papers, manuals and pages by key.
        limits: numbers by name, see docs/hardware.md; unknown numbers are absent.
        supports: layers, neurons, resets and abilities by name.
        energy: joules by operation.
        conditions: process, voltage and method of the energies.
        notes: facts for users, beside the numbers.

    Raises:
        ValueError: a limit, an ability or an energy has an unknown name, or names a source that is none of ``sources``.
    """

    name: str
    maker: str
    about: str
    sources: Mapping[str, str]
    limits: Mapping[str, Known] = field(default_factory=dict)
    supports: Mapping[str, Known] = field(default_factory=dict)
    energy: Mapping[str, Known] = field(default_factory=dict)
    conditions: str = ""
    notes: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind, allowed in (("limits", LIMITS), ("supports", SUPPORTS), ("energy", ENERGY)):
            for name, known in getattr(self, kind).items():
                if name not in allowed:
                    raise ValueError(f"Chip: {kind}: {unknown('key', name, allowed)}")
                if known.source not in self.sources:
                    raise ValueError(f"Chip: {kind}.{name}: {unknown('source', known.source, self.sources)}")

    def limit(self, name: str) -> Optional[Any]:
        """A limit's value, or None if it is not known."""
        known = self.limits.get(name)
        return None if known is None else known.value

    def can(self, name: str) -> Optional[Any]:
        """A feature that the chip supports: a tuple of names, or True or False; None if it is not known."""
        known = self.supports.get(name)
        return None if known is None else known.value

    @property
    def processor(self) -> bool:
        """Whether it is an ordinary processor, which runs any program that fits its memory."""
        return "flash" in self.limits

    def _rows(self) -> List[Tuple[str, str, str, str]]:
        every = [*self.limits.items(), *self.supports.items()]  # "neurons" is in both: how many, and which
        rows = [(name, _text(name, known.value), known.source, known.note) for name, known in every]
        rows += [(f"energy of a {name.replace('_', ' ')}", f"{1e12 * known.value:.4g} pJ", known.source, known.note)
                 for name, known in self.energy.items()]  # fmt: skip
        return rows

    def __repr__(self) -> str:
        head = f"{self.name} ({self.maker}): {self.about}"
        sources = [f"{key}: {text}" for key, text in self.sources.items()]
        rows = [columns(self._rows(), left=4)] if self._rows() else []
        return "\n".join([head, *rows, *self.notes, *sources])

    def _repr_html_(self) -> str:
        rows = [(name, value, self.sources[source], note) for name, value, source, note in self._rows()]
        return table(f"{self.name} ({self.maker}): {self.about}", rows, ("", "", "source", "note"))


argument_kind(Chip)


def _text(name: str, value: Any) -> str:
    """A value for readers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return in_bytes(value) if name in BYTES else f"{value:,}"

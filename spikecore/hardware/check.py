"""``check``: a network against the public numbers of a chip, layer by layer."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Tuple, Union

from spikecore import Model, QuantizedNeuron
from spikecore.api.layers.spatial import CONVOLUTIONS
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder
from spikecore.api.training.visitor import WHOLE, connection_of
from spikecore.arguments import ArrayLike, PathLike, Size, checked, shown
from spikecore.base import Layer, Membrane
from spikecore.hardware.chip import NAMES, Chip
from spikecore.hardware.chip_file import chip as chip_of
from spikecore.hardware.energy import EnergyEstimate, estimate
from spikecore.hardware.maps import map_objections
from spikecore.hardware.names import name_among
from spikecore.hardware.needs import LayerDemand, levels_fit, needs_of
from spikecore.hardware.processor import memories
from spikecore.hardware.report import HardwareReport, LayerRow, Memory, Objection
from spikecore.hardware.resets import reset_of
from spikecore.printing import in_bytes

FOR_NEURONS = ("cores", "neurons_per_core", "memory_per_core", "fan_in", "fan_out", "weight_bits")
FOR_PROCESSORS = ("flash", "ram")
REMEDIES = {
    "BatchNorm": "Fold it into the weights of the layer before it",
    "MaxPool": "Use a convolution with a stride, or average pooling where the chip has it",
    "AvgPool": "Use a convolution with a stride",
}


@checked
def check(
    model: Model,
    chip: Union[PathLike, Chip],
    x: Optional[ArrayLike] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
) -> HardwareReport:
    """Check whether a network fits a chip, by the chip's public numbers, and say what to change if it does not.

    Nothing is compiled and nothing runs on the chip. A number that is not known is not checked and never guessed; the
    report lists it. All sizes are lower bounds: routing tables, padding of memories and the program itself come on top.
    A weight of exactly zero is no connection. A quantised layer is judged as the layer inside with its rounded weights.
    Flash and RAM of a processor are those of the C that ``sc.export`` writes, or estimates where it refuses.

    Args:
        model: a ``Model`` with weights; without weights yet, ``x`` gives the shape of a sample.
        chip: the name of one of ``hardware.chips()``, the path of a chip file that ends in .toml, or a ``Chip``.
        x: samples for the estimate of energy: (time, batch, *features); with ``num_steps`` or an encoder
            (batch, *features). None, the default: no estimate.
        num_steps: number of steps of a constant input, or for the encoder.
        encoder: as in ``Model.fit``.

    Returns:
        ``HardwareReport``: print it; ``report.ok``, ``report.objections``, ``report.json``.

    Raises:
        ValueError: there is no such chip, or the shape of a sample is not known.
        FileNotFoundError, ChipFileError: the chip file is absent or wrong.
    """
    target = chip if isinstance(chip, Chip) else chip_of(chip)
    if x is None and (num_steps is not None or encoder is not None):
        raise ValueError("num_steps and encoder say how x becomes a sequence: pass x, too")
    energy = analog = None
    if x is not None:
        energy, counts = estimate(model, target, x, num_steps, encoder)
        analog = counts.effective_macs > 0.0
    if model.input_shape is None:
        raise ValueError(f"model={shown(model)} does not know the shape of a sample: pass x, or Model(input_shape=...)")
    found = _Check(target, model, needs_of(model), bool(analog))
    found.all()
    return found.report(energy)


class _Check:
    """Collects objections to the layers of one network."""

    def __init__(self, chip: Chip, model: Model, needs: Tuple[LayerDemand, ...], analog: bool) -> None:
        self.chip, self.model, self.needs, self.analog = chip, model, needs, analog
        self.objections: List[Objection] = []
        self.cores: Dict[str, int] = {}  # by name of the neurons
        self.memory: Tuple[Memory, ...] = ()

    def add(self, need: Optional[LayerDemand], what: str, reason: str, remedy: str, error: bool = True) -> None:
        self.objections.append(Objection(_place(need), what, reason, remedy, error))

    def all(self) -> None:
        if self.chip.processor:
            self.memory, self.objections = memories(self.chip, self.model, self.needs)
            return
        incoming: List[LayerDemand] = []
        for need in self.needs:
            if need.role == "neurons":
                self.neurons(need)
                self.place(need, incoming)
                incoming = []
            else:
                self.kind(need)
                if need.role == "connection":
                    incoming.append(need)
                if isinstance(need.layer, CONVOLUTIONS):
                    self.objections += map_objections(self.chip, need)
        if incoming:
            last = incoming[-1]
            self.add(last, "readout", f"{last.kind} leads to no neurons", "Put neurons behind it, e.g. Leaky")
        self.whole()
        self.levels()

    # ---- one layer ----

    def kind(self, need: LayerDemand) -> None:
        """Whether the chip has this kind of layer."""
        names = self.chip.can("layers")
        if names is None or name_among(need.layer, names) or need.name.endswith(".connection"):
            return
        remedy = next((text for start, text in REMEDIES.items() if start in need.kind), "Write the network without it")
        self.add(need, "layer", f"{self.chip.name} has no {need.kind}; it has {', '.join(names)}", remedy)

    def neurons(self, need: LayerDemand) -> None:
        """Whether the chip has these neurons, with this reset."""
        inner = _inner(need.layer)
        own, names, resets = (self.chip.can(name) for name in ("own_neurons", "neurons", "resets"))
        if connection_of(need.layer) is not None and self.chip.can("recurrence") is False:
            self.add(need, "recurrence", "spikes cannot return to their own layer", "Use the neuron without recurrence")
        if names is not None and not name_among(inner, names):
            reason = f"{self.chip.name} has no {_public(inner)}; it has {', '.join(names)}"
            remedy = "Write a neuron program for the chip" if own else f"Use {' or '.join(names)}"
            self.add(need, "neuron", reason, remedy, not own)
        elif resets is not None and isinstance(inner, Membrane):
            reset, late = reset_of(inner)
            if reset not in resets or late:
                when = ", one step after the spike" if late else ""
                reason = f"the reset is {reset!r}{when}; {self.chip.name} has {_or(resets)} in the step of the spike"
                remedy = f"Train with reset_mechanism={resets[0]!r}, reset_delay=False"
                self.add(need, "reset", reason, remedy, not own)
        factor = getattr(inner, "graded_spikes_factor", 1.0)
        if self.chip.can("graded_spikes") is False and (type(factor) is not float or factor != 1.0):
            self.add(need, "graded spikes", "spikes have no size on the chip", "Use graded_spikes_factor=1.0")
        if getattr(inner, "inhibition", False):
            self.add(need, "inhibition", "the winner is found among all neurons of a layer", "Use inhibition=False")
        limit = self.chip.limit("fan_in")
        if limit is not None and need.fan_in > limit:
            reason = f"a neuron has {need.fan_in:,} inputs, the chip allows {limit:,}"
            self.add(
                need, "fan-in", reason, f"Prune the connections before it to {limit:,} for each neuron, or narrow them"
            )
        limit = self.chip.limit("fan_out")
        if limit is not None and need.fan_out > limit:
            reason = f"a neuron has {need.fan_out:,} targets, the chip allows {limit:,}"
            self.add(need, "fan-out", reason, f"Prune the connections behind it to {limit:,} from each neuron")

    def levels(self) -> None:
        """Whether weights lie on the levels that the chip has."""
        bits, states = self.chip.limit("weight_bits"), self.chip.limit("state_bits")
        if bits is None:
            return
        names = [n.name for n in self.needs if n.values is not None and not levels_fit(n.values, bits)]
        if names:
            also = "" if states is None else f"; states have {states} bits there"
            reason = (
                f"those of layer{'s' * (len(names) > 1)} {', '.join(names)} are not on the levels of {bits} bits{also}"
            )
            self.add(None, "weights", reason, "Quantise them, and train on if accuracy suffers", error=False)

    def place(self, need: LayerDemand, incoming: List[LayerDemand]) -> None:
        """The cores that neurons and the weights that lead to them take."""
        each, memory, bits = (self.chip.limit(name) for name in ("neurons_per_core", "memory_per_core", "weight_bits"))
        shared = self.chip.can("shared_weights")
        stored = sum(one.weights if shared and isinstance(one.layer, KERNELS) else one.synapses
                     for one in incoming)  # fmt: skip
        size = None if bits is None else math.ceil(stored * bits / 8)
        needed = [1]
        if each is not None:
            needed.append(math.ceil(need.neurons / each))
        if memory is not None and size is not None:
            needed.append(math.ceil(size / memory))
        if self.chip.can("whole_layers"):
            if max(needed) > 1:
                reason = f"{need.neurons:,} neurons with {in_bytes(size or 0)} of weights are more than a core holds"
                self.add(need, "core", reason, "Make the layer smaller: a layer takes one core as a whole")
            needed = [1]
        elif each is None and (memory is None or size is None):
            return
        self.cores[need.name] = max(needed)

    # ---- the whole network ----

    def whole(self) -> None:
        """Compare totals of the network, and its inputs and outputs, with the chip's limits."""
        totals = {
            "cores": sum(self.cores.values()),
            "neurons": sum(need.neurons for need in self.needs),
            "synapses": sum(need.synapses for need in self.needs),
        }
        for name, total in totals.items():
            limit = self.chip.limit(name)
            if limit is not None and total > limit:
                reason = f"it needs {total:,} at least, the chip has {limit:,}"
                remedy = "Prune it, or narrow its layers" if name == "synapses" else "Narrow its layers, or take fewer"
                self.add(None, name, reason, remedy)
        first, last = self.needs[0] if self.needs else None, [need for need in self.needs if need.role == "neurons"]
        channels = self.chip.limit("inputs")
        if first is not None and channels is not None and math.prod(first.shape) > channels:
            reason = f"a sample has {math.prod(first.shape):,} channels, the chip takes {channels:,}"
            self.add(None, "inputs", reason, "Reduce the input, e.g. by pooling or fewer frequency bands")
        outputs = self.chip.limit("outputs")
        if last and outputs is not None and last[-1].neurons > outputs:
            reason = f"{last[-1].neurons:,} neurons, the chip has {outputs:,}"
            self.add(last[-1], "outputs", reason, "Take fewer classes, or read classes from patterns of outputs")
        if self.analog and self.chip.can("graded_spikes") is False:
            reason = "a connection gets inputs that are not 0, 1 or -1"
            self.add(
                None,
                "inputs",
                reason,
                "Encode samples as spikes, e.g. with spikegen.rate, or inject them as currents",
                False,
            )

    def report(self, energy: Optional[EnergyEstimate]) -> HardwareReport:
        unknown = [
            name for name in (FOR_PROCESSORS if self.chip.processor else FOR_NEURONS) if self.chip.limit(name) is None
        ]
        unknown += [name for name in NAMES if not self.chip.processor and self.chip.can(name) is None]
        placed = bool(self.cores) and all(need.name in self.cores for need in self.needs if need.role == "neurons")
        return HardwareReport(
            chip=self.chip.name,
            rows=tuple(self.row(need) for need in self.needs),
            objections=tuple(self.objections),
            neurons=sum(need.neurons for need in self.needs),
            weights=sum(need.weights for need in self.needs),
            synapses=sum(need.synapses for need in self.needs),
            operations=sum(need.operations for need in self.needs),
            cores=sum(self.cores.values()) if placed else None,
            memory=self.memory,
            energy=energy,
            unknown=tuple(unknown),
            notes=self.chip.notes,
        )

    def row(self, need: LayerDemand) -> LayerRow:
        said = [one for one in self.objections if one.layer == _place(need)]
        verdict = "does not fit" if any(one.error for one in said) else "note" if said else "fits"
        counts = (need.neurons, need.states, need.fan_in, need.fan_out, need.weights)
        return LayerRow(need.name, need.kind, *counts, self.cores.get(need.name), verdict)


def _place(need: Optional[LayerDemand]) -> str:
    """The layer's name in an objection; "" for the whole network."""
    return "" if need is None or need.name == WHOLE else need.name


def _inner(layer: Layer) -> Layer:
    """The neuron that a recurrent or quantised one runs."""
    spelled_out = getattr(layer, "recurrent", layer)
    inner = getattr(spelled_out, "neuron", None)
    found = inner if isinstance(inner, Stepper) and connection_of(layer) is not None else layer
    return found.neuron if isinstance(found, QuantizedNeuron) else found


def _public(layer: Layer) -> str:
    """The name of a layer's class, or of its first base with a public name."""
    return next(kind.__name__ for kind in type(layer).__mro__ if not kind.__name__.startswith("_"))


def _or(names: Tuple[str, ...]) -> str:
    return " or ".join(map(repr, names)) or "none"

"""``HardwareReport``: whether a network fits a chip, layer by layer, with the remedy for what does not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from spikecore.hardware.energy import EnergyEstimate
from spikecore.printing import columns, in_bytes, table

HEAD = ("layer", "kind", "", "neurons", "states", "fan-in", "fan-out", "weights", "cores")


class Objection(NamedTuple):
    """One thing that does not fit, or that a user should know.

    Args:
        layer: dotted name of the layer; "" for the whole network.
        what: the subject, e.g. "fan-in".
        reason: the needs of the layer and the limit of the chip.
        remedy: what to write instead.
        error: True if the network cannot run on the chip because of it; else it is a note.
    """

    layer: str
    what: str
    reason: str
    remedy: str
    error: bool = True

    def __str__(self) -> str:
        where = f"layer {self.layer}" if self.layer else "the network"
        return f"{'DOES NOT FIT' if self.error else 'note        '}  {where}: {self.what}: {self.reason}. {self.remedy}"


class LayerRow(NamedTuple):
    """The needs of one layer, and whether the chip meets them.

    Args:
        name: dotted name of the layer.
        kind: its class.
        neurons: how many; 0 for a connection.
        states: numbers that each neuron keeps from step to step.
        fan_in: most inputs of a neuron, through weights that are not zero.
        fan_out: most targets of a neuron, or of an input of a connection.
        weights: weights that are not zero; a kernel counts once.
        cores: cores that the neurons take at least; None if that is not known.
        verdict: "fits", "does not fit" or "note".
    """

    name: str
    kind: str
    neurons: int
    states: int
    fan_in: int
    fan_out: int
    weights: int
    cores: Optional[int]
    verdict: str


class Memory(NamedTuple):
    """Bytes that a processor needs, without those of the program itself.

    Args:
        type: "float32"; "fixed", integers of the network's own bits; or "int8", weights of 8 bits.
        flash: bytes of weights and constants.
        ram: bytes of states, of what a step needs beside them, and of the arrays of its input and output.
        fits: whether both are there.
        exact: whether they are those of the C that ``sc.export`` writes; else an estimate: a number for each parameter,
            and four bytes for each state and for the largest input and output of a layer.
    """

    type: str
    flash: int
    ram: int
    fits: bool
    exact: bool


@dataclass(frozen=True, repr=False)
class HardwareReport:
    """The result of ``sc.hardware.check``: print it; ``report.ok``, ``report.objections``, ``report.json``.

    Args:
        chip: name of the chip.
        rows: the needs of each layer.
        objections: everything that does not fit, and notes.
        neurons, weights, synapses: of the whole network; weights and synapses that are not zero.
        operations: products of a weight and an input in one time step if no input is zero.
        cores: cores that the network takes at least; None if that is not known.
        memory: of a processor: bytes in floating point and in integers; empty for other chips.
        energy: of the samples that were passed; None without samples.
        unknown: limits of the chip that are not known, which were not checked.
        notes: remarks of the chip file.
    """

    chip: str
    rows: Tuple[LayerRow, ...]
    objections: Tuple[Objection, ...]
    neurons: int
    weights: int
    synapses: int
    operations: int
    cores: Optional[int]
    memory: Tuple[Memory, ...]
    energy: Optional[EnergyEstimate]
    unknown: Tuple[str, ...]
    notes: Tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if the network breaks no known limit of the chip."""
        return not any(one.error for one in self.objections)

    @property
    def verdict(self) -> str:
        """The result in one line."""
        wrong = sum(one.error for one in self.objections)
        if wrong:
            return f"does not fit {self.chip}: {wrong} objection{'s' * (wrong > 1)}"
        return f"fits {self.chip}, as far as its public numbers tell"

    @property
    def json(self) -> Dict[str, Any]:
        """The report as dicts, lists, numbers and texts, for ``json.dumps``."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {name: _plain(value) for name, value in fields.items()}
        return {"ok": self.ok, "verdict": self.verdict, **plain}

    def _cells(self) -> List[Tuple[str, ...]]:
        counts = [(r.neurons, r.states, r.fan_in, r.fan_out, r.weights, r.cores or 0) for r in self.rows]
        numbers = [[f"{n:,}" if n else "" for n in row] for row in counts]
        return [(r.name, r.kind, r.verdict, *row) for r, row in zip(self.rows, numbers)]

    def _lines(self) -> List[str]:
        total = f"{self.neurons:,} neurons, {self.weights:,} weights, {self.synapses:,} synapses"
        cores = "" if self.cores is None else f", at least {self.cores} core{'s' * (self.cores != 1)}"
        inside = [row.name for row in self.rows if row.neurons and row.weights]
        without = f", without those inside {', '.join(inside)}" if inside else ""
        lines = [f"{total}{cores}; {self.operations:,} multiply-adds per time step if no input is zero{without}"]
        lines += [
            f"{one.type}: {in_bytes(one.flash)} flash, {in_bytes(one.ram)} RAM, "
            f"{'as sc.export writes it' if one.exact else 'estimated'}, without the program: "
            f"{'fits' if one.fits else 'does not fit'}"
            for one in self.memory
        ]
        lines += map(str, self.objections)
        if self.energy is not None:
            lines.append(str(self.energy))
        if self.unknown:
            lines.append(f"not known, so not checked: {', '.join(self.unknown)}")
        return [*lines, *(f"{self.chip}: {note}" for note in self.notes), self.verdict]

    def __str__(self) -> str:
        rows = columns([HEAD, *self._cells()], left=3) if self.rows else ""
        return "\n".join([f"check for {self.chip}", rows, *self._lines()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        lines = [("", line, *("",) * (len(HEAD) - 2)) for line in self._lines()]
        return table(f"check for {self.chip}: {self.verdict}", [*self._cells(), *lines], HEAD)


def _plain(value: Any) -> Any:
    """Named tuples as dicts, tuples as lists."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value

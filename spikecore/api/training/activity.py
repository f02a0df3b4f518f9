"""The activity of a network and its cost: firing rates, silent neurons, synaptic operations, estimated energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Sequence, Tuple

from spikecore.api.core.layer import Layer, Params, Result, layer_name
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder
from spikecore.api.training.operations import SUMS, multiplied, operations, products_met
from spikecore.api.training.visitor import WHOLE, CostVisitor
from spikecore.arguments import ArrayLike, Checked, Size, argument_kind, checked
from spikecore.printing import columns

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


@dataclass(frozen=True)
class Energy(Checked):
    """Energy per operation in joules; only arithmetic counts, not memory, control or communication.

    The defaults are for 32-bit floating point in 45 nm CMOS: an addition takes 0.9 pJ, a multiplication 3.7 pJ.

    Args:
        accumulate: J per accumulate (AC), the addition of a weight: all that a spike of size 1 needs; >= 0.
        multiply_accumulate: J per multiply-accumulate (MAC), 0.9 pJ + 3.7 pJ: for all other inputs; >= 0.

    Raises:
        ValueError: an energy is negative.

    Source: Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014.
    """

    accumulate: float = 0.9e-12
    multiply_accumulate: float = 4.6e-12

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"Energy: {name}={value!r} must be >= 0 J")


argument_kind(Energy)


class Firing(NamedTuple):
    """The activity of one neuron layer."""

    name: str
    kind: str
    neurons: int
    spikes: float  # per sample
    rate: float  # spikes per neuron and step
    silent: float  # fraction of the neurons that fired on no sample


class Synapses(NamedTuple):
    """The operations of one connection, per sample."""

    name: str
    kind: str
    synops: float  # operations caused by inputs that are not zero, over all steps
    macs: int  # operations of an artificial network of this shape for the same sample, see ``Activity.dense_steps``
    binary: bool  # whether all inputs were 0 or 1, so that each operation is an accumulate
    energy: float  # of the synops, in joules
    dense_energy: float  # of the macs


@dataclass(frozen=True)
class Activity:
    """The result of ``activity``: print it, or read the rows and the sums. All numbers are per sample."""

    firing: Tuple[Firing, ...]
    synapses: Tuple[Synapses, ...]
    steps: int
    uncounted: Tuple[str, ...]  # layers whose operations are not counted: neurons with weights inside, users' layers
    dense_steps: int = 1  # passes of the artificial network that are counted: one per step of a sequence, one per image

    @property
    def synops(self) -> float:
        """Synaptic operations per sample."""
        return sum(row.synops for row in self.synapses)

    @property
    def energy(self) -> float:
        """Energy of all synaptic operations per sample, in joules."""
        return sum(row.energy for row in self.synapses)

    @property
    def dense_energy(self) -> float:
        """Energy of an artificial network of the same shape per sample, in joules; see ``dense_steps``."""
        return sum(row.dense_energy for row in self.synapses)

    def __str__(self) -> str:
        lines = [("layer", "kind", "neurons", "spikes", "rate", "silent")]
        lines += [(r.name, r.kind, str(r.neurons), f"{r.spikes:.1f}", f"{r.rate:.4f}", f"{r.silent:.1%}")
                  for r in self.firing]  # fmt: skip
        wires = [("connection", "kind", "operation", "synops", "MACs, dense", "energy/nJ", "dense/nJ")]
        for r in (*self.synapses, Synapses("total", "", self.synops, sum(r.macs for r in self.synapses), False,
                                           self.energy, self.dense_energy)):  # fmt: skip
            operation = "" if not r.kind else "AC" if r.binary else "MAC"
            energies = (f"{1e9 * r.energy:.3f}", f"{1e9 * r.dense_energy:.3f}")
            wires.append((r.name, r.kind, operation, f"{r.synops:,.1f}", f"{r.macs:,}", *energies))
        notes = [f"not counted: operations inside {name}" for name in self.uncounted]
        dense = "a pass" if self.dense_steps == 1 else f"{self.dense_steps} passes"
        head = f"per sample, {self.steps} steps; dense: {dense} of an artificial network of this shape"
        return "\n".join([head, _table(lines), "", _table(wires), *notes])


@checked
def activity(
    model: Model,
    x: ArrayLike,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    energy: Energy = Energy(),  # noqa: B008  (immutable)
) -> Activity:
    """Run a model on a batch and report how much its layers fire and how many operations that causes.

    Each input of a connection that is not zero causes one synaptic operation per weight that it is multiplied with
    (fewer at the border of a convolution). A weight of exactly zero is no connection and causes none; one with a delay
    causes one, as it does where delays are whole steps. Operations are accumulates (AC) if all inputs are 0 or 1, else
    multiply-accumulates (MAC). Biases, normalisation and the neurons' own arithmetic are not counted. An input that is
    constant in time counts once, not at every step, since spikecore multiplies it once.

    Attention has no weights: each pair of factors that are both not zero causes one operation, an accumulate if one of
    the two arrays is all 0 or 1. A ``HeadSum`` or ``PositionSum`` causes one accumulate for each input that is not
    zero. Gates are not counted: they let spikes pass.

    The report also has the operations of an artificial network of the same shape, which multiplies all its inputs. It
    needs one pass for a sample without a time axis, for any number of steps, and one pass per step for a sequence.

    Args:
        model: a ``Model``.
        x: (time, batch, *features); with ``num_steps`` or an encoder (batch, *features).
        num_steps: number of steps of a constant input, or for the encoder.
        encoder: as in ``Model.fit``.
        energy: energy per operation.

    Returns:
        ``Activity``.

    Raises:
        TypeError: the network has a container with a ``run`` of its own.
    """
    notes = _Notes(model, x, num_steps, encoder, energy)
    notes.run()
    return Activity(tuple(notes.firing), tuple(notes.synapses), notes.steps, tuple(notes.uncounted), notes.passes)


class _Notes(CostVisitor):
    """Collects each layer's activity."""

    def __init__(
        self, model: Model, x: ArrayLike, num_steps: Optional[int], encoder: Optional[Encoder], energy: Energy
    ) -> None:
        super().__init__(model, x, num_steps, encoder)
        self.energy, self.passes = energy, 1 if self.still else self.steps
        self.firing: List[Firing] = []
        self.synapses: List[Synapses] = []

    def note_neurons(self, name: str, layer: Stepper, result: Result) -> None:
        """Collect the firing of a layer that spikes."""
        if not layer.spiking:
            return
        fired = self.engine.to_numpy(result.outputs) != 0
        neurons = math.prod(fired.shape[2:])
        spikes = int(fired.sum()) / self.batch
        silent = 1.0 - float(fired.any(axis=(0, 1)).mean())
        self.firing.append(Firing(name, layer_name(layer), neurons, spikes, spikes / (neurons * len(fired)), silent))

    def note_connection(self, name: str, kind: str, layer: Layer, params: Params, x: Any) -> bool:
        """Collect the operations of a connection."""
        met = products_met(self.engine, layer, params, x)
        if met is not None:
            each = isinstance(layer, SUMS) or self._is_binary(x), float(met.sum()) / self.batch
            self._add(name, kind, [each], operations(layer, tuple(x.shape[2:])))
        return met is not None

    def note_products(self, path: str, layer: Layer, products: Sequence[Tuple[Any, Any]]) -> None:
        """Collect the operations of matrix products whose factors both come from the input."""
        counts, dense = [], 0
        for a, b in products:
            rows, columns = (self.engine.to_numpy(x) != 0 for x in (a, b))
            met = float((rows.sum(axis=-2) * columns.sum(axis=-1)).sum()) / self.batch
            counts.append((self._is_binary(a) or self._is_binary(b), met))
            dense += multiplied(a, b)
        if counts:
            self._add(path or WHOLE, layer_name(layer), counts, dense)

    def _add(self, name: str, kind: str, counts: Sequence[Tuple[bool, float]], dense: int) -> None:
        """Add a row; ``counts``: operations, and before them whether they are accumulates."""
        accumulate, multiply = self.energy.accumulate, self.energy.multiply_accumulate
        energy = sum(synops * (accumulate if binary else multiply) for binary, synops in counts)
        synops, macs = sum(count for _, count in counts), dense * self.passes
        binary = all(binary for binary, _ in counts)
        self.synapses.append(Synapses(name, kind, synops, macs, binary, energy, macs * multiply))

    def _is_binary(self, x: Any) -> bool:
        values = self.engine.to_numpy(x)
        return bool(((values == 0) | (values == 1)).all())


def _table(rows: Sequence[Tuple[str, ...]]) -> str:
    return columns(rows, left=len(rows[0]))

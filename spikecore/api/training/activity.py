"""The activity of a network and its cost: firing rates, silent neurons, synaptic operations, estimated energy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Sequence, Tuple

from spikecore.api.core.host import host
from spikecore.api.core.layer import EMPTY, Layer, Params, Result, Shape, Tree, layer_name, shapes_of
from spikecore.api.core.tree import flatten
from spikecore.api.core.variants import exact
from spikecore.api.layers.attention import HeadSum, PositionSum
from spikecore.api.layers.containers import Container, flow
from spikecore.api.layers.delays import DelayedLinear
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.merges import Merge
from spikecore.api.layers.quantized import Quantized
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.neurons.recurrent import OneToOne
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder
from spikecore.api.training.visitor import WHOLE, Visitor, connection_of, multiplies
from spikecore.arguments import ArrayLike, Checked, Size, argument_kind, checked
from spikecore.printing import columns

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

SUMS = (HeadSum, PositionSum)


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


class _Notes(Visitor):
    """Collects each layer's activity."""

    def __init__(
        self, model: Model, x: ArrayLike, num_steps: Optional[int], encoder: Optional[Encoder], energy: Energy
    ) -> None:
        super().__init__(model, x, num_steps, encoder)
        self.energy, self.passes = energy, 1 if self.still else self.steps
        self.firing: List[Firing] = []
        self.synapses: List[Synapses] = []
        self.uncounted: List[str] = []

    def note(self, path: str, layer: Layer, params: Params, x: Any, result: Result) -> None:
        """Collect one layer's firing and operations."""
        name, y = path or WHOLE, result.outputs
        if isinstance(layer, Stepper):
            if layer.spiking:
                self._note_firing(name, layer, y)
            inner = connection_of(layer)
            if inner is not None:
                self._note_synapses(f"{name}.connection", inner, params.connection, y[:-1, ...], y[:1, ...])
            elif any("weight" in key for key in flatten(params)):
                self.uncounted.append(f"{name} ({layer_name(layer)})")
        else:
            self._note_synapses(name, layer, params, x, x[:1, ...])

    def _note_firing(self, name: str, layer: Layer, y: Any) -> None:
        fired = self.engine.to_numpy(y) != 0
        neurons = math.prod(fired.shape[2:])
        spikes = int(fired.sum()) / self.batch
        silent = 1.0 - float(fired.any(axis=(0, 1)).mean())
        self.firing.append(Firing(name, layer_name(layer), neurons, spikes, spikes / (neurons * len(fired)), silent))

    def _note_synapses(self, name: str, layer: Layer, params: Params, x: Any, step: Any) -> None:
        active = self.engine.xp.astype(x != 0.0, self.engine.dtype)
        total = _operations(self.engine, layer, active, params)
        if total is None:
            if multiplies(layer, params):
                self.uncounted.append(f"{name} ({layer_name(layer)})")
            return
        macs = _operations(self.engine, layer, self.engine.xp.ones_like(step))
        binary = isinstance(layer, SUMS) or self._is_binary(x)
        each = self.energy.accumulate if binary else self.energy.multiply_accumulate
        synops, dense = total / self.batch, int(macs or 0) // self.batch * self.passes
        dense_energy = dense * self.energy.multiply_accumulate
        self.synapses.append(Synapses(name, layer_name(layer), synops, dense, binary, synops * each, dense_energy))

    def note_products(self, path: str, layer: Layer, products: Sequence[Tuple[Any, Any]]) -> None:
        """Collect the operations of matrix products whose factors both come from the input."""
        xp, synops, energy, dense, accumulates = self.engine.xp, 0.0, 0.0, 0, True
        for a, b in products:
            active = (xp.astype(x != 0.0, self.engine.dtype) for x in (a, b))
            met = _total(self.engine, xp.matmul(*active)) / self.batch
            binary = self._is_binary(a) or self._is_binary(b)
            synops, accumulates = synops + met, accumulates and binary
            energy += met * (self.energy.accumulate if binary else self.energy.multiply_accumulate)
            dense += _multiplied(a, b) * self.passes
        if products:
            dense_energy = dense * self.energy.multiply_accumulate
            row = Synapses(path or WHOLE, layer_name(layer), synops, dense, accumulates, energy, dense_energy)
            self.synapses.append(row)

    def _is_binary(self, x: Any) -> bool:
        values = self.engine.to_numpy(x)
        return bool(((values == 0) | (values == 1)).all())


def _multiplied(a: Any, b: Any) -> int:
    """The multiplications of a product of matrices (time, batch, ..., rows, columns), in one step of a sample."""
    return math.prod(a.shape[2:]) * int(b.shape[-1])


def _total(engine: Any, counts: Any) -> float:
    return float(engine.to_numpy(counts).astype("float64").sum())


def operations(network: Layer, shape: Shape) -> int:
    """The products of a weight or a factor and an input in one step of one sample, if no input is zero.

    Args:
        network: the layer.
        shape: shape of one sample.
    """
    engine = host()
    network = network.layer if isinstance(network, Quantized) else network
    if isinstance(network, KERNELS):  # all channels of a group are alike: one of them is counted
        groups = network.groups
        one = replace(network, in_channels=groups)
        count = _operations(engine, one, engine.xp.ones((1, 1, groups, *shape[1:])))
        return int(count or 0) * (network.in_channels // groups)
    if not isinstance(network, Container):
        return int(_operations(engine, network, engine.xp.ones((1, 1, *shape))) or 0)
    counts: List[int] = []

    def through(name: str, child: Layer, shape: Shape) -> Shape:
        counts.append(operations(child, shape))
        return shapes_of(child, shape).shape

    def merged(merge: Merge, shapes: List[Shape], names: Tuple[str, ...]) -> Shape:
        ones = [engine.xp.ones((1, 1, *one)) for one in shapes]
        counts.extend(_multiplied(a, b) for a, b in merge.products(engine.xp, ones, before=2))
        return merge.shape(shapes, names)

    flow(network.wires, shape, through, merged)
    return sum(counts)


def _operations(engine: Any, layer: Layer, active: Any, params: Tree = EMPTY) -> Optional[float]:
    """The number of products of a weight with a one in ``active`` (time, batch, ...); None without connections.

    Args:
        engine: the engine.
        layer: the layer.
        active: where its inputs are not zero.
        params: its weights, of which those that are zero count for nothing; without them all count.
    """
    layer = layer.layer if isinstance(layer, Quantized) else layer
    layer = layer.without_delays() if isinstance(layer, DelayedLinear) else layer
    exists = {name: engine.to_numpy(params[name]) != 0 for name in layer.connections if name in params}
    if isinstance(layer, (Linear, *KERNELS)) and not all(mask.all() for mask in exists.values()):
        return float(products_met(engine, layer, engine.asarray(exists["weight"] * 1.0), active).sum())
    if isinstance(layer, (Linear, OneToOne, *SUMS)):
        fan_out = layer.out_features if isinstance(layer, Linear) else 1
        return _total(engine, active) * fan_out
    if not isinstance(layer, KERNELS):
        return None
    alike = replace(layer, out_channels=layer.groups, bias=False, weight_init=None, bias_init=None)
    like = shapes_of(alike, tuple(active.shape[2:])).params.weight
    met = products_met(engine, alike, engine.xp.ones(tuple(like.shape)), active)
    return float(met.sum()) * (layer.out_channels // layer.groups)


def products_met(engine: Any, layer: Any, weights: Any, inputs: Any) -> Any:
    """The number of products of a weight and an input that are both there, at each output of a connection.

    Args:
        engine: the engine.
        layer: a linear layer or a convolution.
        weights, inputs: arrays of the engine, true or 1 where there is a weight or an input.

    Returns:
        A NumPy array in float64, of the shape of the layer's output.
    """
    engine = exact(engine)  # half precision does not count beyond 256
    counting = replace(layer, bias=False, weight_init=None, bias_init=None)
    ones, active = (engine.xp.astype(x, engine.dtype) for x in (weights, inputs))
    met, _ = counting.apply(engine, Params(weight=ones), EMPTY, active, train=False, key=None)
    return engine.to_numpy(met).astype("float64")


def _table(rows: Sequence[Tuple[str, ...]]) -> str:
    return columns(rows, left=len(rows[0]))

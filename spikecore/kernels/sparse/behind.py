"""A neuron and the Linear behind it: spikes pass from one to the other as bits.

    S, U = run of the neuron,     Y[t] = S[t] W^T + b

Where few neurons fire, products take the spikes as lists; else they are unpacked for a library's product. A run keeps
one bit per neuron and step for the way back, where the gradients by the spikes are G W. Where a surrogate's derivative
is zero nobody reads these; if that is so for most neurons and steps, only the others are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

import numpy as np

from spikecore.kernels.base import Gradients, Kernels, Product, Request, Results, Upstream, Wanted
from spikecore.kernels.form import Step
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.readout import BIAS, WEIGHT
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe
from spikecore.kernels.sequence import SequenceNumba
from spikecore.kernels.sinks import Sink
from spikecore.kernels.sparse import dots
from spikecore.kernels.sparse import product as sparse
from spikecore.kernels.sparse.bits import Bits, count
from spikecore.kernels.sparse.kept import by_kept_weight
from spikecore.kernels.sparse.lists import by_rows
from spikecore.kernels.sparse.packed import Packed, per_row
from spikecore.kernels.sparse.reading import reading
from spikecore.kernels.sparse.weights import time_if_pruned, times_pruned

SAMPLED = 16  # of so many samples one is looked at first


@dataclass(frozen=True, eq=False)
class ProductBehind(Kernels):
    """Kernels of a neuron whose spikes go to a Linear and nowhere else.

    Args:
        step: the step function of the neuron; its output must be a spike.
        product: the engine's matrix product.
        outs: rows of the weight.
    """

    product: Product
    outs: int

    @property
    def params(self) -> Tuple[str, ...]:
        return (WEIGHT, BIAS, *self.step.params)

    @property
    def unread(self) -> Tuple[str, ...]:
        return (BIAS,)

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        return (*shape[:-1], self.outs)

    def recipes(self, wanted: Optional[Wanted], constant: bool) -> Optional[List[KernelRecipe]]:
        recipes = _neuron(self, Packed()).recipes(None, constant) or []
        if wanted is not None:
            of_neuron = Wanted(wanted.inputs, tuple(p for p in wanted.params if p in self.step.params), wanted.window)
            recipes = recipes + (_neuron(self, Sink()).recipes(of_neuron, constant) or [])[1:]
        return recipes

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of the spikes' words and of the states before every block of steps."""
        return [(steps, shape[0], per_row(shape[1])), *_neuron(self, Sink()).saved_shapes(steps, shape)]

    def forward(self, request: Request, keep: bool = True) -> Results:
        run = _neuron(self, Packed()).forward(request, keep)
        words = run.outputs.view(np.int64)
        spikes, weight = self._spikes(words, request), request.params[WEIGHT]
        rows, out = spikes.shape[0], (request.steps, *self.out_shape(request.shape))
        lists = spikes.relative_time(self.outs) < sparse.COUNTED * min(1.0, time_if_pruned(weight.T, rows))
        sparse.note(spikes.bits.rate, lists)
        if lists:
            flat = spikes.times(weight.T, np.ascontiguousarray(request.params[BIAS]))
        else:
            dense = spikes.dense(self.step.dtype)
            flat = times_pruned(dense, weight.T, request.params[BIAS])
            if flat is None:
                flat = allocator.empty((rows, self.outs), self.step.dtype)
                self._multiply(dense, weight.T, flat)
                flat += request.params[BIAS]
        return Results(flat.reshape(out), run.recorded, run.final, (words, *run.saved) if keep else ())

    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        words, *kept = upstream.saved
        spikes, weight = self._spikes(words, request), np.asarray(request.params[WEIGHT])
        g = upstream.outputs.reshape(-1, self.outs)
        by_params = {}
        if WEIGHT in wanted.params:
            by_entries = by_kept_weight(weight, g, None, spikes)
            sums = spikes.transposed_times(g) if by_entries is None else by_entries.T
            if sums is None:
                by_params[WEIGHT] = allocator.empty(weight.shape, self.step.dtype)
                self._multiply(g.T, spikes.dense(self.step.dtype), by_params[WEIGHT])
            else:
                by_params[WEIGHT] = np.ascontiguousarray(sums.T)
        if BIAS in wanted.params:
            by_params[BIAS] = upstream.outputs.sum(axis=1).sum(axis=0)
        by_spikes = self._by_spikes(request, g, weight).reshape(request.steps, *request.shape)
        of_neuron = Wanted(wanted.inputs, tuple(p for p in wanted.params if p in self.step.params), wanted.window)
        gradients = _neuron(self, Sink()).backward(
            request, Upstream(by_spikes, upstream.recorded, upstream.final, tuple(kept)), of_neuron
        )
        return Gradients(gradients.inputs, gradients.state, {**by_params, **gradients.params})

    def _by_spikes(self, request: Request, g: Any, weight: Any) -> Any:
        """The gradients by the spikes; where nobody reads them, zeros may stand in their place."""
        of_neuron = {name: request.params[name] for name in self.step.params}
        request = request._replace(params=of_neuron)
        some, other = _some_samples(request), min(1.0, time_if_pruned(weight, len(g)))
        if some is not None and self._few(self._where_read(some), g, other):
            bits = self._where_read(request)
            if self._few(bits, g, other):
                return dots.dots(by_rows(bits), g, weight.T)
        by_spikes = times_pruned(g, weight)
        if by_spikes is not None:
            return by_spikes
        by_spikes = allocator.empty((len(g), weight.shape[1]), self.step.dtype)
        self._multiply(g, weight, by_spikes)
        return by_spikes

    def _where_read(self, request: Request) -> Bits:
        """The neurons and steps at which the gradients by the spikes of a run are read, as bits."""
        return self._spikes(_reading(self).forward(request, keep=False).outputs, request).bits

    def _few(self, bits: Bits, g: Any, other: float) -> bool:
        """Whether those that are read take less time than all, which take the part ``other`` of a dense product's."""
        return dots.relative_time(len(g), bits.columns, g.shape[1], bits.rate) < sparse.COUNTED * other

    def _spikes(self, words: Any, request: Request) -> sparse.SparseSpikes:
        flat = words.reshape(-1, words.shape[-1]).view(np.uint64)
        return sparse.SparseSpikes(Bits(flat, request.shape[-1], count(flat), True), None)

    def _multiply(self, a: Any, b: Any, out: Any) -> None:
        self.product.multiply(*(self.product.matrices(x[None])[0] for x in (a, b, out)))


@Remembered
def _neuron(kernels: ProductBehind, sink: Sink) -> SequenceNumba:
    """The kernels of the neuron alone."""
    return SequenceNumba(kernels.step, sink)


@Remembered
def _reading(kernels: ProductBehind) -> SequenceNumba:
    """Kernels that say where the gradients by the spikes are read."""
    return SequenceNumba(reading(kernels.step), Packed())


def _some_samples(request: Request) -> Optional[Request]:
    """The same run for a few samples; None where that tells nothing about the others."""
    batch, few = request.shape[0], max(1, request.shape[0] // SAMPLED)
    if any(np.ndim(p) == len(request.shape) and len(p) > 1 for p in request.params.values()):
        return None  # a parameter has a value for each sample
    if few == batch:
        return request
    return request._replace(inputs=request.inputs[:, :few], state=[s[:few] for s in request.state])


def fits(shape: Tuple[int, ...], weight: Tuple[int, ...]) -> bool:
    """Whether a run of (time, batch, neurons) is worth these kernels with a weight of this shape, and can have them."""
    if len(shape) != 3 or len(weight) != 2 or weight[1] != shape[2]:
        return False
    return sparse.is_worth(math.prod(shape) * weight[0]) and weight[0] >= sparse.FEWEST


def gives_spikes(step: Step) -> bool:
    """Whether a step's output is zero or one."""
    return any(op.out == step.trace.output and op.word in ("spike", "astype") for op in step.trace.graph.ops)

"""The kernels of a network's step, in order, and the memory that they work on; ``layers.py`` adds layer after layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.layer import Layer, Params, Shape, layer_name
from spikecore.api.core.tree import flatten
from spikecore.api.functional.quantisers import FixedPoint
from spikecore.api.neurons.stepper import with_draws
from spikecore.kernels.elementwise import arrays_of
from spikecore.kernels.recurrence import WEIGHT, Recurrence
from spikecore.kernels.runtime.build import build_by_address
from spikecore.kernels.select import Terms, kernels_or_reason
from spikecore.kernels.streaming import layers_numba as numba_source
from spikecore.kernels.streaming.neurons_numba import SETTLING, arrays_of_neuron, neuron_source
from spikecore.kernels.streaming.quiet import quiet_box
from spikecore.kernels.streaming.signal import SOURCE, Signal


class NoKernel(Exception):
    """There is no kernel for one step of a layer; the message says why."""


@dataclass
class NeuronPart:
    """A neuron in a plan, or another layer with states.

    Args:
        path: the layer's dotted name.
        names: of its states.
        states: their values (batch, *neurons), which kernels write.
        spikes: what it gives.
        kernel, table: its kernel and what that works on.
        box: the quiet box of each state, in their order; None if no neuron may sleep.
        reached, awake: by block, the steps done, and how many neurons may fire by themselves.
        recurrent: whether the first state is what it gave last.
    """

    path: str
    names: Tuple[str, ...]
    states: List[Any]
    spikes: Signal
    kernel: Any
    table: Any
    box: Any
    reached: Any
    awake: Any
    recurrent: bool

    @property
    def sleeps(self) -> bool:
        """Whether blocks of neurons may skip steps, and so be behind the clock."""
        return self.box is not None

    def settle(self) -> None:
        """Bring the states of blocks that sleep up to the clock."""
        if self.sleeps:
            self.table[SETTLING] = 1
            self.kernel(self.table)
            self.table[SETTLING] = 0


@dataclass
class StreamPlan:
    """The kernels of a network's step, in order, with the memory that they work on.

    Args:
        engine: the engine whose arrays parameters are.
        batch: samples of each step.
    """

    engine: Any
    batch: int
    calls: List[Tuple[Any, Any]] = field(default_factory=list)  # C functions and tables
    neurons: List[NeuronPart] = field(default_factory=list)
    signals: List[Signal] = field(default_factory=list)
    held: List[Any] = field(default_factory=list)  # arrays whose addresses are in tables
    clock: Any = field(default_factory=lambda: np.zeros(1, np.int64))

    # ---- memory ----

    def signal(self, shape: Shape, idle: Optional[Any] = None) -> Signal:
        """A new signal for samples of ``shape``; ``idle`` is one sample, or all."""
        whole = (self.batch, *shape)
        self.signals.append(Signal(whole, self.engine.dtype, None if idle is None else np.broadcast_to(idle, whole)))
        return self.signals[-1]

    def address(self, array: Any) -> int:
        """Address of a copy of an array, one without gaps in the engine's dtype."""
        self.held.append(np.array(array, self.engine.dtype, order="C"))
        return int(self.held[-1].ctypes.data)

    def integers(self, count: int) -> int:
        """Address of ``count`` new integers, all zero."""
        self.held.append(np.zeros(count, np.int64))
        return int(self.held[-1].ctypes.data)

    def call(self, before: str, source: str, table: Sequence[int]) -> Tuple[Any, Any]:
        """Add a kernel; returns it, and its table as an array."""
        kernel = build_by_address(SOURCE + before, source.lstrip(), "layer", self.engine.dtype)
        self.calls.append((kernel, np.array(table, np.int64)))
        return self.calls[-1]

    # ---- kernels ----

    def linear(self, weight: Any, bias: Optional[Any], given: Signal, to: Signal) -> None:
        """Add a kernel for a product with a weight (outs, ins)."""
        outs, ins = weight.shape
        shift = np.zeros(outs) if bias is None else bias
        arrays = self.address(weight.T), self.address(shift)
        self.call(numba_source.PRODUCT, numba_source.LINEAR, (given.listed(), to.address, *arrays, ins, outs))

    def affine(self, given: Signal, *parts: Any) -> Signal:
        """Add a kernel for (x - shift) scale weight + bias, each for one sample; returns the signal that it gives."""
        whole = [np.broadcast_to(part, given.value.shape).astype(self.engine.dtype) for part in parts]
        shift, scale, weight, bias = whole
        to = self.signal(given.shape, (given.idle - shift) * scale * weight + bias)
        self.call("", numba_source.AFFINE, (given.address, to.address, *map(self.address, whole)))
        return to

    def rounded(self, given: Signal, grid: FixedPoint) -> Signal:
        """Add a kernel that rounds to a grid; returns the signal that it gives."""
        to, (lowest, highest) = self.signal(given.shape, grid.apply(self.engine, given.idle)), grid.limits
        numbers = self.address([2.0**grid.fraction, lowest, highest, 2.0**-grid.fraction])
        self.call("", numba_source.ROUNDED, (given.address, to.address, numbers))
        return to

    def sum(self, first: Signal, second: Signal) -> Signal:
        """Add a kernel for the sum of two signals; returns the sum."""
        to = self.signal(first.shape, first.idle + second.idle)
        self.call("", numba_source.SUM, (first.address, to.address, second.address))
        return to

    def neuron(self, layer: Any, params: Params, path: str, given: Signal) -> Signal:
        """Add a neuron's step, and before it the product of a dense recurrence; returns its spikes.

        Raises:
            NoKernel: the neuron has none.
        """
        spelled, where = getattr(layer, "recurrent", layer), named(path, layer)
        if not spelled.scans or spelled.projects:
            raise NoKernel(f"{where} computes more than a step from its input")
        shape, whole, dtype = given.shape, given.value.shape, self.engine.dtype
        prepared = spelled.prepare(self.engine, params)
        rest = with_draws(self.engine, spelled, spelled.rest(self.engine, prepared, np.zeros(whole, dtype)), path)
        flat = flatten(prepared)
        kernels = kernels_or_reason(Terms(self.engine.fused, dtype), spelled, flat, rest, (1, *whole))
        if isinstance(kernels, str):
            raise NoKernel(f"{where}: {kernels}")
        step, fed = kernels.step, isinstance(kernels, Recurrence)
        states = [np.array(rest[s], dtype, order="C") for s in step.states]
        spikes = self.signal(shape)
        copies = (np.array(value, dtype, ndmin=1) for value in arrays_of(step, flat, whole))
        params_of = dict(zip(step.trace.params, copies))
        arrays = {**{f"p_{p}": value for p, value in params_of.items()}, "constants": step.constant_array}
        arrays.update({f"s_{s}": array for s, array in zip(step.trace.states, states)})
        box = None
        if fed:
            back = self.signal(shape)
            self.linear(flat[WEIGHT], None, spikes, back)
            arrays["fed"] = back.value
        else:
            box = self.box(step, params_of, flat, given.idle)
        if box is not None:
            arrays.update({f"{end}_{s}": ends[i] for s, ends in box.items() for i, end in enumerate(("lo", "hi"))})
        reached, awake = np.zeros(len(spikes.touched), np.int64), np.ones(len(spikes.touched), np.int64)
        self.held += [*arrays.values(), reached, awake]
        head = [given.address, spikes.address, math.prod(whole), len(reached), 0]
        head += [int(array.ctypes.data) for array in (self.clock, reached, awake)]
        names = arrays_of_neuron(step, fed, box is not None)
        table = [*head, *(int(arrays[name].ctypes.data) for name in names)]
        kernel, table = self.call("", neuron_source(step, fed, box is not None), table)
        self.neurons.append(NeuronPart(path, step.states, states, spikes, kernel, table, box, reached, awake, fed))
        return spikes

    def count_pool(self, path: str, given: Signal, to: Signal, table: Sequence[int]) -> None:
        """Add a maximum over windows of the counts so far; ``table``: what the kernels of pooling need."""
        dtype, none = self.engine.dtype, np.zeros(0, np.int64)
        states = [np.zeros(signal.value.shape, dtype) for signal in (given, to)]
        addresses = [int(state.ctypes.data) for state in states]
        kernel, whole = self.call(numba_source.POOLED, numba_source.COUNT_POOL, (*table, *addresses))
        self.neurons.append(NeuronPart(path, ("count", "most"), states, to, kernel, whole, None, none, none, False))

    def box(self, step: Any, params: Dict[str, Any], flat: Dict[str, Any], idle: Any) -> Any:
        """The quiet box of a neuron's states, as arrays by state; None where it has none."""
        thresholds = [value for name, value in flat.items() if name.rpartition(".")[2] == "threshold"]
        if len(thresholds) != 1:
            return None
        threshold = np.broadcast_to(np.asarray(thresholds[0], step.dtype), idle.shape)
        return quiet_box(step, params, threshold.reshape(-1), idle.reshape(-1))


def named(path: str, layer: Layer) -> str:
    """A layer in messages."""
    return f"layer {path} ({layer_name(layer)})" if path else layer_name(layer)

"""From a network to the kernels of its step: which layers there are kernels for, and what these work on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.layer import EMPTY, Layer, Params, Tree, layer_name, shapes_of
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.api.layers.containers import Residual, Sequential
from spikecore.api.layers.linear import Dropout, Flatten, GradedSpikes, Linear
from spikecore.api.layers.normalisation import BatchNorm1d, BatchNorm2d
from spikecore.api.layers.spatial import AvgPool1d, AvgPool2d, Conv1d, Conv2d, MaxPool1d, MaxPool2d
from spikecore.api.neurons.recurrent import OneToOne
from spikecore.api.neurons.stepper import Stepper
from spikecore.kernels.recurrence import WEIGHT, Recurrence
from spikecore.kernels.runtime.build import build_by_address
from spikecore.kernels.select import Terms, kernels_or_reason
from spikecore.kernels.sequence import arrays_of
from spikecore.kernels.sizes import NO_NUMBA, has_numba
from spikecore.kernels.streaming import layers_numba as numba_source
from spikecore.kernels.streaming.neurons_numba import arrays_of_neuron, neuron_source
from spikecore.kernels.streaming.signal import SOURCE, Signal

Shape = Tuple[int, ...]


class NoKernel(Exception):
    """There is no kernel for one step of a layer; the message says why."""


@dataclass
class NeuronPart:
    """A neuron in a plan.

    Args:
        path: the layer's dotted name.
        names: of its states.
        states: their values (batch, *neurons), which kernels write.
        spikes: what it gives.
        table: of its kernel.
        sleeps: whether blocks of it may be behind the clock.
        reached, awake: by block, the steps done and whether it may not sleep.
    """

    path: str
    names: Tuple[str, ...]
    states: List[Any]
    spikes: Signal
    table: Any
    sleeps: bool
    reached: Any
    awake: Any
    recurrent: bool


@dataclass
class Plan:
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
        """Where an array is, as one without gaps in the engine's dtype that is kept."""
        self.held.append(np.ascontiguousarray(array, array.dtype if array.dtype == np.int64 else self.engine.dtype))
        return int(self.held[-1].ctypes.data)

    def call(self, before: str, source: str, table: Sequence[int]) -> Any:
        """Add a kernel; returns its table as an array."""
        kernel = build_by_address(SOURCE + before, source.lstrip(), "layer", self.engine.dtype)
        self.calls.append((kernel, np.array(table, np.int64)))
        return self.calls[-1][1]

    # ---- layers ----

    def add(self, layer: Layer, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
        """Add the kernels of a layer that reads ``given``, samples of ``shape``; returns what it writes.

        Raises:
            NoKernel: there is none for the layer.
        """
        kind = type(layer)
        if isinstance(layer, Stepper):
            return self.neuron(layer, params, path, shape, given)
        if kind not in LAYERS:
            raise NoKernel(f"{_named(path, layer)} has no kernel for a single step")
        for name, weight in flatten(params).items():
            if not np.isfinite(weight).all():
                raise NoKernel(f"{_named(path, layer)}: {name} is not finite")
        return LAYERS[kind](self, layer, params, buffers, path, shape, given)

    def product(self, layer: Any, params: Params, shape: Shape, given: Signal) -> Signal:
        """The signal of a layer that adds up what its inputs that are not zero contribute."""
        out = shapes_of(layer, shape).shape
        return self.signal(out, np.zeros(out) if "bias" not in params else _along(params.bias, out))

    def linear(self, weight: Any, bias: Optional[Any], given: Signal, to: Signal) -> None:
        """Add a product with a weight (outs, ins)."""
        outs, ins = weight.shape
        shift = np.zeros(outs) if bias is None else bias
        arrays = self.address(weight.T), self.address(shift)
        self.call(numba_source.PRODUCT, numba_source.LINEAR, (given.listed(), to.address, *arrays, ins, outs))

    def affine(self, given: Signal, shape: Shape, *parts: Any) -> Signal:
        """Add (x - shift) scale weight + bias."""
        whole = [np.broadcast_to(part, (self.batch, *shape)).astype(self.engine.dtype) for part in parts]
        shift, scale, weight, bias = whole
        to = self.signal(shape, (given.idle.reshape(shift.shape) - shift) * scale * weight + bias)
        self.call("", numba_source.AFFINE, (given.address, to.address, *map(self.address, whole)))
        return to

    def neuron(self, layer: Any, params: Params, path: str, shape: Shape, given: Signal) -> Signal:
        """Add a neuron's step, and before it the product of a dense recurrence."""
        spelled, where = getattr(layer, "recurrent", layer), _named(path, layer)
        if not spelled.scans or type(spelled).project is not Stepper.project:
            raise NoKernel(f"{where} computes more than a step from its input")
        whole, dtype = (self.batch, *shape), self.engine.dtype
        prepared = spelled.prepare(self.engine, params)
        rest = spelled.rest(self.engine, prepared, np.zeros(whole, dtype))
        flat = flatten(prepared)
        kernels = kernels_or_reason(Terms(self.engine.fused, dtype), spelled, flat, rest, (1, *whole))
        if isinstance(kernels, str):
            raise NoKernel(f"{where}: {kernels}")
        step, fed = kernels.step, isinstance(kernels, Recurrence)
        states = [np.array(rest[s], dtype) for s in step.states]
        spikes, sleeps, behind = self.signal(shape), False, []
        blocks = len(spikes.touched)
        if fed:
            back = self.signal(shape)
            self.linear(flat[WEIGHT], None, spikes, back)
            behind.append(back.value)
        values = map(np.atleast_1d, arrays_of(step, flat, whole))
        named = {**{f"p_{p}": v for p, v in zip(step.trace.params, values)}, "constants": step.constant_array}
        named.update({f"s_{s}": v for s, v in zip(step.trace.states, states)}, fed=behind[0] if behind else None)
        reached, awake = np.zeros(blocks, np.int64), np.ones(blocks, np.int64)
        self.held += [*named.values(), reached, awake]
        head = [given.address, spikes.address, math.prod(whole), blocks, 0]
        head += [int(a.ctypes.data) for a in (self.clock, reached, awake)]
        arrays = [int(named[name].ctypes.data) for name in arrays_of_neuron(step, fed, sleeps)]
        table = self.call("", neuron_source(step, fed, sleeps), [*head, *arrays])
        part = NeuronPart(path, step.states, states, spikes, table, sleeps, reached, awake, fed)
        self.neurons.append(part)
        return spikes


def _named(path: str, layer: Layer) -> str:
    return f"layer {path} ({layer_name(layer)})" if path else layer_name(layer)


def _along(values: Any, shape: Shape) -> Any:
    """One value per channel (the first axis of a sample), for all of a sample."""
    return np.broadcast_to(np.reshape(values, (-1,) + (1,) * (len(shape) - 1)), shape)


# ---- one function for each kind of layer ---------------------------------------------------------------------------

Adder = Callable[..., Signal]


def _sequential(
    plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal
) -> Signal:
    for name, child in layer.children():
        below = f"{path}.{name}" if path else name
        given = plan.add(child, params[name], buffers.get(name, EMPTY), below, shape, given)
        shape = shapes_of(child, shape).shape
    return given


def _residual(plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
    ends = {"shortcut": given}
    for name, child in layer.children():
        below = f"{path}.{name}" if path else name
        ends[name] = plan.add(child, params[name], buffers.get(name, EMPTY), below, shape, given)
    first, second = ends["shortcut"], ends["body"]
    out = shapes_of(layer, shape).shape
    whole = (plan.batch, *out)
    to = plan.signal(out, first.idle.reshape(whole) + second.idle.reshape(whole))
    plan.call("", numba_source.SUM, (first.address, to.address, second.address))
    return to


def _linear(plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
    to = plan.product(layer, params, shape, given)
    plan.linear(*layer.weight_and_bias(params), given, to)
    return to


def _conv(plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
    to = plan.product(layer, params, shape, given)
    *_, rows, columns = (1, *to.value.shape[2:])
    weight, groups = params.weight, layer.groups
    filters, of_group, *kernel = weight.shape
    tall, wide = (1, *kernel)[-2:]
    by_group = weight.reshape(groups, filters // groups, of_group, tall, wide)
    ordered = by_group.transpose(0, 2, 3, 1, 4)  # so that channels of all groups follow one another
    bias = params.bias if layer.bias else np.zeros(filters)
    sizes = *_two((shape[0], *shape[1:]), 1), filters, rows, columns
    option = *_pair(kernel, 1), *_pair(layer.stride, 1), *_pair(layer.padding, 0), *_pair(layer.dilation, 1)
    arrays = plan.address(ordered), plan.address(bias)
    table = given.listed(), to.address, *arrays, *sizes, *option, groups
    plan.call(numba_source.PRODUCT, numba_source.CONV, table)
    return to


def _pool(plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
    to = plan.product(layer, params, shape, given)
    maximum = int(isinstance(layer, (MaxPool1d, MaxPool2d)))
    sizes = *_pair(shape[1:], 1), *_pair(to.value.shape[2:], 1)
    option = *_pair(layer.kernel_size, 1), *_pair(layer.stride, 1), *_pair(layer.padding, 0)
    plan.call(numba_source.POOLED, numba_source.POOL, (given.listed(), to.address, maximum, *sizes, *option))
    return to


def _batch_norm(
    plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal
) -> Signal:
    scale = 1.0 / np.sqrt(buffers.running_var + np.asarray(layer.eps, plan.engine.dtype))
    parts = buffers.running_mean, scale, params.get("weight", np.ones(1)), params.get("bias", np.zeros(1))
    return plan.affine(given, shape, *(_along(part, shape) for part in parts))


def _graded(plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
    return plan.affine(given, shape, 0.0, _along(params.weights, shape), 1.0, 0.0)


def _one_to_one(
    plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal
) -> Signal:
    return plan.affine(given, shape, 0.0, layer.prepare(plan.engine, params).V, 1.0, 0.0)


def _same(plan: Plan, layer: Any, params: Params, buffers: Tree, path: str, shape: Shape, given: Signal) -> Signal:
    return given


def _pair(sizes: Sequence[int], first: int) -> Tuple[int, int]:
    """Extents of two space axes; a map of one axis is one row."""
    return (first, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _two(shape: Shape, first: int) -> Tuple[int, ...]:
    return (shape[0], *_pair(shape[1:], first))


LAYERS: Dict[type, Adder] = {
    Sequential: _sequential,
    Residual: _residual,
    Linear: _linear,
    **{kind: _conv for kind in (Conv1d, Conv2d)},
    **{kind: _pool for kind in (MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d)},
    **{kind: _batch_norm for kind in (BatchNorm1d, BatchNorm2d)},
    GradedSpikes: _graded,
    OneToOne: _one_to_one,
    **{kind: _same for kind in (Dropout, Flatten)},
}


# ---- a whole network -----------------------------------------------------------------------------------------------


def plan_of(
    network: Layer, engine: Any, params: Params, buffers: Tree, shape: Shape, batch: int
) -> Tuple[Plan, Signal, Signal]:
    """The kernels of a network's step, the signal that it reads and the one that it gives.

    Args:
        network: the layer.
        engine: the NumPy engine.
        params, buffers: the network's, as NumPy arrays; they are copied.
        shape: of one sample.
        batch: samples of each step.

    Raises:
        NoKernel: a layer has none.
    """
    if not has_numba():
        raise NoKernel(NO_NUMBA)
    plan = Plan(engine, batch)
    first = plan.signal(shape)
    copies = (map_leaves(lambda a: np.array(a, engine.dtype), tree) for tree in (params, buffers))
    return plan, first, plan.add(network, *copies, "", shape, first)

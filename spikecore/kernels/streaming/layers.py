"""From a network to the kernels of its step: one function for each kind of layer that has them.

By kind of layer and not by word, so that a layer of several words, such as a normalisation, is one pass over memory.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.api.core.layer import EMPTY, Layer, Params, Shape, Tree, computes_as, layer_name, shapes_of
from spikecore.api.core.tree import flatten
from spikecore.api.layers.adaptive_pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    GlobalAvgPool,
)
from spikecore.api.layers.containers import Container, flow
from spikecore.api.layers.count_pool import CountMaxPool1d, CountMaxPool2d
from spikecore.api.layers.linear import Dropout, Flatten, GradedSpikes, Identity, Linear
from spikecore.api.layers.merges import Merge, Sum
from spikecore.api.layers.normalisation import BatchNorm1d, BatchNorm2d, BatchNorm3d, Standardize
from spikecore.api.layers.quantized import Quantized
from spikecore.api.layers.spatial import AvgPool1d, AvgPool2d, Conv1d, Conv2d, MaxPool1d, MaxPool2d
from spikecore.api.layers.temporal_normalisation import ThresholdDependentBatchNorm1d, ThresholdDependentBatchNorm2d
from spikecore.api.neurons.recurrent import OneToOne
from spikecore.api.neurons.stepper import Stepper
from spikecore.kernels.sizes import has_numba, no_numba
from spikecore.kernels.streaming.layers_numba import CONV, POOL, POOLED, PRODUCT
from spikecore.kernels.streaming.plan import NoKernel, StreamPlan, named
from spikecore.kernels.streaming.signal import Signal


def plan_of(
    network: Layer, engine: Any, params: Params, buffers: Tree, shape: Shape, batch: int
) -> Tuple[StreamPlan, Signal, Signal]:
    """The kernels of a network's step, the signal that it reads and the one that it gives.

    Args:
        network: the layer.
        engine: the NumPy engine.
        params, buffers: the network's, as arrays of the engine; they are copied.
        shape: of one sample.
        batch: samples of each step.

    Raises:
        NoKernel: a layer has none.
    """
    if not has_numba():
        raise NoKernel(no_numba())
    plan = StreamPlan(engine, batch)
    first = plan.signal(shape)
    return plan, first, add(plan, network, params, buffers, "", first)


def add(plan: StreamPlan, layer: Layer, params: Params, buffers: Tree, path: str, given: Signal) -> Signal:
    """Add the kernels of a layer, named ``path``, that reads ``given``; returns what it gives.

    Raises:
        NoKernel: there is none for the layer.
    """
    if isinstance(layer, Stepper):
        return plan.neuron(layer, params, path, given)
    if isinstance(layer, Container) and computes_as(layer, (Container,)):

        def through(name: str, child: Layer, given: Signal) -> Signal:
            below = f"{path}.{name}" if path else name
            return add(plan, child, params[name], buffers.get(name, EMPTY), below, given)

        def merged(merge: Merge, signals: List[Signal], names: Tuple[str, ...]) -> Signal:
            if type(merge) is not Sum:
                raise NoKernel(f"{named(path, layer)} joins by {merge!r}, which has no kernel for a single step")
            return reduce(plan.sum, signals)

        return flow(layer.flow_nodes, given, through, merged)
    if type(layer) in (CountMaxPool1d, CountMaxPool2d):
        return _count_pool(plan, layer, path, given)
    if type(layer) not in ADDERS:  # a subclass may compute something else
        raise NoKernel(f"{named(path, layer)} has no kernel for a single step")
    for name, weight in flatten(params).items():
        if not np.isfinite(weight).all():  # times zero it is no zero: no input may be left out
            raise NoKernel(f"{named(path, layer)}: {name} is not finite")
    return ADDERS[type(layer)](plan, layer, params, buffers, given)


def _linear(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    to = plan.signal((layer.out_features,), params.get("bias"))
    weight, bias = layer.weight_and_bias(params)
    plan.linear(weight, bias, given, to)
    return to


def _conv(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    out, weight, groups = layer.out_shape(given.shape), params.weight, layer.groups
    bias = params.bias if layer.bias else np.zeros(len(weight))
    to = plan.signal(out, _along(bias, out))
    filters, of_group, *kernel = weight.shape
    tall, wide = _two(kernel, 1)
    members, places = filters // groups, math.prod(out[1:])
    by_group = weight.reshape(groups, members, of_group, tall, wide)[..., ::-1]
    arrays = (
        plan.address(by_group.transpose(0, 2, 3, 4, 1)),
        plan.address(bias),
        plan.address(np.zeros(places * filters)),
    )
    lists = plan.integers(places), plan.integers(places)
    sizes = *_two(given.shape[1:], 1), filters, *_two(out[1:], 1), tall, wide
    option = *_two(layer.stride, 1), *_two(layer.padding, 0), *_two(layer.dilation, 1)
    numbers = *sizes, *option, math.prod(given.shape), members, of_group
    plan.call(PRODUCT, CONV, (given.listed(), to.address, *arrays, *lists, *numbers))
    return to


def _pool(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    sizes = (layer.kernel_size, layer.stride, layer.padding)
    return _pooled(plan, layer.word == "max_pool", given, layer.out_shape(given.shape), *sizes)


def _adaptive_pool(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    out, regular = layer.out_shape(given.shape), layer.regular(given.shape[1:])
    if regular is None:
        raise NoKernel(f"{layer!r} of maps of {given.shape[1:]} has windows of several sizes, which have no kernel")
    kernel, stride = regular
    return _pooled(plan, layer.word == "max_pool", given, out, kernel, stride, (0,) * layer.space)


def _global_pool(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    channels, *space = given.shape
    if len(space) > 2:
        raise NoKernel(f"{layer!r} of maps with {len(space)} axes of space has no kernel")
    ones = (1,) * len(space)
    means = _pooled(plan, False, given, (channels, *ones), tuple(space), ones, (0,) * len(space))
    return means.reshaped((channels,))


def _pooled(
    plan: StreamPlan, maximum: bool, given: Signal, out: Shape, kernel: Shape, stride: Shape, padding: Shape
) -> Signal:
    to = plan.signal(out)
    plan.call(POOLED, POOL, _windows(maximum, given, to, kernel, stride, padding))
    return to


def _count_pool(plan: StreamPlan, layer: Any, path: str, given: Signal) -> Signal:
    to = plan.signal(shapes_of(layer, given.shape).shape)
    plan.count_pool(path, given, to, _windows(True, given, to, layer.kernel_size, layer.stride, layer.padding))
    return to


def _windows(maximum: bool, given: Signal, to: Signal, kernel: Shape, stride: Shape, padding: Shape) -> Tuple[int, ...]:
    """The table of a kernel that pools."""
    sizes = *_two(given.shape[1:], 1), *_two(to.shape[1:], 1)
    return given.listed(), to.address, int(maximum), *sizes, *_two(kernel, 1), *_two(stride, 1), *_two(padding, 0)


def _batch_norm(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    scale = 1.0 / np.sqrt(buffers.running_var + np.asarray(layer.eps, plan.engine.dtype))
    parts = buffers.running_mean, scale, params.get("weight", np.ones(1)), params.get("bias", np.zeros(1))
    return plan.affine(given, *(_along(part, given.shape) for part in parts))


def _standardize(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    parts = buffers.mean, layer.scale(plan.engine.xp, buffers), np.ones(1), np.zeros(1)
    return plan.affine(given, *(_along(part, given.shape) for part in parts))


def _graded(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    return plan.affine(given, 0.0, _along(params.weights, given.shape), 1.0, 0.0)


def _one_to_one(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    return plan.affine(given, 0.0, layer.prepare(plan.engine, params).V, 1.0, 0.0)


def _quantized(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    inner = layer.layer
    if type(inner) not in ADDERS:
        raise NoKernel(f"{layer_name(inner)}, also with few bits, has no kernel for a single step")
    given = given if layer.input_quant is None else plan.rounded(given, layer.input_quant)
    to = ADDERS[type(inner)](plan, inner, layer.prepare(plan.engine, params), buffers, given)
    return to if layer.output_quant is None else plan.rounded(to, layer.output_quant)


def _as_it_is(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    return given  # a Dropout drops nothing except in training


def _flatten(plan: StreamPlan, layer: Any, params: Params, buffers: Tree, given: Signal) -> Signal:
    return given.reshaped((math.prod(given.shape),))


def _along(values: Any, shape: Shape) -> Any:
    """One value per channel (the first axis of a sample), for all of a sample."""
    return np.broadcast_to(np.reshape(values, (-1,) + (1,) * (len(shape) - 1)), shape)


def _two(sizes: Sequence[int], first: int) -> Tuple[int, int]:
    """Sizes along two axes of space: with one axis, a map is a single row."""
    return (first, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


ADDERS: Dict[type, Callable[..., Signal]] = {
    Linear: _linear,
    **{kind: _conv for kind in (Conv1d, Conv2d)},
    **{kind: _pool for kind in (MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d)},
    **{kind: _adaptive_pool for kind in (AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d)},
    GlobalAvgPool: _global_pool,
    **{kind: _batch_norm for kind in (BatchNorm1d, BatchNorm2d, BatchNorm3d)},
    **{kind: _batch_norm for kind in (ThresholdDependentBatchNorm1d, ThresholdDependentBatchNorm2d)},
    Standardize: _standardize,
    GradedSpikes: _graded,
    OneToOne: _one_to_one,
    Quantized: _quantized,
    **{kind: _as_it_is for kind in (Dropout, Identity)},
    Flatten: _flatten,
}

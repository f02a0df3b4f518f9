"""Needs of a network on a chip, layer by layer: neurons, states, inputs and targets of a neuron, weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from spikecore import Dropout, Flatten, Identity, Linear, Model, OneToOne, Permute, Reshape
from spikecore.api.core.host import host
from spikecore.api.core.layer import Shape, layer_name, shapes_of
from spikecore.api.core.tree import flatten
from spikecore.api.layers.containers import Container
from spikecore.api.layers.nodes import flow
from spikecore.api.layers.spatial import CONVOLUTIONS
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.operations import fan_in, fan_out, operations
from spikecore.api.training.visitor import WHOLE, connection_of, unquantized, weights_of
from spikecore.base import Layer, Params

FREE = (Flatten, Reshape, Permute, Identity, Dropout)  # they only say which number is where, or are absent when used


@dataclass(frozen=True)
class LayerDemand:
    """The needs of one layer. A recurrent neuron has a row of its own for its connection; a quantised layer is the one
    inside, with the rounded weights.

    Args:
        name: dotted name of the layer.
        kind: its class.
        layer: the layer.
        shape, out: shape of one sample of its input and output.
        role: "neurons", "connection", "container" or "other".
        neurons: how many, 0 for other layers.
        states: numbers that each neuron keeps from step to step.
        fan_in: most inputs of one neuron, through weights that are not zero; of a neuron's row, over all connections
            that lead to it.
        fan_out: most targets of one input; of a neuron's row, of one neuron.
        weights: weights that are not zero, each kernel counted once.
        synapses: pairs of an input and a neuron that a weight connects.
        stored: numbers of all parameters, zeros and biases included.
        operations: products of a weight and an input in one step if no input is zero.
        values: the weights as an array whose first axis is that of outputs; None without.
    """

    name: str
    kind: str
    layer: Layer
    shape: Shape
    out: Shape
    role: str
    neurons: int = 0
    states: int = 0
    fan_in: int = 0
    fan_out: int = 0
    weights: int = 0
    synapses: int = 0
    stored: int = 0
    operations: int = 0
    values: Any = None


def needs_of(model: Model) -> Tuple[LayerDemand, ...]:
    """The needs of each layer of a model, in the order in which the layers run.

    A connection belongs to the next neurons in this order, which is exact for layers in a row.
    """
    assert model.input_shape is not None
    found: List[LayerDemand] = []
    _walk(model.network, weights_of(model, host())[0], model.input_shape, "", found)
    return tuple(_joined(found))


def _walk(layer: Layer, params: Any, shape: Shape, name: str, found: List[LayerDemand]) -> Shape:
    """Note a layer and all inside it; return the shape of its output."""
    out = shapes_of(layer, shape).shape
    layer, params = unquantized(host(), layer, params)
    basis = LayerDemand(name or WHOLE, layer_name(layer), layer, shape, out, "other")
    if isinstance(layer, Container):
        if not layer.in_a_row:
            found.append(replace(basis, role="container"))

        def through(key: str, child: Layer, shape: Shape) -> Shape:
            return _walk(child, params[key], shape, f"{name}.{key}" if name else key, found)

        flow(layer.flow_nodes, shape, through, lambda merge, given, names: merge.shape(given, names))
        return out
    if isinstance(layer, FREE):
        return out
    arrays = flatten(params)
    stored = sum(value.size for value in arrays.values())
    if not isinstance(layer, Stepper):
        found.append(replace(_connection(basis, params), stored=stored))
        return out
    inner = connection_of(layer)
    if inner is not None:
        back = params.connection if "connection" in params else Params()
        inner, back = unquantized(host(), inner, back)
        basis_inner = LayerDemand(f"{basis.name}.connection", layer_name(inner), inner, out, out, "other")
        within = sum(value.size for value in flatten(back).values())
        found.append(replace(_connection(basis_inner, back), stored=within))
        stored -= within
    weights = [value for key, value in arrays.items() if "weight" in key and inner is None]
    found.append(
        replace(
            basis,
            role="neurons",
            neurons=math.prod(out),
            states=len(layer.state) - (inner is not None),  # of which one is the last output
            stored=stored,
            weights=sum(int((value != 0).sum()) for value in weights),
        )
    )
    return out


def _connection(need: LayerDemand, params: Any) -> LayerDemand:
    """A row of demands with those of the layer's weights added, if it has weights of a known kind."""
    layer = need.layer
    if isinstance(layer, OneToOne):
        count = math.prod(need.out)
        return replace(need, role="connection", fan_in=1, fan_out=1, weights=count, synapses=count, operations=count)
    if not isinstance(layer, (Linear, *KERNELS)):
        return replace(need, operations=operations(layer, need.shape))
    present = params.weight != 0
    into = fan_in(layer, present, need.shape)
    return replace(
        need,
        role="connection",
        fan_in=int(into.max()),
        fan_out=int(fan_out(layer, present, need.shape).max()),
        weights=int(present.sum()),
        synapses=int(into.sum()),
        operations=operations(layer, need.shape),
        values=params.weight if isinstance(layer, (Linear, *CONVOLUTIONS)) else np.moveaxis(params.weight, 1, 0),
    )


def _joined(found: List[LayerDemand]) -> List[LayerDemand]:
    """The rows of neurons with the inputs and targets that all their connections give them."""
    joined: List[LayerDemand] = []
    fan_in = 0
    for need in found:
        if need.role == "connection":
            fan_in += need.fan_in
        if need.role == "neurons":
            need, fan_in = replace(need, fan_in=fan_in), 0
        joined.append(need)
    back: Dict[str, int] = {need.name: need.fan_out for need in joined if need.name.endswith(".connection")}
    fan_out = 0
    for i in reversed(range(len(joined))):
        need = joined[i]
        if need.role == "neurons":
            joined[i] = replace(need, fan_out=fan_out + back.get(f"{need.name}.connection", 0))
            fan_out = 0
        elif need.role == "connection" and need.name not in back:
            fan_out += need.fan_out
    return joined


def levels_fit(values: Any, bits: int) -> bool:
    """Whether the weights of each output lie on whole multiples of one step that ``bits`` bits can count, with sign."""
    most = 2 ** (bits - 1)
    for row in np.asarray(values, dtype=float).reshape(len(values), -1):
        sizes = np.unique(np.abs(row[row != 0]))
        if not len(sizes):
            continue
        if len(sizes) > most or not math.isfinite(sizes[-1]):
            return False
        step = _common_step(sizes.tolist(), 0.5 * float(sizes[-1]) / most)
        counts = sizes / (sizes[-1] / round(sizes[-1] / step))
        if counts.max() > most or np.abs(counts - np.round(counts)).max() > 1e-3:
            return False
    return True


def _common_step(sizes: Sequence[float], least: float) -> float:
    """The largest number of which all sizes are multiples, by Euclid's algorithm; below ``least`` counts as zero."""
    step = sizes[-1]
    for size in sizes:
        while size > least:
            step, size = size, math.fmod(step, size)
            size = 0.0 if step - size < least else size  # a multiple that is rounded down
    return step

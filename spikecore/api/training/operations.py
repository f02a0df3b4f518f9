"""Operations of synapses, counted: products of weights and inputs of which none is zero.

A connection is linear in its input, so each input that is not zero causes as many products as weights lead away from
it, and that number is a derivative: of the sum of the outputs, by this input, where all weights are one or zero. The
rules of ``api/core/rules.py`` give it, so no index of a convolution is computed here.

Which layers are connections is a table of classes: a product of words may be one of parameters, a sum in neurons.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable, List, Optional, Tuple

from spikecore.api.core.host import host
from spikecore.api.core.layer import EMPTY, Layer, Params, Shape, shapes_of
from spikecore.api.layers.attention import HeadSum, PositionSum
from spikecore.api.layers.containers import Container, flow
from spikecore.api.layers.delays import DelayedConnection
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.merges import Merge
from spikecore.api.layers.quantized import Quantized
from spikecore.api.layers.spatial import CONVOLUTIONS
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.neurons.recurrent import OneToOne

SUMS = (HeadSum, PositionSum)
ONE_EACH = (OneToOne, *SUMS)  # layers with one operation for each input


def multiplied(a: Any, b: Any) -> int:
    """The multiplications of a product of matrices (time, batch, ..., rows, columns), in one step of a sample."""
    return math.prod(a.shape[2:]) * int(b.shape[-1])


def operations(network: Layer, shape: Shape) -> int:
    """The products of a weight or a factor and an input in one step of one sample, if no input is zero.

    Args:
        network: the layer.
        shape: shape of one sample.
    """
    network = _plain(network)
    if isinstance(network, (Linear, *KERNELS)):
        return int(fan_in(network, shapes_of(network, shape).params.weight, shape).sum())  # weights of one
    if not isinstance(network, Container):
        return math.prod(shape) if isinstance(network, ONE_EACH) else 0
    xp = host().xp
    counts: List[int] = []

    def through(name: str, child: Layer, shape: Shape) -> Shape:
        counts.append(operations(child, shape))
        return shapes_of(child, shape).shape

    def merged(merge: Merge, shapes: List[Shape], names: Tuple[str, ...]) -> Shape:
        ones = [xp.ones((1, 1, *one)) for one in shapes]
        counts.extend(multiplied(a, b) for a, b in merge.products(xp, ones, before=2))
        return merge.shape(shapes, names)

    flow(network.flow_nodes, shape, through, merged)
    return sum(counts)


def products_met(engine: Any, layer: Layer, params: Params, x: Any) -> Optional[Any]:
    """The number of products of a weight and an input that are both not zero, in each step.

    Args:
        engine: the engine of the arrays.
        layer, params: a layer and its parameters.
        x: its input (time, batch, *features).

    Returns:
        a NumPy array (time,); None for a layer whose connections are unknown.
    """
    layer = _plain(layer)
    active = (engine.to_numpy(x) != 0).sum(axis=1)
    if isinstance(layer, (Linear, *KERNELS)):
        active = active * fan_out(layer, engine.to_numpy(params.weight) != 0, active.shape[1:])
    elif not isinstance(layer, ONE_EACH):
        return None
    return active.reshape(len(active), -1).sum(axis=1)


def _plain(layer: Any) -> Any:
    """The connection without few bits and without delays, in which each weight is one."""
    layer = layer.layer if isinstance(layer, Quantized) else layer
    return layer.without_delays() if isinstance(layer, DelayedConnection) else layer


def fan_in(layer: Any, exists: Any, shape: Shape) -> Any:
    """The number of weights that lead to each output of a connection: its outputs, where all inputs are one.

    Args:
        layer: a linear layer or a convolution.
        exists: where there is a weight, a NumPy array.
        shape: shape of one sample of the input.
    """
    if isinstance(layer, Linear):
        return exists.sum(axis=1)
    ones = host().xp.ones((1, 1, layer.groups, *shape[1:]))
    return _added_up(layer, exists, "in_channels")(ones)[0, 0]


def fan_out(layer: Any, exists: Any, shape: Shape) -> Any:
    """The number of weights that lead away from each input of a connection: the derivative of the sum of its outputs by
    its input; arguments as for ``fan_in``.
    """
    if isinstance(layer, Linear):
        return exists.sum(axis=0)
    engine, outputs = host(), _added_up(layer, exists, "out_channels")
    return engine.value_and_grad(lambda x: (engine.xp.sum(outputs(x)), EMPTY), engine.xp.ones((1, 1, *shape)))[2][0, 0]


def _added_up(layer: Any, exists: Any, channels: str) -> Callable[[Any], Any]:
    """A convolution as a function of its input, with one channel in each group, for all weights of which it counts.

    Args:
        layer, exists: as for ``fan_in``.
        channels: which channels are added up, "in_channels" or "out_channels".
    """
    if isinstance(layer, CONVOLUTIONS) == (channels == "out_channels"):  # on the first axis are those of all groups
        weight = exists.reshape(layer.groups, -1, *exists.shape[1:]).sum(axis=1)
    else:
        weight = exists.sum(axis=1, keepdims=True)
    one = replace(layer, bias=False, weight_init=None, bias_init=None, **{channels: layer.groups})
    return lambda x: one.apply(host(), Params(weight=1.0 * weight), EMPTY, x, train=False, key=None)[0]

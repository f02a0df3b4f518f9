"""Connections synapse by synapse: products of presynaptic values and weights, summed over the synapses of a neuron.

    I[b, g, r, p] = sum_m  w[g, r, m]  z[b, g, m, p]        (+ bias)

for groups g, rows r (neurons, or filters of a group), synapses m of a neuron and positions p of a map. A dense layer
has one group and one position; the synapses of a convolution are the entries of its windows.
"""

from __future__ import annotations

import math
from typing import Any, Tuple

from spikecore.api.core.layer import Layer
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d, Conv3d

CONNECTIONS = (Linear, Conv1d, Conv2d, Conv3d)


def presynaptic(xp: Any, layer: Layer, z: Any) -> Any:
    """The inputs z (batch, *inputs) as (batch, groups, synapses, positions)."""
    if isinstance(layer, Linear):
        return xp.reshape(z, (z.shape[0], 1, z.shape[1], 1))
    assert isinstance(layer, (Conv1d, Conv2d, Conv3d))
    kernel: Any = layer.kernel_size
    windows = xp.patches(z, kernel, layer.stride, layer.padding, layer.dilation)
    synapses = layer.in_channels // layer.groups * math.prod(kernel)
    return xp.reshape(windows, (z.shape[0], layer.groups, synapses, -1))


def postsynaptic(xp: Any, layer: Layer, y: Any) -> Any:
    """Values per neuron (batch, *neurons) as (batch, groups, rows, positions)."""
    groups, rows = groups_and_rows(layer)
    return xp.reshape(y, (y.shape[0], groups, rows, -1))


def groups_and_rows(layer: Layer) -> Tuple[int, int]:
    """The number of groups, and of rows in each."""
    if isinstance(layer, Linear):
        return 1, layer.out_features
    assert isinstance(layer, (Conv1d, Conv2d, Conv3d))
    return layer.groups, layer.out_channels // layer.groups


def per_synapse(xp: Any, post: Any, pre: Any) -> Any:
    """The product of the neuron's and the input's value for every synapse: (batch, groups, rows, synapses, positions).

    Args:
        xp: the engine's words.
        post: values of the neurons (batch, groups, rows, positions).
        pre: values of the inputs (batch, groups, synapses, positions).
    """
    return xp.expand_dims(post, axis=3) * xp.expand_dims(pre, axis=2)


def summed_products(xp: Any, post: Any, pre: Any) -> Any:
    """These products, summed over samples and positions: (groups, rows, synapses). Arguments as for ``per_synapse``."""
    groups, rows = post.shape[1:3]
    left = xp.reshape(xp.permute_dims(post, (1, 2, 0, 3)), (groups, rows, -1))
    right = xp.reshape(xp.permute_dims(pre, (1, 0, 3, 2)), (groups, -1, pre.shape[2]))
    return xp.matmul(left, right)

"""Connections synapse by synapse: products of presynaptic values and weights, summed over the synapses of a neuron.

    I[b, g, r, p] = sum_m  w[g, r, m]  z[b, g, m, p]        (+ bias)

for groups g, rows r (neurons, or filters of a group), synapses m of a neuron and positions p of a map. A dense layer
has one group and one position; the synapses of a convolution are the entries of its windows.
"""

from __future__ import annotations

import math
from typing import Any

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
    rows = layer.out_features if isinstance(layer, Linear) else layer.out_channels  # type: ignore[attr-defined]
    groups = getattr(layer, "groups", 1)
    return xp.reshape(y, (y.shape[0], groups, rows // groups, -1))


def per_synapse(xp: Any, post: Any, pre: Any) -> Any:
    """The product of the neuron's and the input's value for every synapse: (batch, groups, rows, synapses, positions).

    Args:
        xp: the engine's words.
        post: values of the neurons (batch, groups, rows, positions).
        pre: values of the inputs (batch, groups, synapses, positions).
    """
    return xp.expand_dims(post, axis=3) * xp.expand_dims(pre, axis=2)

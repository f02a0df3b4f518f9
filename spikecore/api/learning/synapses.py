"""How weights meet inputs: each connection as a product of presynaptic values and weights, summed over synapses.

    I[b, g, r, p] = sum_m  w[g, r, m]  z[b, g, m, p]        (+ bias)

for groups g, rows r (neurons, or filters of a group), synapses m of a neuron and places p of a map. A dense layer has
one group and one place; a convolution lists the windows of its input.
"""

from __future__ import annotations

import math
from typing import Any

from spikecore.api.core.layer import Layer
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d

CONNECTIONS = (Linear, Conv1d, Conv2d)


def presynaptic(xp: Any, layer: Layer, z: Any) -> Any:
    """The inputs z (batch, *inputs) as (batch, groups, synapses, places)."""
    if isinstance(layer, Linear):
        return xp.reshape(z, (z.shape[0], 1, z.shape[1], 1))
    assert isinstance(layer, (Conv1d, Conv2d))
    kernel: Any = layer.kernel_size
    windows = xp.patches(z, kernel, layer.stride, layer.padding, layer.dilation)
    synapses = layer.in_channels // layer.groups * math.prod(kernel)
    return xp.reshape(windows, (z.shape[0], layer.groups, synapses, -1))


def postsynaptic(xp: Any, layer: Layer, y: Any) -> Any:
    """One value per neuron (batch, *neurons) as (batch, groups, rows, places)."""
    rows = layer.out_features if isinstance(layer, Linear) else layer.out_channels  # type: ignore[attr-defined]
    groups = getattr(layer, "groups", 1)
    return xp.reshape(y, (y.shape[0], groups, rows // groups, -1))


def per_synapse(xp: Any, post: Any, pre: Any) -> Any:
    """Values of the neurons (batch, groups, rows, places) times those of their inputs, for every synapse:
    (batch, groups, rows, synapses, places).
    """
    return xp.expand_dims(post, axis=3) * xp.expand_dims(pre, axis=2)

"""The torch module of a network that was read from NIR."""

from __future__ import annotations

from typing import Any, Dict

from torch import nn

from spikecore import Graph, OneToOne
from spikecore.api.core.layer import Shape, shapes_of
from spikecore.api.core.parameters import Learn, values_of
from spikecore.api.layers.nodes import INPUT
from spikecore.api.neurons.stepper import Stepper
from spikecore.engines.torch.nn.convert import neuron_to_module
from spikecore.engines.torch.nn.described import GraphModule
from spikecore.nir.imports import Network, loaded
from spikecore.nir.layers import FlattenAxes, SumPool2d
from spikecore.nir.modules import Scale
from spikecore.nn import SpikingNeuron, to_torch


def module_of(found: Network) -> nn.Module:
    """The module, its layers named as in the graph."""
    parts: Dict[str, Any] = {}
    shapes: Dict[str, Shape] = {INPUT: found.input_shape}
    for name, key, layer, source in _layers(found):
        parts[name] = part = _module(layer, found.params[key], shapes[source])
        shapes[name] = shapes_of(layer, shapes[source]).shape
    last = name if found.output and isinstance(part, SpikingNeuron) else None
    if last is not None:
        parts[last].output = True
    if isinstance(found.network, Graph):
        return GraphModule(found.network, parts, last)
    net = nn.Sequential()
    for name, part in parts.items():
        net.add_module(name, part)
    return net


def _layers(found: Network) -> Any:
    """Name, name of the parameters, layer, and one source, in order."""
    network: Any = found.network
    if isinstance(network, Graph):
        return [(name, name, layer, sources[0]) for name, layer, sources in network.nodes() if name]
    before = (INPUT, *found.names)
    return [(name, key, layer, before[int(key)]) for name, (key, layer) in zip(found.names, network.children())]


def _module(layer: Any, params: Any, shape: Shape) -> nn.Module:
    if isinstance(layer, OneToOne):
        learned = isinstance(layer.V, Learn)
        return Scale(params["V"] if learned else values_of(layer.V), learned)
    if isinstance(layer, SumPool2d):
        sizes: Any = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
        return nn.AvgPool2d(**sizes, divisor_override=1)
    if isinstance(layer, FlattenAxes):
        axes = len(shape)
        return nn.Flatten(1 + layer.start_dim % axes, 1 + layer.end_dim % axes)
    if isinstance(layer, Stepper):
        return neuron_to_module(layer, params)
    return to_torch(loaded(layer, params, shape, "numpy"))

"""Torch modules that ``spikecore.nn`` does not have: for any layer with a step, for scales, and for graphs."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import nn

from spikecore.api.core.layer import Layer, Params
from spikecore.api.core.tree import flatten, unflatten
from spikecore.api.neurons.stepper import Stepper
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.nir.graph import INPUT, Graph


class LayerModule(SpikingNeuron):
    """A torch module for a layer of ``spikecore`` that has a state. The module keeps the state.

    Args:
        layer: a neuron, a wrapper around a neuron, or a delay: e.g. ``spikecore.LI(beta=0.9)``.
        params: its parameters, as a tree of arrays; they become Parameters, with "_" for "." in their names.

    Call ``y = module(x)`` for one time step, or use ``snn.run`` for a sequence.
    """

    states: ClassVar[Tuple[str, ...]] = ()  # each instance sets its own

    def __init__(self, layer: Layer, params: Any) -> None:
        self.states = tuple(layer.state)  # type: ignore[misc]
        super().__init__(init_hidden=True)
        for name, value in list(self.named_buffers()):  # buffers of the base class, which the layer does not use
            self.register_buffer(name, value, persistent=False)
        self._neuron, self._like = layer, params
        self.scans = isinstance(layer, Stepper)  # type: ignore[misc]  # other layers run step by step
        for name, value in flatten(params).items():
            setattr(self, _plain(name), nn.Parameter(torch.as_tensor(np.array(value), dtype=torch.float32)))

    def _rebuild(self) -> None:
        """Do nothing: the layer has its own options, and does not depend on those of the module."""

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        wanted = getattr(torch, engine.dtype)
        flat = {name: getattr(self, _plain(name)).to(wanted) for name in flatten(self._like)}
        params: Params = unflatten(flat, self._like)
        return params

    def arrays(self) -> Any:
        """The parameters as a tree of NumPy arrays."""
        flat = {name: getattr(self, _plain(name)).detach().cpu().numpy() for name in flatten(self._like)}
        return unflatten(flat, self._like)

    def _projected(self, engine: Any, params: Params, x: Any) -> Any:
        return self._neuron.entering(engine, params, x)

    def forward(self, x: Any) -> Any:
        return self._advance(x, *(None for _ in self.states))

    def extra_repr(self) -> str:
        """The layer."""
        return repr(self._neuron)


class Scale(nn.Module):
    """y = scale * x.

    Args:
        scale: an array that broadcasts to one sample.
        learned: make ``scale`` a Parameter instead of a buffer.
    """

    def __init__(self, scale: Any, learned: bool = False) -> None:
        super().__init__()
        value = torch.as_tensor(np.array(scale), dtype=torch.float32)
        if learned:
            self.scale = nn.Parameter(value)
        else:
            self.register_buffer("scale", value)

    def forward(self, x: Any) -> Any:
        return x * self.scale


class GraphModule(nn.Module):
    """``spikecore.nir.Graph`` for torch. The input of each module is the sum of the outputs of its sources.

    A call computes one time step.

    Args:
        graph: the graph that says which modules are connected.
        parts: the modules by the layers' names.
        last: name of the last neuron, if the graph returns this neuron's spikes and states; else None.
    """

    def __init__(self, graph: Graph, parts: Mapping[str, nn.Module], last: Optional[str] = None) -> None:
        super().__init__()
        self.last = last
        self.layers = nn.ModuleDict(parts)
        self.sources: Tuple[Tuple[str, Tuple[str, ...]], ...] = tuple(zip(graph.names, graph.sources))
        self.outputs = graph.outputs

    def forward(self, x: Any) -> Any:
        values: Dict[str, Any] = {INPUT: x}
        for name, sources in self.sources:
            values[name] = self.layers[name](_sum(values, sources))
            if name == self.last:
                return values[name]
        return _sum(values, self.outputs)


def _sum(values: Dict[str, Any], sources: Tuple[str, ...]) -> Any:
    total = values[sources[0]]
    for name in sources[1:]:
        total = total + values[name]
    return total


def _plain(name: str) -> str:
    return name.replace(".", "_")

"""Modules for what ``spikecore.nn`` has no module of its own: any layer with a step, scales, graphs."""

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
    """A layer of ``spikecore`` that runs over time, as a module that keeps its state.

    Args:
        layer: a neuron, a wrapper around one, a delay: e.g. ``spikecore.LI(beta=0.9)``.
        params: its parameters, as a tree of arrays; they become Parameters, named with "_" for ".".

    Called as ``y = module(x)`` for one time step, and by ``snn.run`` for a sequence.
    """

    states: ClassVar[Tuple[str, ...]] = ()  # an instance's own

    def __init__(self, layer: Layer, params: Any) -> None:
        self.states = tuple(layer.state)  # type: ignore[misc]
        super().__init__(init_hidden=True)
        for name, value in list(self.named_buffers()):  # the base's own, which the layer does not read
            self.register_buffer(name, value, persistent=False)
        self._neuron, self._like = layer, params
        self.scans = isinstance(layer, Stepper)  # type: ignore[misc]  # others step by step
        for name, value in flatten(params).items():
            setattr(self, _plain(name), nn.Parameter(torch.as_tensor(np.array(value), dtype=torch.float32)))

    def _rebuild(self) -> None:
        """The layer has its options; nothing of it is made from this module's."""

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        wanted = getattr(torch, engine.dtype)
        flat = {name: getattr(self, _plain(name)).to(wanted) for name in flatten(self._like)}
        made: Params = unflatten(flat, self._like)
        return made

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
        learned: as Parameter, else as buffer.
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
    """Modules that are each fed by the sum of some others: ``spikecore.nir.Graph`` for torch, one step a call.

    Args:
        graph: the wiring.
        parts: the modules by the layers' names.
        last: the neuron at the end, if it returns its states, which then are returned.
    """

    def __init__(self, graph: Graph, parts: Mapping[str, nn.Module], last: Optional[str] = None) -> None:
        super().__init__()
        self.last = last
        self.layers = nn.ModuleDict(parts)
        self.sources: Tuple[Tuple[str, Tuple[str, ...]], ...] = tuple(zip(graph.names, graph.sources))
        self.outputs = graph.outputs

    def forward(self, x: Any) -> Any:
        sent: Dict[str, Any] = {INPUT: x}
        for name, sources in self.sources:
            sent[name] = self.layers[name](_sum(sent, sources))
            if name == self.last:
                return sent[name]
        return _sum(sent, self.outputs)


def _sum(sent: Dict[str, Any], sources: Tuple[str, ...]) -> Any:
    total = sent[sources[0]]
    for name in sources[1:]:
        total = total + sent[name]
    return total


def _plain(name: str) -> str:
    return name.replace(".", "_")

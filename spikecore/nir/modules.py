"""Modules for what ``spikecore.nn`` has no module of its own: scales and graphs."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import nn

from spikecore.nir.graph import INPUT, Graph


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

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

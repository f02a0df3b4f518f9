"""Layers that torch has no module for, as modules for one time step: the layer itself computes, in torch's words."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
from torch import nn

from spikecore.api.core.layer import EMPTY, Layer, Params, Stateless
from spikecore.api.layers.containers import Container, flow, with_children
from spikecore.api.layers.merges import Merge
from spikecore.engines.torch.namespace import words
from spikecore.engines.torch.nn.engine import engine_for, working


class StatelessModule(nn.Module):
    """A layer without parameters and state as a module, the user's own included.

    Args:
        layer: the layer.
    """

    def __init__(self, layer: Stateless) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        x = working(x)
        engine = engine_for(x.device, x.dtype)
        y, _ = self.layer.apply(engine, Params(), EMPTY, x.unsqueeze(0), train=self.training, key=None)
        return y.squeeze(0)

    def extra_repr(self) -> str:
        """The layer."""
        return repr(self.layer)


class GraphModule(nn.Module):
    """Modules connected as a container of ``spikecore`` connects its layers. A call computes one time step.

    Args:
        layer: the container; its layers are not used.
        parts: the modules of its layers by name. Each is registered by this name, with "_" behind one that
            ``nn.Module`` has a use for.
        last: name of the last neuron, if a call returns its spikes and states; else None.
    """

    def __init__(self, layer: Container, parts: Mapping[str, nn.Module], last: Optional[str] = None) -> None:
        super().__init__()
        self.layer, self.last, taken = layer, last, {*dir(self), "layer", "last", "own"}
        self.own = {name: f"{name}_" if name in taken else name for name in parts}
        for name, part in parts.items():
            self.add_module(self.own[name], part)
        if "layers" not in parts:
            self._register_load_state_dict_pre_hook(_without_prefix)

    def forward(self, x: Any) -> Any:
        def through(name: str, _: Layer, x: Any) -> Any:
            y = self._modules[self.own[name]](x)  # type: ignore[misc]
            return returned.setdefault(name, y)[0] if name == self.last else y

        def merged(merge: Merge, signals: List[Any], _: Tuple[str, ...]) -> Any:
            signals = [working(signal) for signal in signals]
            return merge.merge(_words(signals[0].device, signals[0].dtype), signals, before=1)

        returned: Dict[str, Any] = {}
        out = flow(self.layer.flow_nodes, x, through, merged)
        return out if self.last is None else returned[self.last]

    def described(self, layers: Mapping[str, Layer]) -> Container:
        """The container of these layers, by name."""
        return with_children(self.layer, dict(layers))

    def extra_repr(self) -> str:
        """The container's class and what it takes besides layers."""
        layer: Any = self.layer
        inner = {"layers", "names", "sources", "outputs", *(name for name, _ in layer.children())}
        options = (f"{f.name}={getattr(layer, f.name)!r}" for f in fields(layer) if f.name not in inner)
        return ", ".join([type(layer).__name__, *options])


def _without_prefix(state: Dict[str, Any], prefix: str, *others: Any) -> None:
    """Load files of earlier versions, too: there the modules of a graph are in a dict called "layers"."""
    for key in [key for key in state if key.startswith(f"{prefix}layers.")]:
        state[prefix + key[len(f"{prefix}layers.") :]] = state.pop(key)


@lru_cache(maxsize=None)
def _words(device: torch.device, dtype: torch.dtype) -> Any:
    return words(device, str(dtype).rpartition(".")[2])

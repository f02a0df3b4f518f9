"""Layers that torch has no module for, as modules for one time step: the layer itself computes, in torch's words."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Mapping, cast

import torch
from torch import nn

from spikecore.api.core.layer import EMPTY, Layer, Params, Stateless
from spikecore.api.layers.containers import Branches, Listed
from spikecore.engines.torch.namespace import words
from spikecore.engines.torch.nn.engine import engine_for, working


class StatelessModule(nn.Module):
    """A layer without parameters and state as a module.

    Args:
        layer: the layer.
    """

    def __init__(self, layer: Stateless) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        x = working(x)
        engine = engine_for(x.device, x.dtype)
        y, _ = self.layer.apply(engine, Params(), EMPTY, x.unsqueeze(0), train=False, key=None)
        return y.squeeze(0)

    def extra_repr(self) -> str:
        """The layer."""
        return repr(self.layer)


class BranchesModule(nn.Module):
    """Modules that all receive the same input, and their outputs merged as a container merges them.

    Args:
        layer: the container, as the model has it; its children are not used.
        parts: the modules of its children by name.
    """

    def __init__(self, layer: Branches, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layer = layer
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Any) -> Any:
        x = working(x)
        parts = {name: part(x) for name, part in self.named_children()}
        return self.layer.merge(_words(x.device, x.dtype), x, parts, before=1)

    def described(self, children: Mapping[str, Layer]) -> Branches:
        """The container of these children."""
        layer: Any = self.layer  # a dataclass
        if not isinstance(layer, Listed):
            return cast(Branches, replace(layer, **children))
        options = {f.name: getattr(layer, f.name) for f in fields(layer) if f.name != "layers"}
        return cast(Branches, type(layer)(*children.values(), **options))

    def extra_repr(self) -> str:
        """The container's class and what it takes besides layers."""
        layer: Any = self.layer
        inner = {"layers", *(name for name, _ in layer.children())}
        options = (f"{f.name}={getattr(layer, f.name)!r}" for f in fields(layer) if f.name not in inner)
        return ", ".join([type(layer).__name__, *options])


@lru_cache(maxsize=None)
def _words(device: torch.device, dtype: torch.dtype) -> Any:
    return words(device, str(dtype).rpartition(".")[2])

"""Layers without state that exist as a module of torch and as a layer of ``spikecore.api``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from torch import nn

from spikecore.api.core.layer import Layer
from spikecore.api.layers import linear as layers
from spikecore.api.layers import normalisation
from spikecore.engines.torch.nn.layers import GradedSpikes


@dataclass(frozen=True)
class Pair:
    """A module and a layer with the same options.

    Args:
        module, layer: the two classes.
        names: options they share, "layer's name:module's name" where they differ.
        demands: options of the module that must have this value.
        bias: whether a bias is an option.
    """

    module: Any
    layer: Any
    names: Tuple[str, ...] = ()
    demands: Tuple[Tuple[str, Tuple[Any, ...]], ...] = ()
    bias: bool = False

    def options(self) -> Tuple[Tuple[str, str], ...]:
        """Pairs of names: the layer's and the module's."""
        return tuple((n.partition(":")[0], n.rpartition(":")[2]) for n in self.names)

    def to_layer(self, module: Any) -> Layer:
        """The layer with a module's options."""
        for name, allowed in self.demands:
            value = getattr(module, name, allowed[0])
            if value not in allowed:
                raise ValueError(f"{name}={value!r} has no counterpart; only {allowed[0]!r}")
        options = {own: getattr(module, theirs) for own, theirs in self.options()}
        if self.bias:
            options["bias"] = module.bias is not None
        layer: Layer = self.layer(**options)
        return layer

    def to_module(self, layer: Any) -> nn.Module:
        """The module with a layer's options."""
        options = {theirs: getattr(layer, own) for own, theirs in self.options()}
        module: nn.Module = self.module(**options, **({"bias": layer.bias} if self.bias else {}))
        return module


_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
_POOL = ("kernel_size", "stride", "padding")
_MAX = (("dilation", (1, (1, 1), (1,))), ("ceil_mode", (False,)), ("return_indices", (False,)))
_AVG = (("ceil_mode", (False,)), ("count_include_pad", (True,)), ("divisor_override", (None,)))
_NORM = ("num_features", "eps", "momentum", "affine")
_TRACKED = (("track_running_stats", (True,)),)

PAIRS = (
    Pair(nn.Linear, layers.Linear, ("in_features", "out_features"), bias=True),
    Pair(nn.Conv1d, layers.Conv1d, _CONV, (("padding_mode", ("zeros",)),), bias=True),
    Pair(nn.Conv2d, layers.Conv2d, _CONV, (("padding_mode", ("zeros",)),), bias=True),
    Pair(nn.MaxPool1d, layers.MaxPool1d, _POOL, _MAX),
    Pair(nn.MaxPool2d, layers.MaxPool2d, _POOL, _MAX),
    Pair(nn.AvgPool1d, layers.AvgPool1d, _POOL, _AVG),
    Pair(nn.AvgPool2d, layers.AvgPool2d, _POOL, _AVG),
    Pair(nn.Flatten, layers.Flatten, (), (("start_dim", (1,)), ("end_dim", (-1,)))),
    Pair(nn.Dropout, layers.Dropout, ("p",)),
    Pair(nn.BatchNorm1d, normalisation.BatchNorm1d, _NORM, _TRACKED),
    Pair(nn.BatchNorm2d, normalisation.BatchNorm2d, _NORM, _TRACKED),
    Pair(nn.LayerNorm, normalisation.LayerNorm, ("normalized_shape", "eps", "affine:elementwise_affine")),
    Pair(GradedSpikes, layers.GradedSpikes, ("size", "constant_factor")),
)

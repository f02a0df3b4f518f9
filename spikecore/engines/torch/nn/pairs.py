"""Layers without state that exist as a module of torch and as a layer of ``spikecore.api``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from torch import nn

from spikecore.api.core.layer import Layer
from spikecore.api.layers import (
    adaptive_pooling,
    normalisation,
    resizing,
    sample_normalisation,
    spatial,
    temporal_normalisation,
    transposed,
)
from spikecore.api.layers import linear as layers
from spikecore.engines.torch.nn.layers import GlobalAvgPool, GradedSpikes


@dataclass(frozen=True)
class Pair:
    """A module and a layer with the same options.

    Args:
        module, layer: the two classes.
        names: options they share, "layer's name:module's name" where they differ.
        demands: options of the module that must have this value.
        bias: whether a bias is an option.
        both_ways: whether the module is read as this layer; else it stands for another one, too.
    """

    module: Any
    layer: Any
    names: Tuple[str, ...] = ()
    demands: Tuple[Tuple[str, Tuple[Any, ...]], ...] = ()
    bias: bool = False
    both_ways: bool = True

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


class Upsampling(Pair):
    """``Upsample``, whose options torch keeps in other types: a scale as a float, and None for what is left out."""

    def to_layer(self, module: Any) -> Layer:
        layer: Layer = self.layer(
            module.size, _whole(module.scale_factor), module.mode, align_corners=bool(module.align_corners)
        )
        return layer

    def to_module(self, layer: Any) -> nn.Module:
        corners = None if layer.mode == "nearest" else layer.align_corners
        return nn.Upsample(layer.size, layer.scale_factor, layer.mode, corners)


def _whole(scale: Any) -> Any:
    """A scale, or one per axis, as whole numbers where they are; others are the layer's to refuse."""
    if isinstance(scale, tuple):
        return tuple(map(_whole, scale))
    return int(scale) if scale is not None and float(scale).is_integer() else scale


_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
_POOL = ("kernel_size", "stride", "padding")
_MAX = (("dilation", (1, (1, 1), (1,), (1, 1, 1))), ("ceil_mode", (False,)), ("return_indices", (False,)))
_VALUES = (("return_indices", (False,)),)
_AVG = (("ceil_mode", (False,)), ("count_include_pad", (True,)), ("divisor_override", (None,)))
_ZEROS = (("padding_mode", ("zeros",)),)
_TRANSPOSED = (*_CONV, "output_padding")
_NORM = ("num_features", "eps", "momentum", "affine")
_TRACKED = (("track_running_stats", (True,)),)
_OF_INSTANCES = (("num_features", "eps", "affine"), (("track_running_stats", (False,)),))
_THRESHOLD = ("num_features", "eps", "momentum")  # the first weights of tdBN are copied, so that it is a BatchNorm

PAIRS = (
    Pair(nn.Linear, layers.Linear, ("in_features", "out_features"), bias=True),
    Pair(nn.Conv1d, spatial.Conv1d, _CONV, _ZEROS, bias=True),
    Pair(nn.Conv2d, spatial.Conv2d, _CONV, _ZEROS, bias=True),
    Pair(nn.MaxPool1d, spatial.MaxPool1d, _POOL, _MAX),
    Pair(nn.MaxPool2d, spatial.MaxPool2d, _POOL, _MAX),
    Pair(nn.AvgPool1d, spatial.AvgPool1d, _POOL, _AVG),
    Pair(nn.AvgPool2d, spatial.AvgPool2d, _POOL, _AVG),
    Pair(nn.Conv3d, spatial.Conv3d, _CONV, _ZEROS, bias=True),
    Pair(nn.MaxPool3d, spatial.MaxPool3d, _POOL, _MAX),
    Pair(nn.AvgPool3d, spatial.AvgPool3d, _POOL, _AVG),
    Pair(nn.ConvTranspose1d, transposed.ConvTranspose1d, _TRANSPOSED, _ZEROS, bias=True),
    Pair(nn.ConvTranspose2d, transposed.ConvTranspose2d, _TRANSPOSED, _ZEROS, bias=True),
    Pair(nn.ConvTranspose3d, transposed.ConvTranspose3d, _TRANSPOSED, _ZEROS, bias=True),
    Pair(nn.AdaptiveAvgPool1d, adaptive_pooling.AdaptiveAvgPool1d, ("output_size",)),
    Pair(nn.AdaptiveAvgPool2d, adaptive_pooling.AdaptiveAvgPool2d, ("output_size",)),
    Pair(nn.AdaptiveMaxPool1d, adaptive_pooling.AdaptiveMaxPool1d, ("output_size",), _VALUES),
    Pair(nn.AdaptiveMaxPool2d, adaptive_pooling.AdaptiveMaxPool2d, ("output_size",), _VALUES),
    Pair(GlobalAvgPool, adaptive_pooling.GlobalAvgPool),
    Upsampling(nn.Upsample, resizing.Upsample),
    *([Pair(nn.ZeroPad1d, resizing.ZeroPad1d, ("padding",))] if hasattr(nn, "ZeroPad1d") else []),  # since torch 2.1
    Pair(nn.ZeroPad2d, resizing.ZeroPad2d, ("padding",)),
    Pair(nn.Identity, layers.Identity),
    Pair(nn.Flatten, layers.Flatten, (), (("start_dim", (1,)), ("end_dim", (-1,)))),
    Pair(nn.Dropout, layers.Dropout, ("p",)),
    Pair(nn.BatchNorm1d, normalisation.BatchNorm1d, _NORM, _TRACKED),
    Pair(nn.BatchNorm2d, normalisation.BatchNorm2d, _NORM, _TRACKED),
    Pair(nn.BatchNorm3d, normalisation.BatchNorm3d, _NORM, _TRACKED),
    Pair(nn.BatchNorm1d, temporal_normalisation.ThresholdDependentBatchNorm1d, _THRESHOLD, both_ways=False),
    Pair(nn.BatchNorm2d, temporal_normalisation.ThresholdDependentBatchNorm2d, _THRESHOLD, both_ways=False),
    Pair(nn.GroupNorm, sample_normalisation.GroupNorm, ("num_groups", "num_channels", "eps", "affine")),
    Pair(nn.InstanceNorm1d, sample_normalisation.InstanceNorm1d, *_OF_INSTANCES),
    Pair(nn.InstanceNorm2d, sample_normalisation.InstanceNorm2d, *_OF_INSTANCES),
    Pair(nn.LayerNorm, sample_normalisation.LayerNorm, ("normalized_shape", "eps", "affine:elementwise_affine")),
    Pair(GradedSpikes, layers.GradedSpikes, ("size", "constant_factor")),
)

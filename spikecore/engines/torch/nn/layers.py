"""Layers without state: batch normalisation through time, graded spikes, global pooling, residual connections."""

from __future__ import annotations

from typing import Any, Optional, cast

import torch
from torch import nn

from spikecore.api.layers.joins import JOINS, Join, check_join
from spikecore.arguments import Numbers, Size, checked


def _through_time(layer: Any, features: int, steps: int, eps: float, momentum: float, affine: bool) -> nn.ModuleList:
    norms: Any = nn.ModuleList([layer(features, eps=eps, momentum=momentum, affine=affine) for _ in range(steps)])
    for norm in norms:
        norm.bias = None  # scale only
    return norms  # type: ignore[no-any-return]


@checked
def BatchNormTT1d(
    input_features: Size, time_steps: Size, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
) -> nn.ModuleList:
    """One ``nn.BatchNorm1d`` per time step, without bias: ``norms[t](x)``.

    Args:
        input_features: features of the input.
        time_steps: number of steps.
        eps, momentum, affine: as in ``nn.BatchNorm1d``.

    Source: Kim & Panda, Revisiting batch normalization for training low-latency deep SNNs from scratch, 2020.
    """
    return _through_time(nn.BatchNorm1d, input_features, time_steps, eps, momentum, affine)


@checked
def BatchNormTT2d(
    input_features: Size, time_steps: Size, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
) -> nn.ModuleList:
    """One ``nn.BatchNorm2d`` per time step, without bias; see ``BatchNormTT1d``."""
    return _through_time(nn.BatchNorm2d, input_features, time_steps, eps, momentum, affine)


class GradedSpikes(nn.Module):
    """Spikes of a learned size: one weight per feature.

    The input is (batch, size) or (batch, size, height, width): a weight for each feature or channel. An input of
    another shape is multiplied by the weights as they are, (size, 1).

    Args:
        size: number of features.
        constant_factor: first value of all weights; falsy draws them uniformly from [0.5, 1.5).

    Parameters: ``weights`` (size, 1).
    """

    @checked
    def __init__(self, size: Size, constant_factor: Optional[Numbers]) -> None:
        super().__init__()
        self.size, self.constant_factor = size, constant_factor or None
        first = torch.ones(size, 1) * constant_factor if constant_factor else torch.rand(size, 1) + 0.5  # type: ignore[operator]
        self.weights = nn.Parameter(first)

    def forward(self, x: Any) -> Any:
        if x.dim() >= 2 and x.shape[1] == self.size:
            return x * self.weights.reshape(self.size, *(1,) * (x.dim() - 2))
        return x * self.weights


class GlobalAvgPool(nn.Module):
    """The mean of each channel: (batch, channels, *space) -> (batch, channels), as ``spikecore.GlobalAvgPool``."""

    def forward(self, x: Any) -> Any:
        return x.flatten(2).mean(2)


class Residual(nn.Module):
    """y = shortcut(x) + body(x), as ``spikecore.Residual``.

    Args:
        body: the module, often a Sequential.
        shortcut: what the input passes through on the other way; None is the identity.
        join: "add" (the default), "and" or "iand", see ``spikecore.Residual``.

    Raises:
        ValueError: ``join`` is something else.
    """

    @checked
    def __init__(self, body: nn.Module, shortcut: Optional[nn.Module] = None, join: Join = "add") -> None:
        super().__init__()
        check_join(join)
        self.body, self.shortcut, self.join = body, shortcut, join

    def forward(self, x: Any) -> Any:
        ways = x if self.shortcut is None else self.shortcut(x), self.body(x)
        return JOINS[self.join].merge(cast(Any, torch), ways, 1)

    def extra_repr(self) -> str:
        return "" if self.join == "add" else f"join={self.join!r}"

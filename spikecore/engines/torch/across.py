"""Batch statistics over all ranks, for the training pass of several processes.

Each rank has its part of a batch. Its mean and variance are those of the whole batch here, and so is the derivative by
its part, as if one process had all of it. Parts may differ in size.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Tuple

import torch

from spikecore.api.core.words import Vocabulary
from spikecore.engines.torch import batch_norm as alone
from spikecore.engines.torch.extras import TorchProcesses

BATCH = 1  # the axis of the samples in (time, batch, *features)


class BatchProcesses(TorchProcesses):
    """The processes that compute one batch together.

    Args:
        samples: how many the batch has, over all ranks.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def whole_batch(self, samples: int) -> int:
        return self.samples


def sync_statistics(engine: Any, ranks: Any, whole: int) -> Any:
    """The engine, with words ``moments`` and ``batch_norm`` over the parts of all ranks.

    Args:
        engine: a torch engine.
        ranks: the processes.
        whole: how many samples the batch has, over all ranks.
    """

    def count(x: Any, axis: Tuple[int, ...]) -> int:
        return math.prod(x.shape[i] for i in axis) // x.shape[BATCH] * whole

    def shared(x: Any, axis: Tuple[int, ...]) -> Any:
        if BATCH not in axis:  # statistics of each sample by itself
            return alone.moments(x, axis)
        return RankMoments.apply(x, tuple(axis), count(x, axis), ranks)

    def batch_norm(x: Any, moments: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float) -> Any:
        if BATCH not in axis:
            return alone.batch_norm(x, moments, weight, bias, axis, eps)
        moments = shared(x, axis) if moments is None else moments
        if alone.fits_rows(x, weight, bias, axis):
            others = ranks, count(x, axis)
            return alone.normalized(x, moments.detach(), weight, bias, axis, eps, others)[0]
        mean, var = moments.detach()
        y = Normalized.apply(x, mean, var, tuple(axis), count(x, axis), eps, ranks)
        y = y if weight is None else y * along(weight, y, axis)
        return y if bias is None else y + along(bias, y, axis)

    other = copy.copy(engine)
    other.xp = Vocabulary(**{**vars(engine.xp), "moments": shared, "batch_norm": batch_norm})
    other.extras, other.batch_on_ranks = (BatchProcesses(whole), *engine.extras), True
    return other


def along(values: Any, like: Any, axis: Tuple[int, ...]) -> Any:
    """Values for the last of the axes of ``like`` that are not in ``axis``, with axes of length 1 at those in it."""
    kept = like.ndim - len(axis)
    values = values.expand(*(1,) * (kept - values.ndim), *values.shape)
    for place in sorted(axis):
        values = values.unsqueeze(place)
    return values


class RankMoments(torch.autograd.Function):
    """Mean and biased variance over ``axis`` and all ranks."""

    @staticmethod
    def forward(ctx: Any, x: Any, axis: Tuple[int, ...], count: int, ranks: Any) -> Any:
        own = math.prod(x.shape[i] for i in axis)
        mean, var = alone.moments(x, axis)
        size = torch.full_like(mean, float(own))
        rows = ranks.rows(torch.stack((size, mean, var)))
        total = sum(row[0] * row[1] for row in rows) / count
        spread = sum(row[0] * (row[2] + (row[1] - total) ** 2) for row in rows) / count
        ctx.save_for_backward(x, total)
        ctx.axis, ctx.count, ctx.ranks = axis, count, ranks
        return torch.stack((total, spread))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        x, mean = ctx.saved_tensors
        g = ctx.ranks.sum(g) / ctx.count  # the losses of all ranks depend on the moments
        centred = x - along(mean, x, ctx.axis)
        return along(g[0], x, ctx.axis) + 2.0 * centred * along(g[1], x, ctx.axis), None, None, None


class Normalized(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps), with the whole derivative by x: the moments are functions of x on all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, mean: Any, var: Any, axis: Tuple[int, ...], count: int, eps: float, ranks: Any
    ) -> Any:
        inverse = 1.0 / torch.sqrt(var + eps)
        y = (x - along(mean, x, axis)) * along(inverse, x, axis)
        ctx.save_for_backward(y, inverse)
        ctx.axis, ctx.count, ctx.ranks = axis, count, ranks
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        y, inverse = ctx.saved_tensors
        axis = ctx.axis
        means = ctx.ranks.sum(torch.stack((g.sum(dim=axis), (g * y).sum(dim=axis)))) / ctx.count
        slope = g - along(means[0], g, axis) - y * along(means[1], g, axis)
        return (slope * along(inverse, g, axis), *(None,) * 6)

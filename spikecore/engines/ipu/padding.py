"""Fill up a batch that is too short with samples of weight zero, because shapes on the device are fixed."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import Any

import torch

from spikecore.api.functional.loss import Loss, WeightedSum


def check_paddable(loss: Any, buffers: Any) -> None:
    """Refuse losses that cannot weight single samples, and layers that look at the whole batch.

    Raises:
        ValueError: the loss is a user's function or has ``normalise=True``, or a layer has running statistics.
    """
    if len(buffers):
        raise ValueError(
            "short_batch='pad': layers with running statistics (BatchNorm) would count the padding; use 'drop'"
        )
    for _, term in loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),):
        if not isinstance(term, Loss) or not is_dataclass(term) or term.reduction == "none":
            raise ValueError(
                f"short_batch='pad' needs a loss of spikecore.functional with reduction 'mean' or 'sum', whose samples "
                f"can be weighted, not {term!r}; use short_batch='drop'"
            )
        if term.normalise and term.weight is not None:
            raise ValueError("short_batch='pad' cannot weight samples of a loss with normalise=True; use 'drop'")


def weighted(loss: Any, engine: Any, out: Any, targets: Any, weights: Any) -> Any:
    """The loss with a weight for each sample, (batch,); with weights of one it is the loss itself."""
    xp, total = engine.xp, 0.0
    for factor, term in loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),):
        each = replace(term, reduction="none").evaluate(engine, out, targets)
        if term.reduction == "sum":
            each = each if each.ndim == 1 else xp.sum(each, axis=1)
            total = total + factor * xp.sum(each * xp.astype(weights > 0, engine.dtype))
        else:
            each = each if each.ndim == 1 else xp.mean(each, axis=1)
            total = total + factor * xp.mean(each * weights)
    return total


def sample_weights(engine: Any, count: int, size: int) -> Any:
    """Weights of ``size`` samples of which the first ``count`` are real. The mean weight is one, so a weighted mean
    over all samples is the mean over the real ones, however the batch is cut.
    """
    return engine.asarray([size / count] * count + [0.0] * (size - count))


def fill(x: Any, size: int) -> Any:
    """Repeat the last sample of a tensor until axis 0 has ``size`` samples."""
    missing = size - x.shape[0]
    return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing > 0 else x

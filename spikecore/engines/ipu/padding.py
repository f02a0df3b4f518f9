"""A last batch that is too short, on a device whose shapes are fixed: samples of weight zero fill it up."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import Any

import torch

from spikecore.api.functional.loss import Loss, WeightedSum


def check_paddable(loss: Any, buffers: Any) -> None:
    """Refuse losses that cannot weight single samples, and layers that look at the whole batch.

    Raises:
        ValueError: a callable of the user's, ``normalise``, or running statistics.
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
    """The loss in which each sample counts with its weight (batch,): all ones give the loss itself."""
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
    """Weights of ``size`` samples of which the first ``count`` are real: their mean is one, so that a mean over all of
    them, however the batch is cut, is the mean over the real ones.
    """
    return engine.asarray([size / count] * count + [0.0] * (size - count))


def fill(x: Any, size: int) -> Any:
    """A tensor with its last sample repeated up to ``size`` samples along axis 0."""
    missing = size - x.shape[0]
    return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing > 0 else x

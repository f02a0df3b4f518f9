"""What differs in ``Model.fit`` if local rules learn: no optimiser; loss and targets may be left out."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from spikecore.api.core.foreign import shown
from spikecore.api.functional.metrics import Metric
from spikecore.api.training.learning import UNSUPERVISED


def check_options(optimizer: Any, clip_norm: Any, compile: bool) -> None:
    """Refuse options of ``fit`` that have no effect on plasticity.

    Raises:
        TypeError, ValueError: names the option.
    """
    if optimizer is not None:
        raise TypeError(
            f"optimizer={shown(optimizer)}: plasticity has no optimiser, its rules have the learning rates: leave it "
            "out; schedule=... scales them"
        )
    if clip_norm is not None:
        raise ValueError(f"clip_norm={clip_norm!r} limits gradients, and plasticity has none: leave it out")
    if compile:
        raise ValueError("compile=True is for training steps with gradients, and plasticity has none: leave it out")


def reported(loss: Any, metric: Optional[Metric]) -> Tuple[Any, Any]:
    """The loss and the metric of the history: without a loss, by default the mean rate of the last layer."""
    if loss is not None:
        return loss, metric
    return UNSUPERVISED, "rate" if metric is None else metric

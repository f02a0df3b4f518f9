"""Checks before a fit continues the last one: from where it has ended, with the arrays of its optimiser."""

from __future__ import annotations

import copy
from typing import Any, Iterable, NamedTuple, Optional

from spikecore.api.training.evaluate import Average
from spikecore.api.training.optimizers import Optimizer


class FitStart(NamedTuple):
    """The state of a model when its last ``fit`` began that did not resume another: schedules count from there."""

    epochs: int = 0
    updates: int = 0  # as the optimiser counts them, which may begin anew


def same_training(before: Any, after: Any) -> bool:
    """Whether two optimisers are equal except for the learning rate and the limit of the gradient."""
    strip = lambda spec: {**copy.copy(spec.__dict__), "lr": None, "clip_norm": None}  # noqa: E731
    return type(before) is type(after) and strip(before) == strip(after)


def keeps_moments(before: Optional[Optimizer], after: Optimizer, names: Iterable[str]) -> bool:
    """Whether an optimiser can go on with the arrays of another one, for parameters of these names.

    They do if both are of one kind with the same arrays, and ``after`` trains no parameter that ``before`` has frozen:
    such a parameter has no moments, and the number of steps, by which Adam corrects them, would be wrong for it.
    """
    if before is None or type(before) is not type(after) or before.slots != after.slots:
        return False
    return not any(before.of(name) is None and after.of(name) is not None for name in names)


def check_resume(unfinished: Optional[Average], before: Any, optimizer: Any) -> None:
    """Refuse to resume after a step that was interrupted half done, or with another optimiser.

    Args:
        unfinished: the interrupted epoch; None if there is none.
        before: the optimiser of the last ``fit``; None if there was none.
        optimizer: the optimiser to continue with.
    """
    if unfinished is not None and unfinished.cut:
        raise ValueError(
            "resume=True: the last step was interrupted half done, so that the weights belong to no step; load "
            "what was saved before it, or fit without resume"
        )
    if not same_training(before, optimizer):
        raise ValueError(f"resume=True continues with {before!r}, not with {optimizer!r}")

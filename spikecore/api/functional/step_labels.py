"""A class at every step: cross-entropy of each step with the label of that step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, List, Optional

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.functional.base import Loss
from spikecore.api.functional.loss import nll
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import check_labels, one_hot
from spikecore.api.functional.tasks import CLASS_BY_STEP, TargetKind
from spikecore.arguments import ArrayLike


@dataclass(frozen=True)
class ce_step_loss(Loss):
    """Cross-entropy of the membrane potentials at every step with the label of that step.

        (1/N) sum_t m[t] -log softmax(U[t])_y[t],   m[t] = 0 where y[t] = ignore_index, else 1;   N = sum_t m[t]

    Targets are class labels (time, batch), or with ``time_axis=1`` (batch, time). Steps with the label ``ignore_index``
    do not count, as padding does not with ``lengths``: so labels are masked. ``predict`` gives a class for each step.
    Learning rules that go forward in time divide by the number of all steps instead of N.

    Args:
        ignore_index: label of steps that do not count; default -1. Give another one if labels are unsigned.
        population_code, num_classes, reduction: see ``Loss``.
        weight: one weight per class, (classes,): each step's term times weight[y[t]], for rare classes; None, the
            default: all are 1.
        normalise: with ``weight``, divide the mean by that of the weights; default False.
    """

    ignore_index: int = -1

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]
    time_var_targets: ClassVar[bool] = True

    @property
    def task(self) -> Optional[TargetKind]:
        return CLASS_BY_STEP

    def check(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> None:
        super().check(engine, values, targets, lengths)
        self.check_targets(engine, targets, values.shape[1], values.shape[2], values.shape[0])

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        steps = time or (int(targets.shape[0]) if targets.ndim else 1)
        check_labels(engine, targets, (steps, batch), self.num_classes or classes, ignore_index=self.ignore_index)

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        xp, steps = engine.xp, Steps(engine, values, lengths)
        values = self._pooled(engine, values)
        code = one_hot(engine, targets, values.shape[2])
        counted = xp.astype(targets != self.ignore_index, engine.dtype)
        losses, weights = nll(engine, values, code) * counted, self._weights(engine, code)
        number = xp.maximum(steps.sum(counted), 1.0)
        if weights is not None:
            losses, weights = losses * weights, steps.sum(counted * weights) / number
        return self._total(engine, steps.sum(losses) / number, weights)

    def scores(self, engine: Engine, values: Array, lengths: Optional[ArrayLike] = None) -> Any:
        """The membranes of each step, (time, batch, classes)."""
        return self._pooled(engine, values)

    def counted(self, targets: Any) -> Any:
        return targets != self.ignore_index

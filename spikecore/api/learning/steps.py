"""Losses that are sums or means over time of a loss of single steps, which learning forward in time needs.

They have the form L = sum_t l(S[t], U[t], target[t]), or the mean over t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.tree import map_leaves
from spikecore.api.functional.base import Loss, LossBase, LossFunction, evaluate, terms, varies
from spikecore.api.functional.loss import ce_membrane_loss, ce_rate_loss, mse_membrane_loss, tet_loss
from spikecore.api.functional.step_labels import ce_step_loss
from spikecore.api.functional.targets import targets_on
from spikecore.api.layers.network import Output
from spikecore.arguments import ArrayLike

OVER_TIME = {ce_rate_loss: "mean", ce_step_loss: "mean", mse_membrane_loss: "mean", tet_loss: "mean"}


@dataclass(frozen=True)
class per_step(LossBase):
    """A loss that is the mean or sum over time of a loss of single steps.

    It can be added and scaled like any loss, and used with every way of learning.

    Args:
        loss: any callable ``(out, targets) -> scalar``. It gets one step at a time: an ``Output`` whose time axis is 1,
            and the targets (of that step, if their shape begins with (time, batch)).
        over_time: "mean" (the default) or "sum".

    Raises:
        TypeError: ``loss`` cannot be called.
        ValueError: ``over_time`` is something else.
    """

    loss: LossFunction
    over_time: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        if not callable(self.loss) or isinstance(self.loss, type):
            raise TypeError(f"per_step: loss={self.loss!r} must be a callable (out, targets) -> scalar")
        if self.over_time not in ("mean", "sum"):
            raise ValueError(f"per_step: over_time={self.over_time!r} must be 'mean' or 'sum'")

    @property
    def reads(self) -> str:  # type: ignore[override]
        """The attribute of an output that the loss reads: "spikes" or "membrane"."""
        return getattr(self.loss, "reads", "membrane")

    @property
    def time_var_targets(self) -> bool:
        """Whether the targets vary in time."""
        return bool(getattr(self.loss, "time_var_targets", False))

    def __call__(self, out: Output, targets: ArrayLike) -> Any:
        """The loss of a whole sequence, an ``Output``."""
        return self.evaluate(engine_of(out.spikes), out, targets)

    def evaluate(self, engine: Engine, out: Output, targets: Any) -> Any:
        steps, samples = (int(n) for n in out.spikes.shape[:2])
        by_step = targets_of(engine, self, targets, steps, samples)
        by_step.check(0, steps)
        costs = [evaluate(self.loss, engine, _one_step(out, t), by_step.between(t, t + 1)) for t in range(steps)]
        total = sum(costs[1:], costs[0])
        return total / float(steps) if self.over_time == "mean" else total


def _one_step(out: Output, t: int) -> Output:
    """The output at step ``t``, with a time axis of 1."""
    states = {name: map_leaves(lambda a: a[t : t + 1, ...], state) for name, state in out.states.items()}
    return Output(out.spikes[t : t + 1, ...], states, out.state, out.readout)


@dataclass(frozen=True)
class StepLoss:
    """The loss of one step; ``stepwise`` returns it.

    Args:
        parts: (factor, loss of one step, "mean" or "sum").
    """

    parts: Tuple[Tuple[float, Any, str], ...]

    @property
    def averaged(self) -> bool:
        """Whether the sum over the steps is divided by their number at the end."""
        return any(over == "mean" for _, _, over in self.parts)

    def check(self, steps: Optional[int]) -> None:
        """Refuse a mixture of mean and sum if the number of steps is unknown."""
        if steps is None and len({over for _, _, over in self.parts}) > 1:
            raise ValueError(
                "the loss adds a mean over time to a sum over time, and the number of steps is unknown: pass num_steps"
            )

    def at(self, engine: Engine, out: Output, targets: Any, steps: Optional[int]) -> Any:
        """The loss of one step, before the division by the number of steps."""
        total: Any = 0.0
        for factor, part, over in self.parts:
            weight = factor * float(steps or 1) if over == "sum" and self.averaged else factor
            total = total + weight * evaluate(part, engine, out, targets)
        return total


def stepwise(loss: Any) -> StepLoss:
    """The loss of one step of a loss over time.

    Args:
        loss: ``ce_rate_loss``, ``ce_membrane_loss``, ``ce_step_loss``, ``tet_loss``, ``mse_membrane_loss``,
            ``l1_rate_sparsity``, ``per_step``, or a weighted sum of these.

    Raises:
        ValueError: the loss needs the whole sequence, such as ``ce_count_loss``, has ``reduction="none"``, or reads
            hidden layers.
    """
    from spikecore.api.functional.regulariser import Regulariser, l1_rate_sparsity

    parts, known = [], {**OVER_TIME, l1_rate_sparsity: "sum"}
    for factor, term in terms(loss):
        part, over = (term.loss if isinstance(term, per_step) else term), known.get(type(term))
        if isinstance(term, per_step) or type(term) is ce_membrane_loss:
            over = term.over_time
        if over is None:
            raise ValueError(
                f"loss={term!r} is not known step by step, but learning forward in time needs the loss of each step: "
                "use ce_rate_loss, ce_membrane_loss, ce_step_loss, tet_loss, mse_membrane_loss or l1_rate_sparsity, or "
                "wrap your own loss of one step: backprop.per_step(loss, over_time='mean' or 'sum')"
            )
        if isinstance(part, Loss) and part.reduction == "none":
            raise ValueError(f"loss={part!r}: reduction='none' gives no scalar; use 'mean' or 'sum'")
        if isinstance(part, ce_step_loss) and part.normalise:
            raise ValueError(f"loss={part!r}: normalise divides by weights of all steps: leave it out")
        if isinstance(part, Regulariser) and part.layers:
            raise ValueError(f"loss={part!r}: learning forward in time sees the last layer only: leave out layers")
        parts.append((factor, part, over))
    return StepLoss(tuple(parts))


@dataclass(frozen=True)
class Targets:
    """The targets of a batch, and those of one step.

    Args:
        values: the targets, an array of the engine; None: there are none.
        vary: whether their first axis is time.
    """

    values: Any
    vary: bool

    def between(self, start: int, stop: int) -> Any:
        """The targets of the steps start, ..., stop - 1."""
        return self.values[start:stop, ...] if self.vary else self.values

    def check(self, done: int, more: int) -> None:
        """Refuse ``more`` steps after ``done`` that are not all there.

        Raises:
            ValueError: there are fewer targets than steps.
        """
        if self.vary and done + more > self.values.shape[0]:
            raise ValueError(f"targets end after {self.values.shape[0]} steps, but the inputs have more")


def targets_of(engine: Engine, loss: Any, values: Any, steps: Optional[int], samples: Optional[int]) -> Targets:
    """Targets on the engine. They vary in time if the loss says so (``time_var_targets``), or, for a user's own loss,
    if their shape begins with (time, batch).

    Raises:
        ValueError: the number of steps is unknown, and their shape may begin so.
    """
    array = targets_on(engine, values)
    if varies(loss):
        return Targets(array, True)
    single = [part.loss if isinstance(part, per_step) else part for _, part in terms(loss)]
    if array is None or array.ndim < 2 or all(isinstance(part, LossBase) for part in single):
        return Targets(array, False)
    if steps is None and samples is not None and array.shape[1] == samples:
        raise ValueError(
            f"targets have shape {tuple(array.shape)}, which may begin with (time, batch), but the number of steps is "
            "unknown: pass num_steps"
        )
    return Targets(array, tuple(array.shape[:2]) == (steps, samples))

"""Losses on spikes and membranes, with snnTorch's names and arguments.

Call a loss with a network's output, or with an array of any engine, and class labels::

    loss = spikecore.functional.ce_rate_loss()
    loss(model(x), targets)          # reads the spikes (or the membrane) of the last layer
    loss(spikes, targets)            # (time, batch, classes)

Losses can be added: ``ce_rate_loss() + 0.1 * mse_membrane_loss()``. Any callable ``(out, targets) -> scalar`` can
be a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, List, Literal, Optional

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.functional.base import REDUCTIONS as REDUCTIONS
from spikecore.api.functional.base import Loss as Loss
from spikecore.api.functional.base import LossBase as LossBase
from spikecore.api.functional.base import WeightedSum as WeightedSum
from spikecore.api.functional.base import comparing as comparing
from spikecore.api.functional.base import decoder_of as decoder_of
from spikecore.api.functional.base import evaluate as evaluate
from spikecore.api.functional.base import reads_labels as reads_labels
from spikecore.api.functional.base import scalar as scalar
from spikecore.api.functional.base import varies as varies
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import check_finite_targets, one_hot, value_hint
from spikecore.api.functional.tasks import CLASS, VALUE_BY_STEP, TargetKind
from spikecore.arguments import ArrayLike


def nll(engine: Any, logits: Any, code: Any) -> Any:
    """-log softmax at the right class; logits (..., batch, classes)."""
    return engine.xp.sum(-code * engine.xp.log_softmax(logits, axis=-1), axis=-1)  # the code is the smaller array


@dataclass(frozen=True)
class ce_rate_loss(Loss):
    """Cross-entropy of the spikes at every step, averaged over time.

        (1/T) sum_t -log softmax(S[t])_y

    Spikes of 0 and 1 are the logits. With C classes the loss is therefore never below ln(1 + (C - 1)/e), which is 1.46
    for 10 classes; it is ln C, 2.30, if nothing fires.

    Args:
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.
    """

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        return steps.mean(nll(engine, values, code))


@dataclass(frozen=True)
class tet_loss(Loss):
    """Temporal efficient training: the cross-entropy of each step, and a pull of all outputs towards a constant.

        (1/T) sum_t ((1 - Lambda) (-log softmax(O[t])_y) + Lambda mean_c (O[t] - phi)^2)

    O is the output of the last layer, in the paper currents: let the network end in ``Linear`` or in ``LI``. Each step
    is to classify on its own, so that a network trained with few steps also runs with more or fewer.

    Args:
        Lambda: weight of the pull, in [0, 1]; default 0.05, the paper's for CIFAR-10.
        phi: the constant, in the paper the threshold of the neurons; default 1.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.

    Raises:
        ValueError: ``Lambda`` is outside [0, 1].

    Source: Deng, Li, Zhang and Gu, Temporal efficient training of spiking neural network via gradient re-weighting,
    ICLR 2022. ``Lambda=0`` is the loss of SpikingJelly's function.
    """

    Lambda: float = 0.05
    phi: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.Lambda <= 1.0:
            raise ValueError(f"tet_loss: Lambda={self.Lambda!r} must be in [0, 1]")

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        away = values - self.phi
        pull = engine.xp.mean(away * away, axis=-1)
        return steps.mean((1.0 - self.Lambda) * nll(engine, values, code) + self.Lambda * pull)


@dataclass(frozen=True)
class ce_count_loss(Loss):
    """Cross-entropy of the spike counts.

        -log softmax(sum_t S[t])_y

    Args:
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.
    """

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        return nll(engine, steps.sum(values), code)


@dataclass(frozen=True)
class ce_membrane_loss(Loss):
    """Cross-entropy of the membrane potentials at every step, averaged or summed over time.

        (1/T) sum_t -log softmax(U[t])_y

    snnTorch has no name for it; the loss of its tutorial 5 is ``ce_membrane_loss(over_time="sum")``.

    Args:
        over_time: "mean" (the default) or "sum".
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.

    Raises:
        ValueError: ``over_time`` is something else.
    """

    over_time: Literal["mean", "sum"] = "mean"

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.over_time not in ("mean", "sum"):
            raise ValueError(f"ce_membrane_loss: over_time={self.over_time!r} must be 'mean' or 'sum'")

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        losses = nll(engine, values, code)
        return steps.mean(losses) if self.over_time == "mean" else steps.sum(losses)


@dataclass(frozen=True)
class ce_max_membrane_loss(Loss):
    """Cross-entropy of the highest membrane potentials.

        -log softmax(max_t U[t])_y

    If several steps have the maximum, they share its gradient evenly.

    Args:
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.
    """

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        return nll(engine, steps.max(values), code)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        return steps.max(values)


@dataclass(frozen=True)
class mse_count_loss(Loss):
    """Squared distance of the spike counts from target counts.

        (1/T) mean_c (sum_t S[t] - n)^2,   n = int(T correct_rate) for the right class, int(T incorrect_rate) else

    Args:
        correct_rate: fraction of the steps at which the right class should fire, in [0, 1]; default 1.
        incorrect_rate: the same for all other classes; default 0.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``. With k neurons per class, the target
            counts are k times as large.

    Raises:
        ValueError: a rate is outside [0, 1].
    """

    correct_rate: float = 1.0
    incorrect_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("correct_rate", "incorrect_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"mse_count_loss: {name}={getattr(self, name)!r} must be in [0, 1]")

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        steps = Steps(engine, values, lengths)
        neurons = values.shape[2] // self.num_classes if self.population_code else 1
        values = self._pooled(engine, values)
        code = one_hot(engine, targets, values.shape[2])
        on, off = (steps.whole(neurons * rate) for rate in (self.correct_rate, self.incorrect_rate))
        off_by = steps.sum(values) - (code * (on - off) + off)
        return self._reduced(engine, off_by * off_by / steps.counts(2), code)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        return steps.sum(values) * (self.correct_rate - self.incorrect_rate)


@dataclass(frozen=True)
class mse_membrane_loss(Loss):
    """Squared distance of the membrane from a target at every step.

        (1/T) sum_t mean_c (U[t] - target)^2

    Args:
        time_var_targets: whether ``targets`` are membrane values (time, batch, classes) instead of labels; default
            False.
        on_target: target of the right class; default 1.
        off_target: target of all other classes; default 0.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.

    Raises:
        ValueError: class weights or a population code are given with ``time_var_targets``.
    """

    time_var_targets: bool = False
    on_target: float = 1.0
    off_target: float = 0.0

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_var_targets and (self.weight is not None or self.population_code):
            raise ValueError("mse_membrane_loss: time_var_targets=True has no classes to weight or to pool")

    @property
    def task(self) -> Optional[TargetKind]:
        return VALUE_BY_STEP if self.time_var_targets else CLASS

    def check(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> None:
        if not self.time_var_targets:
            super().check(engine, values, targets, lengths)

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        if not self.time_var_targets:
            return super().compute(engine, values, targets, lengths)
        if tuple(targets.shape) != tuple(values.shape):
            found, wanted = tuple(targets.shape), tuple(values.shape)
            raise ValueError(
                f"mse_membrane_loss: targets of shape {found} must have the shape of the membrane, {wanted}"
                f"{value_hint(found, wanted)}"
            )
        distance = values - engine.xp.astype(targets, engine.dtype)
        return self._reduced(engine, Steps(engine, values, lengths).mean(distance * distance), None)

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        distance = values - (self.off_target + (self.on_target - self.off_target) * code)
        return steps.mean(distance * distance)

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        if self.time_var_targets:
            check_finite_targets(engine.to_numpy(targets))
        super().check_targets(engine, targets, batch, classes, time, lengths)

    def scores(self, engine: Engine, values: Array, lengths: Optional[ArrayLike] = None) -> Any:
        return values if self.time_var_targets else super().scores(engine, values, lengths)

    def decide(self, engine: Engine, scores: Any) -> Any:
        """The membrane itself if targets are membrane values, else the class with the highest score."""
        return scores if self.time_var_targets else super().decide(engine, scores)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        return steps.mean(values) * (self.on_target - self.off_target)

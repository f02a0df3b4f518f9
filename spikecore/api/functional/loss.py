"""Losses on spikes and membranes, with snnTorch's names and arguments.

A loss is called with what a network returned, or with a plain array of any engine, and class labels::

    loss = spikecore.functional.ce_rate_loss()
    loss(model(x), targets)          # reads the spikes (or the membrane) of the last layer
    loss(spikes, targets)            # (time, batch, classes)

Losses add: ``ce_rate_loss() + 0.1 * mse_membrane_loss()``. Any callable ``(out, targets) -> scalar`` serves as a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.engine import engine_of
from spikecore.api.functional.targets import check_labels, check_sequence, one_hot, pool_population
from spikecore.api.parameters import Fixed

REDUCTIONS = ("mean", "sum", "none")


class LossBase:
    """What every loss can do: be called, added and scaled."""

    reads: str = "spikes"

    def evaluate(self, engine: Any, out: Any, targets: Any) -> Any:
        """The loss of a network's ``Output``; ``targets`` belong to ``engine``."""
        raise NotImplementedError

    def __add__(self, other: Any) -> WeightedSum:
        return WeightedSum((*_terms(self), *_terms(other)))

    def __mul__(self, factor: float) -> WeightedSum:
        return WeightedSum(tuple((factor * weight, loss) for weight, loss in _terms(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Loss(LossBase):
    """Base of the losses that compare (time, batch, classes) with class labels.

    Args:
        population_code: whether several neurons stand for one class; class i owns the i-th contiguous block.
        num_classes: number of classes of a population code; must divide the number of neurons.
        reduction: "mean" over the batch, "sum", or "none".
        weight: one weight per class. As in snnTorch the weighted losses are averaged plainly, mean(weight[y] loss).
        normalise: with ``weight``, divide by the sum of the weights instead, as torch does.
    """

    population_code: bool = False
    num_classes: int = 0
    reduction: str = "mean"
    weight: Any = None
    normalise: bool = False

    reads: ClassVar[str] = "spikes"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise ValueError(
                f"{type(self).__name__}: reduction={self.reduction!r} must be one of {', '.join(REDUCTIONS)}"
            )
        if self.population_code and not self.num_classes:
            raise ValueError(f"{type(self).__name__}: population_code=True needs num_classes")
        if self.weight is not None:
            object.__setattr__(self, "weight", Fixed(self.weight))

    def __call__(self, out: Any, targets: Any) -> Any:
        """The loss of an ``Output`` or of an array (time, batch, classes); a scalar of the same kind.

        Args:
            out: a network's ``Output``, or its spikes (membrane, for a loss that reads it).
            targets: class labels (batch,), host data or of the same engine.

        Raises:
            ShapeError: wrong shapes. ValueError: a label out of range.
        """
        values = self.read(out)
        engine = engine_of(values)
        targets = engine.asarray(targets, dtype="int64")
        check_sequence(self.reads, values)
        check_labels(engine, targets, values.shape[1], self.num_classes or values.shape[2])
        return self.compute(engine, values, targets)

    def read(self, out: Any) -> Any:
        """The array this loss looks at."""
        return getattr(out, self.reads) if hasattr(out, self.reads) else out

    def evaluate(self, engine: Any, out: Any, targets: Any) -> Any:
        return self.compute(engine, self.read(out), targets)

    def compute(self, engine: Any, values: Any, targets: Any) -> Any:
        """The loss in words: values (time, batch, classes), labels (batch,), both of ``engine``."""
        if self.population_code:
            values = pool_population(engine, values, self.num_classes)
        code = one_hot(engine, targets, values.shape[2])
        return self._reduced(engine, self.per_sample(engine, values, code), code)

    def per_sample(self, engine: Any, values: Any, code: Any) -> Any:
        """The loss of each sample, (batch,) or (batch, classes), from values and one-hot labels."""
        raise NotImplementedError

    def _reduced(self, engine: Any, losses: Any, code: Any) -> Any:
        xp = engine.xp
        weights = None
        if self.weight is not None:
            weights = xp.sum(code * engine.asarray(self.weight.data), axis=1)
            losses = losses * (weights if losses.ndim == 1 else xp.expand_dims(weights, axis=1))
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return xp.sum(losses)
        mean = xp.mean(losses)
        return mean / xp.mean(weights) if self.normalise and weights is not None else mean


def _nll(engine: Any, logits: Any, code: Any) -> Any:
    """-log softmax at the right class; logits (..., batch, classes)."""
    return -engine.xp.sum(code * engine.xp.log_softmax(logits, axis=-1), axis=-1)


@dataclass(frozen=True)
class ce_rate_loss(Loss):  # noqa: N801  (snnTorch's name)
    """Cross-entropy of the spikes at every step, averaged over time.

        (1/T) sum_t -log softmax(S[t])_y

    Args:
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.
    """

    def per_sample(self, engine: Any, values: Any, code: Any) -> Any:
        return engine.xp.mean(_nll(engine, values, code), axis=0)


@dataclass(frozen=True)
class ce_count_loss(Loss):  # noqa: N801
    """Cross-entropy of the spike counts.

        -log softmax(sum_t S[t])_y

    Args:
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.
    """

    def per_sample(self, engine: Any, values: Any, code: Any) -> Any:
        return _nll(engine, engine.xp.sum(values, axis=0), code)


@dataclass(frozen=True)
class mse_count_loss(Loss):  # noqa: N801
    """Squared distance of the spike counts from target counts.

        (1/T) mean_c (sum_t S[t] - n)^2,   n = int(T correct_rate) for the right class, int(T incorrect_rate) else

    Args:
        correct_rate: fraction of the steps at which the right class should fire, in [0, 1].
        incorrect_rate: the same for the others.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``; a
            population of k neurons per class has k times the count.
    """

    correct_rate: float = 1.0
    incorrect_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("correct_rate", "incorrect_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"mse_count_loss: {name}={getattr(self, name)!r} must be in [0, 1]")

    def compute(self, engine: Any, values: Any, targets: Any) -> Any:
        neurons = values.shape[2] // self.num_classes if self.population_code else 1
        if self.population_code:
            values = pool_population(engine, values, self.num_classes)
        code = one_hot(engine, targets, values.shape[2])
        steps = values.shape[0]
        on, off = (int(steps * neurons * rate) for rate in (self.correct_rate, self.incorrect_rate))
        off_by = engine.xp.sum(values, axis=0) - (off + (on - off) * code)
        return self._reduced(engine, off_by * off_by, code) / steps


@dataclass(frozen=True)
class mse_membrane_loss(Loss):  # noqa: N801
    """Squared distance of the membrane from a target at every step.

        (1/T) sum_t mean_c (U[t] - target)^2

    Args:
        time_var_targets: whether ``targets`` are membrane values (time, batch, classes) instead of labels.
        on_target: target of the right class.
        off_target: target of the others.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.
    """

    time_var_targets: bool = False
    on_target: float = 1.0
    off_target: float = 0.0

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_var_targets and (self.weight is not None or self.population_code):
            raise ValueError("mse_membrane_loss: time_var_targets=True has no classes to weight or to pool")

    def __call__(self, out: Any, targets: Any) -> Any:
        if not self.time_var_targets:
            return super().__call__(out, targets)
        values = self.read(out)
        engine = engine_of(values)
        return self.compute(engine, values, engine.asarray(targets))

    def compute(self, engine: Any, values: Any, targets: Any) -> Any:
        if not self.time_var_targets:
            return super().compute(engine, values, targets)
        if tuple(targets.shape) != tuple(values.shape):
            raise ValueError(
                f"mse_membrane_loss: targets {tuple(targets.shape)} must match the membrane {tuple(values.shape)}"
            )
        distance = values - targets
        return self._reduced(engine, engine.xp.mean(distance * distance, axis=0), None)

    def per_sample(self, engine: Any, values: Any, code: Any) -> Any:
        distance = values - (self.off_target + (self.on_target - self.off_target) * code)
        return engine.xp.mean(distance * distance, axis=0)


@dataclass(frozen=True)
class WeightedSum(LossBase):
    """A sum of losses; made by ``+`` and ``*``."""

    terms: Tuple[Tuple[float, Any], ...]

    def __call__(self, out: Any, targets: Any) -> Any:
        total = 0.0
        for weight, loss in self.terms:
            total = total + weight * loss(out, targets)
        return total

    def evaluate(self, engine: Any, out: Any, targets: Any) -> Any:
        total = 0.0
        for weight, loss in self.terms:
            total = total + weight * evaluate(loss, engine, out, targets)
        return total


def _terms(loss: Any) -> Tuple[Tuple[float, Any], ...]:
    if isinstance(loss, WeightedSum):
        return loss.terms
    if not callable(loss):
        raise TypeError(f"{loss!r} is not a loss: expected a callable (out, targets) -> scalar")
    return ((1.0, loss),)


def evaluate(loss: Any, engine: Any, out: Any, targets: Any) -> Any:
    """The value of a loss, the library's or any callable's, inside a pass on ``engine``."""
    return loss.evaluate(engine, out, targets) if isinstance(loss, LossBase) else loss(out, targets)


def reads_labels(loss: Any) -> Optional[Loss]:
    """The first of the library's losses in ``loss`` that compares with class labels; None if there is none."""
    for _, term in _terms(loss):
        if isinstance(term, Loss) and not getattr(term, "time_var_targets", False):
            return term
    return None

"""Losses on values, one or several for each sample: regression, quantiles, several labels at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, List, Literal, Optional, Sequence, Tuple, cast, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.parameters import FixedArray
from spikecore.api.core.words import Array
from spikecore.api.functional.base import Loss
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import check_several, check_values
from spikecore.api.functional.tasks import LABELS, VALUE, TargetKind
from spikecore.arguments import ArrayLike, Numbers, shown

OverTime = Literal["mean", "last", "max", "sum"]
OVER_TIME = get_args(OverTime)


@dataclass(frozen=True)
class ValueLoss(Loss):
    """Base of the losses that compare one reading of each output's membrane with a value.

        u = mean_t U[t]       or, by ``over_time``, the last U[t], the highest, or their sum

    Args:
        over_time: "mean" (the default): the mean over the steps; "last": the last step; "max"; "sum".
        reduction: "mean" over the batch (the default), "sum", or "none": one loss per sample.
        population_code, num_classes, weight, normalise: refused, unless targets are labels: values have no classes.

    Raises:
        ValueError: ``over_time`` is something else, or an option of classes is given.

    A subclass defines ``cost``.
    """

    over_time: OverTime = "mean"

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.over_time not in OVER_TIME:
            raise ValueError(
                f"{type(self).__name__}: over_time={self.over_time!r} must be one of {', '.join(OVER_TIME)}"
            )
        if self.task == VALUE:
            self._refuse_classes()

    @property
    def task(self) -> Optional[TargetKind]:
        return VALUE

    @property
    def per_value(self) -> int:
        """The number of outputs for each value."""
        return 1

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        if classes is not None:
            check_values(engine, targets, batch, classes, self.per_value)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        return getattr(steps, self.over_time)(values)

    def decide(self, engine: Engine, scores: Any) -> Any:
        """The values, (batch, outputs), of a single output (batch,)."""
        return scores[..., 0] if scores.shape[-1] == 1 else scores

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        read = ValueLoss.score(self, engine, values, Steps(engine, values, lengths))  # (batch, outputs)
        wanted = engine.xp.reshape(engine.xp.astype(targets, engine.dtype), (read.shape[0], -1))
        return self._total(engine, engine.xp.mean(self.cost(engine, read, self.standard(engine, wanted)), axis=1), None)

    def standard(self, engine: Engine, wanted: Any) -> Any:
        """Targets (batch, values) in the unit of the readings."""
        return wanted

    def cost(self, engine: Engine, read: Any, wanted: Any) -> Any:
        """The cost of each value, from readings (batch, outputs) and targets (batch, values)."""
        raise NotImplementedError


@dataclass(frozen=True)
class NumberLoss(ValueLoss):
    """Base of the losses that compare readings with numbers in a unit of their own.

        z = (y - mean) / deviation,   prediction = mean + deviation u

    The loss compares the reading u with z, so that a network learns any unit alike. ``predict`` and metrics are in the
    unit of the targets y. In float32, a mean of more than 10,000 deviations leaves z few digits: subtract a constant
    from such targets.

    Args:
        over_time, reduction: see ``ValueLoss``.
        mean, deviation: those of the training targets, a number or one for each value (k,); deviation > 0. Default 0
            and 1: readings are in the unit of the targets.
        population_code, num_classes, weight, normalise: refused.

    Raises:
        ValueError: ``mean`` or ``deviation`` is out of range, or not one for each value.
    """

    mean: Numbers = 0.0
    deviation: Numbers = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mean", "deviation"):
            given = FixedArray(getattr(self, name)).tolist()  # a finite number, or several
            parts = given if isinstance(given, list) else [given]
            if not parts or not all(isinstance(x, float) and (x > 0.0 or name == "mean") for x in parts):
                allowed = "a number" if name == "mean" else "a number > 0"
                value = shown(getattr(self, name))
                raise ValueError(f"{type(self).__name__}: {name}={value} must be {allowed}, or one for each value")
            object.__setattr__(self, name, tuple(parts) if isinstance(given, list) else given)

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        super().check_targets(engine, targets, batch, classes, time, lengths)
        count = (classes or 0) // self.per_value
        for name in ("mean", "deviation"):
            given = getattr(self, name)
            if count and isinstance(given, tuple) and len(given) not in (1, count):
                raise ValueError(
                    f"{type(self).__name__}: {name} has {len(given)} numbers for {count} values per sample; give one "
                    "for each"
                )

    @property
    def unit(self) -> Optional[Tuple[List[float], List[float]]]:
        """Mean and deviation, of one or of each value; None if readings are in the unit of the targets."""
        mean, deviation = (cast(Any, [*x] if isinstance(x, tuple) else [x]) for x in (self.mean, self.deviation))
        return None if (mean, deviation) == ([0.0], [1.0]) else (mean, deviation)

    def standard(self, engine: Engine, wanted: Any) -> Any:
        if self.unit is None:
            return wanted
        mean, deviation = map(engine.asarray, self.unit)
        return (wanted - mean) / deviation

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        read = super().score(engine, values, steps)
        if self.unit is None:
            return read
        mean, deviation = (engine.xp.expand_dims(engine.asarray(x), axis=1) for x in self.unit)
        return engine.xp.reshape(self._by_value(engine, read) * deviation + mean, read.shape)

    def _by_value(self, engine: Engine, scores: Any) -> Any:
        """Outputs (batch, outputs) as (batch, values, outputs for each value)."""
        return engine.xp.reshape(scores, (scores.shape[0], -1, self.per_value))


@dataclass(frozen=True)
class mse_value_loss(NumberLoss):
    """Squared distance of one reading of the membrane from a value: regression.

        mean_k (u_k - z_k)^2,   z = (y - mean) / deviation,   u = mean_t U[t], or another reading by ``over_time``

    Targets y are (batch,) for a last layer of one neuron, or (batch, k) for k neurons. Let the network end in ``LI``,
    whose membrane is not reset by spikes. Give mean and deviation of the training targets, unless these are about 0
    and 1: ``predict`` and metrics are in the unit of the targets.

    Args:
        over_time, reduction: see ``ValueLoss``: "mean" (the default), "last", "max" or "sum".
        mean, deviation: of the training targets, a number or one for each value, (k,); default 0 and 1.
        population_code, num_classes, weight, normalise: refused.

    Raises:
        ValueError: ``over_time`` is something else, ``deviation`` is not positive, or an option of classes is given.

    Example:
        >>> loss = functional.mse_value_loss(mean=y.mean(), deviation=y.std())
        >>> model.fit(x, y, loss=loss, num_steps=15)
        >>> model.predict(x_test, num_steps=15)     # in the unit of y
    """

    def cost(self, engine: Engine, read: Any, wanted: Any) -> Any:
        return (read - wanted) * (read - wanted)


@dataclass(frozen=True)
class huber_value_loss(NumberLoss):
    """Huber's loss of one reading of the membrane: squares for small errors, lines for large ones.

        mean_k h(u_k - z_k),   h(e) = e^2 / 2 up to |e| = delta, delta (|e| - delta / 2) above
        z = (y - mean) / deviation

    For targets with outliers. The reading u and the shapes of targets are those of ``mse_value_loss``.

    Args:
        delta: error at which the square ends, in deviations of the targets, > 0; default 1.
        mean, deviation: of the training targets, a number or one for each value, (k,); default 0 and 1.
        over_time, reduction: see ``ValueLoss``: "mean" (the default), "last", "max" or "sum".
        population_code, num_classes, weight, normalise: refused.

    Raises:
        ValueError: ``delta`` or ``deviation`` is not positive, ``over_time`` is something else, or an option of classes
            is given.

    Source: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.delta > 0.0:
            raise ValueError(f"huber_value_loss: delta={self.delta!r} must be > 0")

    def cost(self, engine: Engine, read: Any, wanted: Any) -> Any:
        error = engine.xp.abs(read - wanted)
        square = engine.xp.clip(error, 0.0, self.delta)
        return square * (error - 0.5 * square)


@dataclass(frozen=True)
class quantile_value_loss(NumberLoss):
    """Quantiles of a value: how large it may be, with which probability (pinball loss).

        mean_k mean_q max(q (z_k - u_kq), (q - 1) (z_k - u_kq)),   z = (y - mean) / deviation

    The last layer has a neuron for each value and quantile: those of the first value first. With quantiles (0.1, 0.5,
    0.9) and targets (batch,) it has 3. ``predict`` gives (batch, quantiles), or for k values (batch, k, quantiles), and
    metrics read the quantile next to 0.5. The reading u is that of ``mse_value_loss``.

    Args:
        quantiles: each in (0, 1); default (0.1, 0.5, 0.9).
        mean, deviation: of the training targets, a number or one for each value, (k,); default 0 and 1.
        over_time, reduction: see ``ValueLoss``: "mean" (the default), "last", "max" or "sum".
        population_code, num_classes, weight, normalise: refused.

    Raises:
        ValueError: there is no quantile, or one is outside (0, 1); ``over_time`` is something else, ``deviation`` is
            not positive, or an option of classes is given.

    Source: Koenker and Bassett, Regression quantiles, Econometrica 46, 1978.
    """

    quantiles: Sequence[float] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "quantiles", tuple(self.quantiles))
        if not self.quantiles or not all(0.0 < q < 1.0 for q in self.quantiles):
            raise ValueError(f"quantile_value_loss: quantiles={self.quantiles!r} must be numbers in (0, 1)")

    @property
    def per_value(self) -> int:
        return len(self.quantiles)

    def decide(self, engine: Engine, scores: Any) -> Any:
        """The quantiles, (batch, quantiles), or (batch, values, quantiles)."""
        return scores if scores.shape[-1] == self.per_value else self._by_value(engine, scores)

    def compared(self, engine: Engine, scores: Any) -> Any:
        middle = min(range(self.per_value), key=lambda i: abs(self.quantiles[i] - 0.5))
        return self._by_value(engine, scores)[..., middle]

    def cost(self, engine: Engine, read: Any, wanted: Any) -> Any:
        xp = engine.xp
        above = xp.expand_dims(wanted, axis=-1) - self._by_value(engine, read)
        q = engine.asarray(list(self.quantiles))
        return xp.mean(xp.maximum(above * q, above * (q - 1.0)), axis=-1)


@dataclass(frozen=True)
class bce_value_loss(ValueLoss):
    """Binary cross-entropy of one reading of each class's membrane: several labels at once, or none.

        mean_c -(y_c log p_c + (1 - y_c) log(1 - p_c)),   p_c = 1 / (1 + exp(-u_c))

    Targets are 0 or 1 for each class, (batch, classes). A class is predicted if its reading is above 0, so that its
    probability is above 1/2. The reading u is that of ``mse_value_loss``.

    Args:
        over_time, reduction: see ``ValueLoss``: "mean" (the default), "last", "max" or "sum".
        weight: one factor per class, (classes,), of the term y_c log p_c, for rare labels; None, the default: all 1.
        population_code, num_classes, normalise: refused.

    Raises:
        ValueError: ``over_time`` is something else, or an option of a single class per sample is given.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.population_code or self.num_classes or self.normalise:
            raise ValueError("bce_value_loss: leave population_code, num_classes and normalise out")

    @property
    def task(self) -> Optional[TargetKind]:
        return LABELS

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        check_several(engine, targets, batch, classes)

    def decide(self, engine: Engine, scores: Any) -> Any:
        """1 for each class whose reading is above 0, else 0."""
        return engine.xp.astype(scores > 0.0, "int64")

    def cost(self, engine: Engine, read: Any, wanted: Any) -> Any:
        xp, weight = engine.xp, cast(Optional[FixedArray], self.weight)
        # -log p = softplus(-u), -log(1 - p) = softplus(u) = u + softplus(-u); no exp of a positive number
        softplus = xp.maximum(-read, 0.0) + xp.log(1.0 + xp.exp(-xp.abs(read)))
        present = softplus * wanted
        if weight is not None:
            self._check_weight(weight, read.shape[1])
            present = present * engine.asarray(weight.data)
        return present + (read + softplus) * (1.0 - wanted)

"""Losses on spike times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Optional, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.functional.base import Loss
from spikecore.api.functional.loss import nll
from spikecore.api.functional.spike_time import SpikeTime, as_tuples, spike_times
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import one_hot
from spikecore.api.functional.tasks import CLASS, TargetKind
from spikecore.arguments import ArrayLike, Numbers

Inverse = Literal["negate", "reciprocal"]
INVERSES = get_args(Inverse)


@dataclass(frozen=True)
class mse_temporal_loss(Loss):
    """Squared distance of the spike times from target times, both as fractions of the sequence.

        mean (t / T - target / T)^2       over spikes, samples and neurons

    Args:
        target_is_time, on_target, off_target, tolerance, multi_spike: see ``SpikeTime``.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``. A population fires when its first
            neuron fires.

    Raises:
        ValueError: class weights or a population code are given, but targets are times.
    """

    target_is_time: bool = False
    on_target: Numbers = 0
    off_target: Numbers = -1
    tolerance: float = 0
    multi_spike: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        as_tuples(self)
        _ = self.reader  # checks the times
        if self.target_is_time and (self.weight is not None or self.population_code):
            raise ValueError("mse_temporal_loss: target_is_time=True has no classes to weight or to pool")

    @property
    def reader(self) -> SpikeTime:
        """The ``SpikeTime`` that computes spike times and target times."""
        return SpikeTime(self.target_is_time, self.on_target, self.off_target, self.tolerance, self.multi_spike)

    @property
    def task(self) -> Optional[TargetKind]:
        return None if self.target_is_time else CLASS

    def check(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> None:
        super().check(engine, values, targets, lengths)
        values = self._pooled(engine, values)
        self.reader.check(engine, values, targets, lengths)

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        values = self._pooled(engine, values)
        code = None if self.target_is_time else one_hot(engine, targets, values.shape[2])
        times, wanted = self.reader.compare(engine, values, targets, code, lengths)
        off_by = (times - wanted) / Steps(engine, values, lengths).counts(2)
        return self._reduced(engine, engine.xp.mean(off_by * off_by, axis=0), code)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        """Distance of each neuron's spike times from the target of the other classes minus that of the right class."""
        right = engine.xp.ones_like(values[0, ...])
        distances = []
        for code in (right, 0.0 * right):
            times, wanted = self.reader.compare(engine, values, None, code, steps.lengths)
            distances.append(engine.xp.mean((times - wanted) * (times - wanted), axis=0))
        return distances[1] - distances[0]


@dataclass(frozen=True)
class ce_temporal_loss(Loss):
    """Cross-entropy of the first spike times: the earlier a class fires, the higher its logit.

        -log softmax(-t)_y        or, with inverse="reciprocal",  -log softmax(1 / (t + 1))_y

    Args:
        inverse: "negate" (the default) or "reciprocal".
        population_code, num_classes, reduction, weight: see ``Loss``. A population fires when its first neuron fires.
        normalise: see ``Loss``; here the default is True, as in snnTorch.

    Raises:
        ValueError: ``inverse`` is something else.
    """

    normalise: bool = True
    inverse: Inverse = "negate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inverse not in INVERSES:
            raise ValueError(f"ce_temporal_loss: inverse={self.inverse!r} must be one of {', '.join(INVERSES)}")

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        values = self._pooled(engine, values)
        times = spike_times(engine, values, lengths=lengths)[0, ...]
        logits = -times if self.inverse == "negate" else 1.0 / (times + 1.0)
        code = one_hot(engine, targets, values.shape[2])
        return self._reduced(engine, nll(engine, logits, code), code)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        return -spike_times(engine, values, lengths=steps.lengths)[0, ...]

"""Learning-rate schedules: callables ``(epoch, epochs) -> factor`` of the optimiser's rate. Any function can be one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spikecore.arguments import Checked
from spikecore.printing import Concise


@dataclass(frozen=True)
class constant(Concise, Checked):  # noqa: N801
    """A constant learning rate: the factor is always 1."""

    def __call__(self, epoch: int, epochs: int) -> float:
        return 1.0


@dataclass(frozen=True)
class step(Concise, Checked):  # noqa: N801
    """A step schedule: multiplies the learning rate by ``factor`` every ``every`` epochs.

    Args:
        every: number of epochs, >= 1.
        factor: > 0; default 0.1.

    Raises:
        ValueError: an argument is out of range.
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or not self.factor > 0:
            raise ValueError(f"step: every={self.every!r} must be >= 1 and factor={self.factor!r} > 0")

    def __call__(self, epoch: int, epochs: int) -> float:
        return self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class cosine(Concise, Checked):  # noqa: N801
    """Cosine annealing: after a linear warm-up, half a cosine from 1 down to ``floor``, reached after the last epoch.

    Args:
        floor: last factor, in [0, 1]; default 0.
        warmup: epochs of linear warm-up, >= 0; default 0.

    Raises:
        ValueError: an argument is out of range.
    """

    floor: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor <= 1.0 or self.warmup < 0:
            raise ValueError(f"cosine: floor={self.floor!r} must be in [0, 1] and warmup={self.warmup!r} >= 0")

    def __call__(self, epoch: int, epochs: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        progress = (epoch - self.warmup) / max(1, epochs - self.warmup)
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

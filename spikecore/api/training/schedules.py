"""Learning-rate schedules: callables ``(epoch, epochs) -> factor`` of the optimiser's rate. Any function will do."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spikecore.arguments import Checked


@dataclass(frozen=True)
class constant(Checked):  # noqa: N801
    """The same rate throughout."""

    def __call__(self, epoch: int, epochs: int) -> float:
        return 1.0


@dataclass(frozen=True)
class step(Checked):  # noqa: N801
    """Multiply by ``factor`` every ``every`` epochs.

    Args:
        every: epochs, >= 1.
        factor: > 0.
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or not self.factor > 0:
            raise ValueError(f"step: every={self.every!r} must be >= 1 and factor={self.factor!r} > 0")

    def __call__(self, epoch: int, epochs: int) -> float:
        return self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class cosine(Checked):  # noqa: N801
    """Half a cosine from 1 in the first epoch down to ``floor`` after the last, behind a linear warm-up.

    Args:
        floor: last factor, in [0, 1].
        warmup: epochs of linear warm-up.
    """

    floor: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor <= 1.0 or self.warmup < 0:
            raise ValueError(f"cosine: floor={self.floor!r} must be in [0, 1] and warmup={self.warmup!r} >= 0")

    def __call__(self, epoch: int, epochs: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        done = (epoch - self.warmup) / max(1, epochs - self.warmup)
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done))

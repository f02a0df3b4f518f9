"""Rewards for ``Plasticity``: functions of the outputs and the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.functional.targets import as_numbers, check_labels, targets_on
from spikecore.arguments import ArrayLike, Checked
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output


@dataclass(frozen=True)
class ClassReward(Concise, Checked):
    """One reward for each sample whose class fires most, another for each other sample.

    For ``Plasticity({...: RewardSTDP()}, reward=ClassReward())``, of a network whose outputs stand for classes. Ties go
    to the lowest class; a sample for which no output fires is wrong.

    Args:
        right: the reward of a sample whose class is right; default 1.
        wrong: that of all others; default -1.

    Raises:
        ValueError: a reward is not finite.
    """

    right: float = 1.0
    wrong: float = -1.0

    def __call__(self, out: Output, targets: ArrayLike) -> Any:
        """The rewards (batch,), an array of the engine of ``out``; ``targets`` are class labels (batch,)."""
        if targets is None:
            raise TypeError("ClassReward needs class labels, and there are no targets: fit(x, y, learning=...)")
        engine = engine_of(out.spikes)
        xp, labels = engine.xp, targets_on(engine, targets)
        counts = xp.sum(as_numbers(engine, out.spikes), axis=0)
        if counts.ndim != 2 or tuple(labels.shape) != (int(counts.shape[0]),):
            raise ShapeError(
                f"ClassReward: targets of shape {tuple(labels.shape)} for spikes of shape {tuple(out.spikes.shape)}, "
                "expected one class for each sample, and spikes (time, batch, classes)"
            )
        check_labels(engine, labels, (int(counts.shape[0]),), int(counts.shape[1]))
        fires = xp.max(counts, axis=1) > 0.0
        hits = xp.where(xp.argmax(counts, axis=1) == labels, xp.astype(fires, engine.dtype), 0.0 * counts[:, 0])
        return self.wrong + (self.right - self.wrong) * hits

"""Regularisers: costs of a network's activity, which are added to a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.words import Array
from spikecore.api.functional.base import LossBase, Spikes
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers
from spikecore.arguments import ArrayLike

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output


@dataclass(frozen=True)
class l1_rate_sparsity(LossBase):  # noqa: N801  (snnTorch's name)
    """A cost per spike: Lambda times the sum of all spikes.

    Call it on spikes, or add it to a loss: ``ce_rate_loss() + l1_rate_sparsity(1e-4)``. It counts the last layer's.

    Args:
        Lambda: cost of one spike; default 1e-5.

    Raises:
        ValueError: ``Lambda`` is not finite.
    """

    Lambda: float = 1e-5

    def __post_init__(self) -> None:
        if not math.isfinite(self.Lambda):
            raise ValueError(f"l1_rate_sparsity: Lambda={self.Lambda!r} must be finite")

    def __call__(self, out: Spikes, targets: Optional[ArrayLike] = None, lengths: Optional[ArrayLike] = None) -> Any:
        """The cost of an ``Output`` or of spikes.

        Args:
            out: an ``Output``, or spikes of any shape; with ``lengths``, (time, batch, ...).
            targets: not used.
            lengths: how many steps of each sample count, (batch,); None, the default: all.
        """
        spikes = getattr(out, "spikes", out)
        engine = engine_of(spikes)
        return self._cost(engine, as_numbers(engine, spikes), lengths)

    def evaluate(self, engine: Engine, out: Output, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        return self._cost(engine, getattr(out, "spikes", out), lengths)

    def _cost(self, engine: Engine, spikes: Any, lengths: Optional[ArrayLike]) -> Any:
        counted = spikes if lengths is None else Steps(engine, spikes, lengths).kept(spikes)
        return self.Lambda * engine.xp.sum(counted)

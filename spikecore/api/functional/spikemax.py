"""SpikeMax: spike rates as the probabilities of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Optional, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.functional.base import Loss
from spikecore.api.functional.steps import Steps
from spikecore.arguments import ArrayLike, Size

Mode = Literal["probability", "softmax"]
MODES = get_args(Mode)


@dataclass(frozen=True)
class spikemax_loss(Loss):
    """Negative log-likelihood of the right class, whose probability is its share of the spikes.

        p_c = (r_c + eps) / sum_j (r_j + eps)     or, with mode="softmax",  p = softmax(r)
        -log p_y                                  or, with a moving window, (1/T) sum_t -log p[t]_y

    r is the rate over the whole sequence, or that of the window's last W steps, r[t] = (1/W) sum_{k<W} S[t-k], with
    S = 0 before the first step. A moving window asks for the right class early, and all the time.

    Args:
        moving_window: number of steps W of the moving window; None, the default: the whole sequence.
        mode: "probability" (the default) or "softmax".
        eps: added to each rate with mode="probability", so that the loss is finite if the right class is silent. In
            spikes per step, > 0; default 0.01.
        population_code, num_classes, reduction, weight, normalise: see ``Loss``.

    Raises:
        ValueError: ``mode`` is something else, or ``eps`` is not positive; in a call, a value is negative with
            mode="probability".

    Source: Shrestha, Zhu and Sun, Spikemax: spike-based loss methods for classification, IJCNN 2022, as in Intel's
    lava-dl, where ``eps`` stands in the denominator alone.
    """

    moving_window: Optional[Size] = None
    mode: Mode = "probability"
    eps: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise ValueError(f"spikemax_loss: mode={self.mode!r} must be one of {', '.join(MODES)}")
        if not self.eps > 0.0:
            raise ValueError(f"spikemax_loss: eps={self.eps!r} must be > 0")

    def check(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> None:
        super().check(engine, values, targets, lengths)
        least = float(engine.to_numpy(Steps(engine, values, lengths).kept(values)).min())
        if self.mode == "probability" and least < 0.0:
            raise ValueError(
                f"spikemax_loss: spikes has the value {least:.3g}, but shares of spikes need values >= 0: let the "
                "network end in neurons that fire, or take mode='softmax'"
            )

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        return -engine.xp.sum(code * self.score(engine, values, steps), axis=-1)

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        """Log p, with a moving window its mean over the steps."""
        if self.moving_window is None:
            return self._log_p(engine, steps.mean(values))
        return steps.mean(self._log_p(engine, moving_mean(engine, steps.kept(values), self.moving_window)))

    def _log_p(self, engine: Engine, rates: Any) -> Any:
        xp = engine.xp
        if self.mode == "softmax":
            return xp.log_softmax(rates, axis=-1)
        shares = rates + self.eps
        return xp.log(shares) - xp.log(xp.sum(shares, axis=-1, keepdims=True))


def moving_mean(engine: Engine, values: Array, window: int) -> Any:
    """The mean of the last ``window`` steps at each step of (time, batch, classes); zero before the first."""
    xp = engine.xp
    series = xp.pad(xp.permute_dims(values, (1, 2, 0)), ((0, 0), (0, 0), (window - 1, 0)))
    return xp.permute_dims(xp.avg_pool(series, (window,), (1,), (0,)), (2, 0, 1))

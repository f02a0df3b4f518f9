"""State quantisation: states are rounded to a few levels, as on hardware with few bits per state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.words import Array
from spikecore.arguments import Checked
from spikecore.printing import Concise

#: Ratio of neighbouring steps of non-uniform levels, by number of bits; 0.95 beyond.
MULTIPLIERS = {1: 0.05, 2: 0.1, 3: 0.3, 4: 0.5, 5: 0.7, 6: 0.9, 7: 0.925}


@dataclass(frozen=True)
class state_quant(Concise, Checked):
    """Rounds a state to the nearest of 2^num_bits levels; ties go to the lower one (snnTorch ``quant.state_quant``).

    The levels span [-threshold (1 + lower_limit), threshold (1 + upper_limit)]. They are evenly spaced, or densest
    around the threshold (or zero), where each step is ``multiplier`` times the next one outwards. The gradient is that
    of the identity, without clipping (straight-through estimator).

    Args:
        num_bits: number of bits, 1 to 16; default 8.
        uniform: whether the levels are evenly spaced; default True.
        thr_centered: for unevenly spaced levels. True, the default: they are densest around the threshold; False:
            around zero.
        threshold: > 0, default 1; should be the neuron's.
        lower_limit, upper_limit: by which fraction of the threshold the span exceeds -threshold and threshold, >= -1;
            defaults 0 and 0.2.
        multiplier: ratio of neighbouring steps in (0, 1]; None, the default, chooses it by ``num_bits``.

    Call it on an array of any engine, or pass it to a neuron as ``state_quant=``.

    Raises:
        ValueError: an argument is out of range.
    """

    num_bits: int = 8
    uniform: bool = True
    thr_centered: bool = True
    threshold: float = 1.0
    lower_limit: float = 0.0
    upper_limit: float = 0.2
    multiplier: Optional[float] = None

    def __post_init__(self) -> None:
        if not isinstance(self.num_bits, int) or not 1 <= self.num_bits <= 16:
            raise ValueError(f"state_quant: num_bits={self.num_bits!r} must be an int in [1, 16]")
        if not self.threshold > 0 or self.lower_limit < -1 or self.upper_limit < -1:
            raise ValueError(
                f"state_quant: threshold={self.threshold!r} must be > 0, lower_limit={self.lower_limit!r} and "
                f"upper_limit={self.upper_limit!r} >= -1"
            )
        if self.multiplier is not None and not 0.0 < self.multiplier <= 1.0:
            raise ValueError(f"state_quant: multiplier={self.multiplier!r} must be in (0, 1], or None")

    @property
    def span(self) -> Tuple[float, float]:
        """The lowest and the highest level."""
        return -self.threshold * (1.0 + self.lower_limit), self.threshold * (1.0 + self.upper_limit)

    def levels(self) -> List[float]:
        """All levels, ascending."""
        low, high = self.span
        count = 2**self.num_bits
        if self.uniform:
            return [low + (high - low) * i / (count - 1) for i in range(count)]
        pivot = self.threshold if self.thr_centered else 0.0
        below = math.floor(count * (pivot - low) / (high - low))
        ratio = self.multiplier or MULTIPLIERS.get(self.num_bits, 0.95)
        return [*_from(low, pivot, ratio, below), *_up_to(pivot, high, ratio, count - below)]

    def __call__(self, x: Array) -> Any:
        """The quantised array, an array of the same engine as ``x``."""
        return self.apply(engine_of(x), x)

    def apply(self, engine: Engine, x: Array) -> Any:
        """The quantised array on a given engine: the nearest level of each entry, with derivative one."""
        nearest = self._even(engine, x) if self.uniform else self._uneven(engine, x)
        return engine.stop_gradient(nearest) + (x - engine.stop_gradient(x))

    def _even(self, engine: Any, x: Any) -> Any:
        (low, high), last = self.span, 2**self.num_bits - 1
        step = (high - low) / last
        return low + step * engine.xp.clip(engine.xp.ceil((x - low) / step - 0.5), 0.0, float(last))

    def _uneven(self, engine: Any, x: Any) -> Any:
        levels = self.levels()
        value = engine.xp.zeros_like(x) + levels[0]
        for lower, upper in zip(levels, levels[1:]):
            above = engine.xp.astype(x > 0.5 * (lower + upper), engine.dtype)
            value = value + (upper - lower) * above
        return value


def _from(low: float, pivot: float, ratio: float, count: int) -> List[float]:
    """``count`` levels from ``low`` towards the pivot, in steps that shrink by ``ratio``."""
    total = sum(ratio**j for j in range(count))
    return [low + (pivot - low) * sum(ratio**j for j in range(i)) / total for i in range(count)]


def _up_to(pivot: float, high: float, ratio: float, count: int) -> List[float]:
    """``count`` levels from above the pivot to ``high``, in steps that grow by 1 / ``ratio``."""
    total = sum(ratio**j for j in range(count))
    steps = [ratio**j / total for j in reversed(range(count))]
    return [pivot + (high - pivot) * sum(steps[: i + 1]) for i in range(count)]

"""A surrogate whose derivative is zero wherever it is small: what engines with ``sparse_backward`` differentiate by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from spikecore.api.core.sizes import is_finite
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.surrogate.base import Surrogate


@dataclass(frozen=True)
class Truncated(Surrogate):
    """Another surrogate, with zero instead of derivatives of at most ``least`` in magnitude.

        derivative      h(u) where |h(u)| > least, else 0,  h the derivative of ``surrogate``

    A derivative that is NaN stays NaN. There is no antiderivative: finite differences check ``surrogate`` itself.

    Args:
        surrogate: the surrogate.
        least: the largest magnitude that counts as zero, > 0.
    """

    surrogate: Surrogate
    least: float

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        slope = self.surrogate.derivative(xp, u)
        return xp.where(xp.abs(slope) <= self.least, xp.zeros_like(u), slope)


def truncated(surrogate: Surrogate, least: float) -> Surrogate:
    """The surrogate with derivatives of at most ``least`` as zero; itself where ``least`` is 0."""
    return Truncated(surrogate, least) if least and not surrogate.stochastic else surrogate


def truncating(spike: Callable[[Any, Surrogate], Any], least: float) -> Callable[[Any, Surrogate], Any]:
    """The word ``spike`` with truncated surrogates; itself where ``least`` is 0."""
    return (lambda u, surrogate: spike(u, truncated(surrogate, least))) if least else spike


def checked_least(sparse_backward: Any) -> float:
    """The option ``sparse_backward`` of an engine as a float.

    Raises:
        ValueError: it is no finite number, or below 0.
    """
    if not is_finite(sparse_backward) or sparse_backward < 0:
        raise ValueError(
            f"sparse_backward={sparse_backward!r} must be a finite number, at least 0: derivatives of spikes up to "
            "this magnitude count as zero, and with 0.0 none does"
        )
    return float(sparse_backward)

"""Surrogate gradients: what stands in for the derivative of a spike.

A spike is S = Theta(u), strictly u > 0, with u = U - threshold. Its derivative is zero almost everywhere, so training
replaces it by ``derivative(u)``. Formula, derivative and antiderivative of each surrogate stand side by side; the
antiderivative makes the network smooth, which is how finite differences check gradients (see docs/verify.md).

Write your own as a frozen dataclass with ``derivative(xp, u)`` in vocabulary words (``api/words.py``)::

    @dataclass(frozen=True)
    class boxcar(Surrogate):
        width: float = 1.0

        def derivative(self, xp, u):
            return xp.astype(abs(u) < self.width / 2, dtype_name(u)) / self.width

Sources: Neftci et al., Surrogate gradient learning in spiking neural networks, 2019; Zenke & Ganguli, SuperSpike, 2018;
Fang et al., Incorporating learnable membrane time constants, 2021 (atan); Bengio et al., Estimating gradients through
stochastic neurons, 2013 (straight-through).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Surrogate:
    """Base of all surrogates. Two surrogates with equal parameters are equal; all of them can be pickled."""

    def derivative(self, xp: Any, u: Any) -> Any:
        """dS/du as used in the backward pass; an array of the shape and dtype of ``u``."""
        raise NotImplementedError(f"{type(self).__name__} defines no derivative(xp, u)")

    def antiderivative(self, xp: Any, u: Any) -> Any:
        """A function whose derivative is ``derivative``; only finite-difference checks need it."""
        raise NotImplementedError(f"{type(self).__name__} defines no antiderivative(xp, u)")

    @property
    def has_antiderivative(self) -> bool:
        """Whether finite differences can check this surrogate."""
        return type(self).antiderivative is not Surrogate.antiderivative


def _positive(name: str, value: float, owner: object) -> None:
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise ValueError(f"{type(owner).__name__}: {name}={value!r} must be a finite number > 0")


@dataclass(frozen=True)
class atan(Surrogate):  # noqa: N801  (snnTorch's name)
    """Arctangent, the default.

        derivative      (alpha/2) / (1 + (pi/2 alpha u)^2)        peak alpha/2 at u = 0
        antiderivative  arctan(pi/2 alpha u) / pi

    Args:
        alpha: width parameter, > 0; larger is narrower.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        _positive("alpha", self.alpha, self)

    def derivative(self, xp: Any, u: Any) -> Any:
        scaled = (math.pi / 2 * self.alpha) * u
        return (self.alpha / 2) / (1.0 + scaled * scaled)

    def antiderivative(self, xp: Any, u: Any) -> Any:
        return xp.atan((math.pi / 2 * self.alpha) * u) / math.pi


@dataclass(frozen=True)
class fast_sigmoid(Surrogate):  # noqa: N801
    """Fast sigmoid of SuperSpike.

        derivative      1 / (1 + k |u|)^2        peak 1 at u = 0
        antiderivative  u / (1 + k |u|)

    Args:
        slope: k > 0; larger is narrower.
    """

    slope: float = 25.0

    def __post_init__(self) -> None:
        _positive("slope", self.slope, self)

    def derivative(self, xp: Any, u: Any) -> Any:
        spread = 1.0 + self.slope * abs(u)
        return 1.0 / (spread * spread)

    def antiderivative(self, xp: Any, u: Any) -> Any:
        return u / (1.0 + self.slope * abs(u))


@dataclass(frozen=True)
class sigmoid(Surrogate):  # noqa: N801
    """Logistic sigmoid, in the form that cannot overflow (the derivative is even in u).

        derivative      k e / (1 + e)^2,  e = exp(-k |u|)        peak k/4 at u = 0
        antiderivative  1 / (1 + exp(-k u)) = (1 + tanh(k u / 2)) / 2

    Args:
        slope: k > 0; larger is narrower.
    """

    slope: float = 25.0

    def __post_init__(self) -> None:
        _positive("slope", self.slope, self)

    def derivative(self, xp: Any, u: Any) -> Any:
        e = xp.exp(-self.slope * abs(u))
        return self.slope * e / ((1.0 + e) * (1.0 + e))

    def antiderivative(self, xp: Any, u: Any) -> Any:
        return 0.5 * (1.0 + xp.tanh((0.5 * self.slope) * u))


@dataclass(frozen=True)
class straight_through_estimator(Surrogate):  # noqa: N801
    """Straight-through estimator.

    derivative      1
    antiderivative  u
    """

    def derivative(self, xp: Any, u: Any) -> Any:
        return xp.ones_like(u)

    def antiderivative(self, xp: Any, u: Any) -> Any:
        return 1.0 * u

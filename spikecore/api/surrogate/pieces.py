"""Surrogates made of pieces: constants, triangles, and bell curves that are cut off or shifted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.parameters import Param
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.surrogate.base import Surrogate, local


@dataclass(frozen=True)
class straight_through_estimator(Surrogate):
    """Straight-through estimator.

    derivative      1
    antiderivative  u

    Source: Bengio et al., Estimating or propagating gradients through stochastic neurons, 2013.
    """

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.ones_like(u)

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return 1.0 * u


@dataclass(frozen=True)
class heaviside(Surrogate):
    """The step function as derivative: the gradient passes neurons that fired and no others.

    derivative      1 for u > 0, else 0
    antiderivative  max(u, 0)
    """

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.where(u > 0, xp.ones_like(u), xp.zeros_like(u))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.where(u > 0, u, xp.zeros_like(u))


@dataclass(frozen=True)
class LSO(Surrogate):
    """Leaky spike operator: derivative 1 where the neuron fired, k elsewhere.

        derivative      1 for u > 0, else k
        antiderivative  u for u > 0, else k u

    snnTorch 1.0 has the name, but its operator raises an error.

    Args:
        slope: k >= 0; default 0.1.
    """

    slope: Param = 0.1
    non_negative: ClassVar[Tuple[str, ...]] = ("slope",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.where(u > 0, xp.ones_like(u), local(xp, u, self.slope) * xp.ones_like(u))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.where(u > 0, u, local(xp, u, self.slope) * u)


@dataclass(frozen=True)
class rectangular(Surrogate):
    """Rectangle of area one, the derivative of a step smoothed by a ramp.

        derivative      alpha for |u| < 1 / (2 alpha), else 0
        antiderivative  1/2 + alpha u, clipped to [0, 1]

    Args:
        alpha: > 0, default 1; larger is narrower.

    Source: Wu et al., Spatio-temporal backpropagation for training high-performance spiking neural networks, 2018.
    """

    alpha: Param = 1.0
    positive: ClassVar[Tuple[str, ...]] = ("alpha",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        alpha = local(xp, u, self.alpha)
        return xp.where(alpha * abs(u) < 0.5, alpha * xp.ones_like(u), xp.zeros_like(u))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.clip(0.5 + local(xp, u, self.alpha) * u, 0.0, 1.0)


@dataclass(frozen=True)
class piecewise_quadratic(Surrogate):
    """Triangle of area one, the derivative of a step smoothed by two parabolas.

        derivative      alpha max(0, 1 - |z|),  z = alpha u        peak alpha at u = 0, zero for |u| >= 1/alpha
        antiderivative  1/2 + z - z |z| / 2,  z = alpha u clipped to [-1, 1]

    Args:
        alpha: > 0, default 1; larger is narrower.

    Source: Bellec et al., Long short-term memory and learning-to-learn in networks of spiking neurons, 2018.
    """

    alpha: Param = 1.0
    positive: ClassVar[Tuple[str, ...]] = ("alpha",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return _triangle(xp, u, local(xp, u, self.alpha))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return _parabolas(xp, u, local(xp, u, self.alpha))


def _triangle(xp: Any, u: Any, alpha: Any) -> Any:
    return alpha * xp.clip(1.0 - alpha * abs(u), 0.0, math.inf)


def _parabolas(xp: Any, u: Any, alpha: Any) -> Any:
    z = xp.clip(alpha * u, -1.0, 1.0)
    return 0.5 + z - 0.5 * (z * abs(z))


@dataclass(frozen=True)
class triangular(Surrogate):
    """Triangle as wide as the threshold is high: ``piecewise_quadratic`` with alpha = 1/theta.

        derivative      max(0, 1 - |u| / theta) / theta        peak 1/theta at u = 0, zero for |u| >= theta
        antiderivative  1/2 + z - z |z| / 2,  z = u / theta clipped to [-1, 1]

    snnTorch 1.0 has the name, but its derivative is +theta below the threshold and -theta above it, at any distance.

    Args:
        threshold: theta > 0; default 1.

    Source: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020.
    """

    threshold: Param = 1.0
    positive: ClassVar[Tuple[str, ...]] = ("threshold",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return _triangle(xp, u, 1.0 / local(xp, u, self.threshold))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return _parabolas(xp, u, 1.0 / local(xp, u, self.threshold))


@dataclass(frozen=True)
class spike_rate_escape(Surrogate):
    """Escape rate of a neuron with noise, as in snnTorch.

        derivative      k e,  e = exp(-beta |u - 1|)        peak k at u = 1, that is at U = threshold + 1
        antiderivative  (k/beta) e for u <= 1,  (k/beta) (2 - e) for u > 1

    snnTorch subtracts 1 although u is already relative to the threshold, so the peak lies 1 above the threshold. It
    stays there, since trained networks depend on it. ``piecewise_exponential`` has its peak at the threshold.

    Args:
        beta: > 0, default 1; larger is narrower.
        slope: k >= 0, the height of the peak; default 25.

    Source: Gerstner & Kistler, Spiking Neuron Models, 2002; Shrestha & Orchard, SLAYER, NeurIPS 2018.
    """

    beta: Param = 1.0
    slope: Param = 25.0
    positive: ClassVar[Tuple[str, ...]] = ("beta",)
    non_negative: ClassVar[Tuple[str, ...]] = ("slope",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return local(xp, u, self.slope) * xp.exp(-local(xp, u, self.beta) * abs(u - 1.0))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        beta = local(xp, u, self.beta)
        e = xp.exp(-beta * abs(u - 1.0))
        return (local(xp, u, self.slope) / beta) * xp.where(u > 1.0, 2.0 - e, e)


@dataclass(frozen=True)
class SFS(Surrogate):
    """Sparse fast sigmoid: the gradient is zero below a bound.

        derivative      1 / (1 + k |u|)^2 for u > B, else 0
        antiderivative  v / (1 + k |v|),  v = max(u, B)

    With snnTorch's default B = 1 a neuron learns only where it exceeds the threshold by more than 1; a bound below 0
    lets neurons near the threshold learn.

    Args:
        slope: k > 0, default 25; larger is narrower.
        B: value of u above which there is a gradient; default 1.

    Source: Perez-Nieves & Goodman, Sparse spiking gradient descent, NeurIPS 2021.
    """

    slope: Param = 25.0
    B: Param = 1.0
    positive: ClassVar[Tuple[str, ...]] = ("slope",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        root = 1.0 / (1.0 + local(xp, u, self.slope) * abs(u))
        return xp.where(u > local(xp, u, self.B), root * root, xp.zeros_like(u))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        bound = local(xp, u, self.B)
        v = xp.where(u > bound, u, bound + xp.zeros_like(u))
        return v / (1.0 + local(xp, u, self.slope) * abs(v))

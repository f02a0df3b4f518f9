"""Bell-shaped surrogates: largest at the threshold and smaller on both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.activation import logistic
from spikecore.api.core.parameters import Param
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.surrogate.base import Surrogate, local


@dataclass(frozen=True)
class atan(Surrogate):
    """Arctangent, the default.

        derivative      (alpha/2) / (1 + (pi/2 alpha u)^2)        peak alpha/2 at u = 0
        antiderivative  arctan(pi/2 alpha u) / pi

    Args:
        alpha: > 0, default 2; larger is narrower. Like every parameter of the surrogates below, a number or an array
            that broadcasts to the neurons.

    Source: Fang et al., Incorporating learnable membrane time constants, ICCV 2021.
    """

    alpha: Param = 2.0
    positive: ClassVar[Tuple[str, ...]] = ("alpha",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        alpha = local(xp, u, self.alpha)
        scaled = (math.pi / 2 * alpha) * u
        return (alpha / 2) / (1.0 + scaled * scaled)

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return xp.atan((math.pi / 2 * local(xp, u, self.alpha)) * u) / math.pi


@dataclass(frozen=True)
class fast_sigmoid(Surrogate):
    """Fast sigmoid.

        derivative      1 / (1 + k |u|)^2        peak 1 at u = 0
        antiderivative  u / (1 + k |u|)

    Args:
        slope: k > 0; larger is narrower.

    Source: Zenke & Ganguli, SuperSpike: Supervised learning in multilayer SNNs, Neural Computation 2018.
    """

    slope: Param = 25.0
    positive: ClassVar[Tuple[str, ...]] = ("slope",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        root = 1.0 / (1.0 + local(xp, u, self.slope) * abs(u))
        return root * root

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return u / (1.0 + local(xp, u, self.slope) * abs(u))


@dataclass(frozen=True)
class superspike(Surrogate):
    """The fast sigmoid with a height and a width, for networks from other libraries.

        derivative      a / (1 + k |u|)^2        peak a at u = 0
        antiderivative  a u / (1 + k |u|)

    The same in other libraries:

    - SpikingJelly ``SuperSpike(alpha)``: ``superspike(scale=alpha)``
    - SpikingJelly ``SoftSign(alpha)``: ``superspike(scale=alpha / 2, slope=alpha)``
    - Spyx and Norse ``superspike(k)``: ``superspike(slope=k)``

    Args:
        scale: a > 0; default 1.
        slope: k > 0, default 1; larger is narrower.

    Source: Zenke & Ganguli, SuperSpike: Supervised learning in multilayer SNNs, Neural Computation 2018.
    """

    scale: Param = 1.0
    slope: Param = 1.0
    positive: ClassVar[Tuple[str, ...]] = ("scale", "slope")

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        root = 1.0 / (1.0 + local(xp, u, self.slope) * abs(u))
        return local(xp, u, self.scale) * root * root

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return local(xp, u, self.scale) * (u / (1.0 + local(xp, u, self.slope) * abs(u)))


@dataclass(frozen=True)
class sigmoid(Surrogate):
    """Logistic sigmoid, in the form that cannot overflow (the derivative is even in u).

        derivative      k e / (1 + e)^2,  e = exp(-k |u|)        peak k/4 at u = 0
        antiderivative  1 / (1 + exp(-k u)) = (1 + tanh(k u / 2)) / 2

    Args:
        slope: k > 0; larger is narrower.

    Source: Neftci et al., Surrogate gradient learning in spiking neural networks, 2019.
    """

    slope: Param = 25.0
    positive: ClassVar[Tuple[str, ...]] = ("slope",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        slope = local(xp, u, self.slope)
        e = xp.exp(-slope * abs(u))
        return slope * e / ((1.0 + e) * (1.0 + e))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return logistic(xp, local(xp, u, self.slope) * u)


@dataclass(frozen=True)
class gaussian(Surrogate):
    """Normal density around the threshold.

        derivative      N(u; 0, sigma^2) = exp(-(u / sigma)^2 / 2) / (sigma sqrt(2 pi))
        antiderivative  (1 + erf(u / (sigma sqrt 2))) / 2

    Args:
        sigma: standard deviation, > 0, default 0.5; larger is wider.

    Source: Yin et al., Effective and efficient computation with multiple-timescale spiking recurrent neural networks,
    2020.
    """

    sigma: Param = 0.5
    positive: ClassVar[Tuple[str, ...]] = ("sigma",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return _density(xp, u, local(xp, u, self.sigma))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return _distribution(xp, u, local(xp, u, self.sigma))


def _density(xp: Any, u: Any, sigma: Any) -> Any:
    """N(u; 0, sigma^2)."""
    scaled = u / sigma
    return xp.exp(-0.5 * (scaled * scaled)) / (math.sqrt(2 * math.pi) * sigma)


def _distribution(xp: Any, u: Any, sigma: Any) -> Any:
    """The integral of N(u; 0, sigma^2) from minus infinity."""
    return 0.5 * (1.0 + xp.erf(u / (math.sqrt(2.0) * sigma)))


@dataclass(frozen=True)
class multi_gaussian(Surrogate):
    """A normal density with a shallow negative ring around it.

        derivative      (1 + h) N(u; 0, sigma^2) - h N(u; sigma, (s sigma)^2) - h N(u; -sigma, (s sigma)^2)
        antiderivative  the same formula with the distribution function in place of each density N

    Args:
        sigma: standard deviation of the central density, > 0; default 0.5.
        height: h >= 0, the depth of the ring; default 0.15; 0 gives ``gaussian``.
        spread: s > 0, the width of the ring relative to sigma; default 6.

    The authors' code multiplies by a further 0.5.

    Source: Yin et al., Accurate and efficient time-domain classification with adaptive spiking recurrent neural
    networks, Nature Machine Intelligence 2021.
    """

    sigma: Param = 0.5
    height: Param = 0.15
    spread: Param = 6.0
    positive: ClassVar[Tuple[str, ...]] = ("sigma", "spread")
    non_negative: ClassVar[Tuple[str, ...]] = ("height",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        return self._combined(_density, xp, u)

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return self._combined(_distribution, xp, u)

    def _combined(self, bell: Any, xp: Any, u: Any) -> Any:
        sigma, height = local(xp, u, self.sigma), local(xp, u, self.height)
        wide = local(xp, u, self.spread) * sigma
        ring = bell(xp, u - sigma, wide) + bell(xp, u + sigma, wide)
        return (1.0 + height) * bell(xp, u, sigma) - height * ring


@dataclass(frozen=True)
class erf(Surrogate):
    """Gaussian error function: ``gaussian`` with sigma = 1 / (alpha sqrt 2).

        derivative      alpha / sqrt(pi) exp(-(alpha u)^2)        peak alpha / sqrt(pi) at u = 0
        antiderivative  (1 + erf(alpha u)) / 2

    Args:
        alpha: > 0; larger is narrower.

    Source: Esser et al., Backpropagation for energy-efficient neuromorphic computing, 2015; SpikingJelly's ``Erf``.
    """

    alpha: Param = 2.0
    positive: ClassVar[Tuple[str, ...]] = ("alpha",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        alpha = local(xp, u, self.alpha)
        scaled = alpha * u
        return (alpha / math.sqrt(math.pi)) * xp.exp(-(scaled * scaled))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return 0.5 * (1.0 + xp.erf(local(xp, u, self.alpha) * u))


@dataclass(frozen=True)
class piecewise_exponential(Surrogate):
    """Double-sided exponential.

        derivative      (alpha/2) e,  e = exp(-alpha |u|)        peak alpha/2 at u = 0
        antiderivative  e/2 for u <= 0,  1 - e/2 for u > 0

    Args:
        alpha: > 0; larger is narrower.

    Source: Shrestha & Orchard, SLAYER: Spike layer error reassignment in time, NeurIPS 2018.
    """

    alpha: Param = 1.0
    positive: ClassVar[Tuple[str, ...]] = ("alpha",)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        alpha = local(xp, u, self.alpha)
        return (alpha / 2) * xp.exp(-alpha * abs(u))

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        half = 0.5 * xp.exp(-local(xp, u, self.alpha) * abs(u))
        return xp.where(u > 0, 1.0 - half, half)

"""Initialisers, which describe how initial values are drawn: the base, and those that draw each value by itself.

The draws are the same on every engine. ``weight_initialisers.py`` has those that look at inputs and outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional

from spikecore.api.core.host import first_weight, float64, full_weight, host
from spikecore.api.core.layer import Key, Shape
from spikecore.arguments import Checked, Size, argument_kind
from spikecore.printing import Concise


@dataclass(frozen=True)
class Initialiser(Concise, Checked):
    """Base of all initialisers.

    A subclass is a frozen dataclass with ``draw``. It may draw with ``uniforms`` and ``normals``.

    Attributes:
        single: whether each value is drawn by itself, so that it also serves for the parameters of neurons. Others
            need a weight with inputs and outputs.
    """

    single: ClassVar[bool] = False

    def draw(self, key: Key, shape: Shape) -> Any:
        """Initial values as a NumPy array of float64.

        Args:
            key: names the random draws.
            shape: of a weight (outputs, inputs, *kernel), or of anything if ``single``.
        """
        raise NotImplementedError

    def _require(self, **fits: bool) -> None:
        """Refuse a field that is out of range; ``name="what it must be"`` comes from the class's ``allowed``."""
        for name, good in fits.items():
            if not good:
                kind = type(self).__name__
                raise ValueError(f"{kind}: {name}={getattr(self, name)!r} must be {self.allowed[name]}")

    allowed: ClassVar[Any] = {}


argument_kind(Initialiser, "an initialiser such as spikecore.init.orthogonal()")


def drawn(initialiser: Initialiser, key: Key, name: str, shape: Shape) -> Any:
    """The initial values of the parameter ``name``, as a NumPy array; with a blank key, of that shape alone."""
    if not initialiser.single and len(shape) < 2:
        raise ValueError(f"{name}: {initialiser!r} is for weights with inputs and outputs, not for shape {shape}")
    return first_weight(key, shape, lambda: initialiser.draw(key.child(name), shape))


def uniforms(key: Key, shape: Shape) -> Any:
    """Numbers between 0 and 1, both excluded."""
    engine = host()
    return engine.to_numpy(engine.uniform(key.path, shape)) + 2.0**-25


def normals(key: Key, shape: Shape) -> Any:
    """Standard normal numbers, from as many uniform ones: the inverse of the distribution function at each."""
    from statistics import NormalDist

    inverse = NormalDist().inv_cdf
    return float64([inverse(u) for u in uniforms(key, shape).reshape(-1).tolist()]).reshape(shape)


def _ordered(low: Optional[float], high: Optional[float]) -> bool:
    return low is None or high is None or high > low


def _between(values: Any, low: Optional[float], high: Optional[float]) -> Any:
    return values if low is None and high is None else values.clip(low, high)


# ---- single values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class constant(Initialiser):
    """The same value everywhere.

    Args:
        value: default 0.
    """

    value: float = 0.0

    single = True

    def draw(self, key: Key, shape: Shape) -> Any:
        return full_weight(key, shape, self.value)


@dataclass(frozen=True)
class uniform(Initialiser):
    """Uniform between two bounds.

    Args:
        low: lower bound.
        high: upper bound, > low.

    Raises:
        ValueError: the bounds are exchanged.
    """

    low: float
    high: float

    single = True
    allowed = {"high": "greater than low"}

    def __post_init__(self) -> None:
        self._require(high=self.high > self.low)

    def draw(self, key: Key, shape: Shape) -> Any:
        return self.low + (self.high - self.low) * uniforms(key, shape)


@dataclass(frozen=True)
class normal(Initialiser):
    """Normally distributed.

    For a recurrent weight of n neurons, ``std = r / sqrt(n)`` makes the spectral radius nearly r; ``orthogonal(r)``
    makes it r.

    Args:
        mean: default 0.
        std: standard deviation, >= 0; default 1.
        low, high: values beyond them are set to them; None, the default: no bound.

    Raises:
        ValueError: an argument is out of range.
    """

    mean: float = 0.0
    std: float = 1.0
    low: Optional[float] = None
    high: Optional[float] = None

    single = True
    allowed = {"std": ">= 0", "high": "greater than low"}

    def __post_init__(self) -> None:
        self._require(std=self.std >= 0.0, high=_ordered(self.low, self.high))

    def draw(self, key: Key, shape: Shape) -> Any:
        return _between(self.mean + self.std * normals(key, shape), self.low, self.high)


@dataclass(frozen=True)
class gamma(Initialiser):
    """Gamma-distributed with a whole shape parameter: the sum of so many waiting times. For time constants that differ.

    The variance is mean^2 / shape.

    Args:
        mean: > 0.
        shape: shape parameter, >= 1; default 3, as in the source.
        low, high: values beyond them are set to them; None, the default: no bound.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> sc.Leaky(beta=sc.learn_tau(sc.init.gamma(20.0)))  # a time constant for each neuron, 20 steps in the mean

    Source: Perez-Nieves, Leung, Dragotti and Goodman, Neural heterogeneity promotes robust learning, Nature
    Communications 2021.
    """

    mean: float
    shape: Size = 3
    low: Optional[float] = None
    high: Optional[float] = None

    single = True
    allowed = {"mean": "> 0", "high": "greater than low"}

    def __post_init__(self) -> None:
        self._require(mean=self.mean > 0.0, high=_ordered(self.low, self.high))

    def draw(self, key: Key, shape: Shape) -> Any:
        xp, k = host().xp, self.shape
        waits = xp.log(uniforms(key, (k, *shape)))
        return _between(-self.mean / k * waits.sum(axis=0), self.low, self.high)

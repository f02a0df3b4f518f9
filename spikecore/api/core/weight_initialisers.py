"""Initialisers of weights: their draws depend on the numbers of inputs and outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Tuple

from spikecore.api.core.host import host
from spikecore.api.core.initialisers import Initialiser, normals, uniforms
from spikecore.api.core.layer import Key, Shape

BLOCK = 64  # vectors that are made orthogonal to all earlier ones at once


def fans(shape: Shape) -> Tuple[int, int]:
    """Number of inputs of each output of a weight, and number of outputs of each input."""
    return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])


@dataclass(frozen=True)
class _Scaled(Initialiser):
    """Base of initialisers with a standard deviation that depends on the numbers of inputs and outputs."""

    gain: float = 1.0

    allowed = {"gain": "> 0"}

    def __post_init__(self) -> None:
        self._require(gain=self.gain > 0.0)

    def std(self, shape: Shape) -> float:
        """The standard deviation of a weight."""
        raise NotImplementedError

    def _uniform(self, key: Key, shape: Shape) -> Any:
        return math.sqrt(3.0) * self.std(shape) * (2.0 * uniforms(key, shape) - 1.0)

    def _normal(self, key: Key, shape: Shape) -> Any:
        return self.std(shape) * normals(key, shape)


@dataclass(frozen=True)
class _Kaiming(_Scaled):
    gain: float = math.sqrt(2.0)

    def std(self, shape: Shape) -> float:
        return self.gain / math.sqrt(fans(shape)[0])


@dataclass(frozen=True)
class _Xavier(_Scaled):
    def std(self, shape: Shape) -> float:
        return self.gain * math.sqrt(2.0 / sum(fans(shape)))


@dataclass(frozen=True)
class kaiming_uniform(_Kaiming):
    """A uniform distribution whose standard deviation is gain / sqrt(inputs); the same as torch's ``kaiming_uniform_``.

    Args:
        gain: > 0; default sqrt(2), which is meant for ReLUs.

    Raises:
        ValueError: an argument is out of range.

    Source: He et al., Delving deep into rectifiers, ICCV 2015.
    """

    def draw(self, key: Key, shape: Shape) -> Any:
        return self._uniform(key, shape)


@dataclass(frozen=True)
class kaiming_normal(_Kaiming):
    """Normal with standard deviation gain / sqrt(inputs), torch's ``kaiming_normal_``.

    Args:
        gain: > 0; default sqrt(2), which is meant for ReLUs.

    Raises:
        ValueError: an argument is out of range.

    Source: He et al., Delving deep into rectifiers, ICCV 2015.
    """

    def draw(self, key: Key, shape: Shape) -> Any:
        return self._normal(key, shape)


@dataclass(frozen=True)
class xavier_uniform(_Xavier):
    """Uniform with standard deviation gain * sqrt(2 / (inputs + outputs)), torch's ``xavier_uniform_``.

    Args:
        gain: > 0; default 1.

    Raises:
        ValueError: an argument is out of range.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """

    def draw(self, key: Key, shape: Shape) -> Any:
        return self._uniform(key, shape)


@dataclass(frozen=True)
class xavier_normal(_Xavier):
    """Normal with standard deviation gain * sqrt(2 / (inputs + outputs)), torch's ``xavier_normal_``.

    Args:
        gain: > 0; default 1.

    Raises:
        ValueError: an argument is out of range.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """

    def draw(self, key: Key, shape: Shape) -> Any:
        return self._normal(key, shape)


@dataclass(frozen=True)
class orthogonal(Initialiser):
    """A random matrix with orthogonal rows or columns, whichever are fewer, each of length ``gain``.

    A square weight, as of a recurrent connection, has spectral radius ``gain``. The kernel of a convolution is taken
    as a matrix (outputs, inputs * kernel).

    Args:
        gain: > 0; default 1.

    Raises:
        ValueError: an argument is out of range.

    Source: Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning, ICLR 2014.
    """

    gain: float = 1.0

    allowed = {"gain": "> 0"}

    def __post_init__(self) -> None:
        self._require(gain=self.gain > 0.0)

    def draw(self, key: Key, shape: Shape) -> Any:
        rows, columns = shape[0], math.prod(shape[1:])
        few = _orthonormal(normals(key, (min(rows, columns), max(rows, columns))))
        return self.gain * (few if rows <= columns else few.T).reshape(shape)


def _orthonormal(vectors: Any) -> Any:
    """Rows made orthonormal by Gram and Schmidt, each step done twice, so that rounding leaves nothing."""
    done = vectors.copy()
    for start in range(0, len(done), BLOCK):
        block, before = done[start : start + BLOCK], done[:start]
        for _ in range(2):
            block -= (block @ before.T) @ before
        for i, v in enumerate(block):
            for _ in range(2):
                v -= (v @ block[:i].T) @ block[:i]
            v /= math.sqrt(v @ v)
    return done


@dataclass(frozen=True)
class identity(Initialiser):
    """``gain`` on the diagonal of a matrix, zero elsewhere: the recurrent connection with the longest memory.

    Args:
        gain: default 1.

    Source: Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear units, 2015.
    """

    gain: float = 1.0

    def draw(self, key: Key, shape: Shape) -> Any:
        if len(shape) != 2:
            raise ValueError(f"identity: is for the matrix of a Linear, not for a weight of shape {shape}")
        xp = host().xp
        rows, columns = (xp.arange(n) for n in shape)
        return self.gain * xp.astype(xp.expand_dims(rows, axis=1) == xp.expand_dims(columns, axis=0), "float64")


@dataclass(frozen=True)
class lateral(Initialiser):
    """``value`` off the diagonal of a matrix, zero on it: each neuron of a layer acts on all others, and not on itself.

    Args:
        value: default -1: each spike inhibits the others.

    Example:
        >>> sc.Recurrent(sc.Leaky(), sc.Linear(100, 100, bias=False, weight_init=sc.init.lateral(-20.0)))
    """

    value: float = -1.0

    def draw(self, key: Key, shape: Shape) -> Any:
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"lateral: is for the square matrix of a recurrent Linear, not for a weight of {shape}")
        return self.value * (1.0 - identity().draw(key, shape))


@dataclass(frozen=True)
class fluctuation(Initialiser):
    """Normal weights for a given fluctuation of the membrane, so that the neuron fires now and then from the start.

    For n inputs that spike independently with probability p at each step, and a neuron that never fires, the membrane
    has the mean and the standard deviation that are asked for, taken over time:

        mean of w      mu  = mem_mean / (n p e1),        e1 = 1 / ((1 - alpha) (1 - beta))
        variance of w        mem_std^2 / (n p (1 - p) e2) - mu^2,
                       e2 = (1 + alpha beta) / ((1 - alpha^2) (1 - beta^2) (1 - alpha beta))

    Args:
        rate: p, spikes per input and step, in (0, 1).
        beta: decay of the membrane of the neuron behind the weight, in [0, 1); default 0.9.
        alpha: decay of the synaptic current, in [0, 1), for ``sc.Synaptic``; default 0, which is ``sc.Leaky``.
        mem_mean: mean of the membrane; default 0.
        mem_std: standard deviation of the membrane, > 0; default 1, the usual threshold.

    Raises:
        ValueError: an argument is out of range; or the mean alone makes the membrane fluctuate more than that.

    Source: Rossbroich, Gygax and Zenke, Fluctuation-driven initialization for spiking neural network training,
    Neuromorphic Computing and Engineering 2022 (there in continuous time, for Poisson spikes).
    """

    rate: float
    beta: float = 0.9
    alpha: float = 0.0
    mem_mean: float = 0.0
    mem_std: float = 1.0

    allowed = {"rate": "in (0, 1)", "beta": "in [0, 1)", "alpha": "in [0, 1)", "mem_std": "> 0"}

    def __post_init__(self) -> None:
        decays = {name: 0.0 <= getattr(self, name) < 1.0 for name in ("beta", "alpha")}
        self._require(rate=0.0 < self.rate < 1.0, **decays, mem_std=self.mem_std > 0.0)

    def draw(self, key: Key, shape: Shape) -> Any:
        a, b, inputs = self.alpha, self.beta, fans(shape)[0]
        mean = self.mem_mean * (1.0 - a) * (1.0 - b) / (inputs * self.rate)
        e2 = (1.0 + a * b) / ((1.0 - a * a) * (1.0 - b * b) * (1.0 - a * b))
        variance = self.mem_std**2 / (inputs * self.rate * (1.0 - self.rate) * e2) - mean * mean
        if variance < 0.0:
            raise ValueError(
                f"fluctuation: mem_mean={self.mem_mean!r} makes a membrane with {inputs} inputs fluctuate by more than "
                f"mem_std={self.mem_std!r}: choose a larger mem_std or a smaller mem_mean"
            )
        return mean + math.sqrt(variance) * normals(key, shape)

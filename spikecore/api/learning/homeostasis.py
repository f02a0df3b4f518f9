"""Rules that keep a network in balance: inhibitory plasticity, synaptic scaling, adaptive thresholds, limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import State
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.learning.local_rule import LocalRule, Product, Signals, Trace, fading
from spikecore.arguments import Checked
from spikecore.printing import Concise

TINY = 2.0**-126  # the smallest normal number of float32


@dataclass(frozen=True)
class _ToRate(LocalRule):
    """Base of rules that bring each neuron to a target rate."""

    lr: float = 1e-3
    rate: float = 0.005
    tau: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("lr", ">= 0", lambda lr: lr >= 0)
        self._require("rate", "in (0, 1] spikes per step", lambda rate: 0 < rate <= 1)
        self._require_times("tau")


@dataclass(frozen=True)
class InhibitorySTDP(_ToRate):
    """Plasticity of inhibitory synapses, which brings each neuron to a target rate.

    With pre spikes x, post spikes y, their traces xbar and ybar (tau), and alpha = 2 rate tau::

        Delta s = lr (x[t] (ybar[t] - alpha) + y[t] xbar[t])

    s is the strength of the inhibition. Pairs of spikes strengthen it in either order, spikes of the input alone weaken
    it, so that it rises in neurons that fire more often than ``rate``.

    Args:
        layer: see ``LocalRule``.
        lr: learning rate, >= 0; default 1e-3.
        rate: the target rate in spikes per step, in (0, 1]; default 0.005, 5 Hz with steps of 1 ms.
        tau: time constant of both traces in steps, >= 1; default 20.
        negative: True, the default: inhibitory weights are negative, w = -s, as in a network whose neurons add up their
            inputs; ``Bounds(None, 0.0)`` keeps them so. False: w = s.

    Raises:
        ValueError: an argument is out of range.

    Source: Vogels, Sprekeler, Zenke, Clopath & Gerstner, Inhibitory plasticity balances excitation and inhibition in
    sensory pathways and memory networks, Science 334, 2011.
    """

    negative: bool = True

    def traces(self) -> Dict[str, Trace]:
        return {"x": Trace("pre", fading(self.tau)), "y": Trace("post", fading(self.tau))}

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        lr, after = -self.lr if self.negative else self.lr, signals.after
        alone = Product(lr * (after.y - 2.0 * self.rate * self.tau), signals.pre)
        return alone, Product(lr * signals.post, after.x)


@dataclass(frozen=True)
class SynapticScaling(_ToRate):
    """Synaptic scaling: a neuron that fires too often weakens all its weights in proportion, one too silent
    strengthens them.

        Delta w = lr w (rate - ybar[t])                 ybar: running mean of the neuron's spikes, time constant tau

    Args:
        layer: see ``LocalRule``.
        lr: learning rate, >= 0; default 1e-3.
        rate: the target rate in spikes per step, in (0, 1]; default 0.005.
        tau: time constant of the mean in steps, >= 1; default 1000. At the start of a sequence the mean is ``rate``.

    Raises:
        ValueError: an argument is out of range.

    Source: van Rossum, Bi & Turrigiano, Stable Hebbian learning from spike timing-dependent plasticity, Journal of
    Neuroscience 20, 2000.
    """

    tau: float = 1000.0

    def traces(self) -> Dict[str, Trace]:
        return {"y": Trace("post", fading(self.tau), "mean")}

    def rest(self, weight: Array, pre: Array, post: Array) -> State:
        """The first trace, for spikes of one step: the running mean begins at the target rate."""
        resting = super().rest(weight, pre, post)
        return State(y=resting.y + self.rate)

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        return (Product(self.lr * (self.rate - signals.after.y), xp.ones_like(signals.pre), lambda w: w),)


@dataclass(frozen=True)
class AdaptiveThreshold(Concise, Checked):
    """Intrinsic plasticity: a neuron's threshold rises with each of its spikes, and falls in between.

        Delta theta = lr (S[t] - rate) - theta / tau

    It is a rule for the parameter ``threshold`` of a neuron, which must be learned, mostly one per neuron:
    ``sc.Leaky(threshold=sc.learn(1.0, per="neuron"))``. Unlike the threshold of ``sc.ALIF``, which is at rest when a
    sequence begins, it stays from sample to sample, and is saved with the model.

    Args:
        lr: how much a spike raises the threshold, >= 0; default 0.01.
        rate: the target rate in spikes per step, in [0, 1]; default 0. With ``tau=None`` each neuron is brought to it.
        tau: time constant in steps with which the threshold falls to zero, >= 1; None, the default: it does not.

    Raises:
        ValueError: an argument is out of range.

    Source: Diehl & Cook, Unsupervised learning of digit recognition using spike-timing-dependent plasticity, 2015
    (rate 0); with a target rate, Lazar, Pipa & Triesch, SORN: a self-organizing recurrent neural network, 2009.
    """

    lr: float = 0.01
    rate: float = 0.0
    tau: Optional[float] = None

    def __post_init__(self) -> None:
        if not self.lr >= 0:
            raise ValueError(f"AdaptiveThreshold: lr={self.lr!r} must be >= 0")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"AdaptiveThreshold: rate={self.rate!r} must be in [0, 1] spikes per step")
        if self.tau is not None and not self.tau >= 1:
            raise ValueError(f"AdaptiveThreshold: tau={self.tau!r} must be >= 1 step, or None")

    def run(self, threshold: Array, post: Array) -> Any:
        """The change of thresholds in a sequence in which they are constant.

        Args:
            threshold: one number, or an array that broadcasts to the neurons; an array of any engine.
            post: the neurons' spikes (time, batch, *neurons).

        Returns:
            Delta theta, summed over steps and batch. A threshold that several neurons share changes by their mean.

        Raises:
            ShapeError: the thresholds do not broadcast to the neurons.
        """
        engine = engine_of(threshold)
        xp, post = engine.xp, engine.asarray(post)
        count, neurons = int(post.shape[0] * post.shape[1]), tuple(post.shape[2:])
        own = (1,) * (len(neurons) - threshold.ndim) + tuple(threshold.shape)
        if len(own) != len(neurons) or any(a not in (1, n) for a, n in zip(own, neurons)):
            raise ShapeError(
                f"AdaptiveThreshold: threshold of shape {tuple(threshold.shape)} for neurons of shape {neurons}"
            )
        shared = tuple(i for i, (a, n) in enumerate(zip(own, neurons)) if a != n)
        spikes = xp.sum(post, axis=(0, 1))
        spikes = xp.mean(spikes, axis=shared, keepdims=True) if shared else spikes
        change = self.lr * (xp.reshape(spikes, tuple(threshold.shape)) - self.rate * count)
        return change if self.tau is None else change - (count / self.tau) * threshold


@dataclass(frozen=True)
class Bounds(Concise, Checked):
    """Keeps weights in a range: after each change, a weight outside is set to the nearest bound.

    Args:
        low, high: the borders; default 0 and 1. None: there is none on this side.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """

    low: Optional[float] = 0.0
    high: Optional[float] = 1.0

    def __post_init__(self) -> None:
        if not self._range()[0] < self._range()[1]:
            raise ValueError(f"Bounds: low={self.low!r} must be below high={self.high!r}")

    def _range(self) -> Tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def apply(self, weight: Array) -> Any:
        """The weight within the bounds, an array of its engine."""
        return engine_of(weight).xp.clip(weight, *self._range())


@dataclass(frozen=True)
class Normalize(Concise, Checked):
    """Keeps the sum of a neuron's weights: after each change, all of them are scaled by one factor.

        w <- w total / sum over the neuron's inputs of |w|

    The neurons of a convolution are its filters. A neuron whose weights are all zero stays as it is.

    Args:
        total: the sum, > 0.

    Raises:
        ValueError: ``total`` is out of range.

    Source: Goodhill & Barrow, The role of weight normalization in competitive learning, Neural Computation 6, 1994.
    """

    total: float

    def __post_init__(self) -> None:
        if not 0 < self.total < math.inf:
            raise ValueError(f"Normalize: total={self.total!r} must be a finite number > 0")

    def apply(self, weight: Array) -> Any:
        """The weight with these sums, (outputs, inputs, *kernel), an array of its engine."""
        xp = engine_of(weight).xp
        sums = xp.sum(abs(weight), axis=tuple(range(1, weight.ndim)), keepdims=True)
        return weight / xp.clip(sums, TINY, math.inf) * self.total  # in this order no quotient overflows: 0 stays 0

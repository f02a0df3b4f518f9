"""Rules of plasticity from papers: triplets of spikes, the membrane's voltage, power laws of the weight.

Each is a declaration of its traces and products, see ``local_rule.py``. Time constants are in steps: with steps of 1 ms
they are those of the papers in ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Sequence

from spikecore.api.core.words import Vocabulary
from spikecore.api.learning.local_rule import LocalRule, Product, Signals, Trace, fading


@dataclass(frozen=True)
class TripletSTDP(LocalRule):
    """STDP of triplets of spikes: potentiation also depends on the neuron's earlier spikes, depression on the input's.

    With pre spikes x and post spikes y, and traces r1, r2 of x and o1, o2 of y (time constants tau_plus, tau_x,
    tau_minus, tau_y)::

        Delta w =   y[t] r1[t] (a2_plus + a3_plus o2[t-])
                  - x[t] o1[t] (a2_minus + a3_minus r2[t-])

    t- is just before the spike: a spike does not count in its own triplet. Spikes at the same step count as a pair in
    both lines. With a3_plus = a3_minus = 0 it is pair STDP. It explains why pairs strengthen a synapse only if they are
    repeated often enough.

    Args:
        layer: see ``LocalRule``.
        a2_plus, a2_minus: amplitudes of pairs; default 0 and 7.1e-3.
        a3_plus, a3_minus: amplitudes of triplets; default 6.5e-3 and 0. All four are >= 0. The defaults, with those of
            the time constants, are the paper's fit to visual cortex (minimal model, all-to-all).
        tau_plus, tau_minus: time constants of pairs in steps, >= 1; default 16.8 and 33.7.
        tau_x, tau_y: time constants of triplets in steps, >= 1; default 101 and 114.
        nearest: whether a trace knows only the last spike (the paper's nearest-spike interactions) instead of all;
            default False. The paper's fit then is a3_plus=5e-2, a2_minus=8e-3, tau_y=40.

    The paper's fits to hippocampus, with tau_y=40: a2_plus=5.3e-3, a3_plus=8e-3, a2_minus=3.5e-3; with ``nearest``
    a2_plus=4.6e-3, a3_plus=9.1e-3, a2_minus=3e-3.

    Raises:
        ValueError: an argument is out of range.

    Source: Pfister & Gerstner, Triplets of spikes in a model of spike timing-dependent plasticity, Journal of
    Neuroscience 26, 2006.
    """

    a2_plus: float = 0.0
    a2_minus: float = 7.1e-3
    a3_plus: float = 6.5e-3
    a3_minus: float = 0.0
    tau_plus: float = 16.8
    tau_minus: float = 33.7
    tau_x: float = 101.0
    tau_y: float = 114.0
    nearest: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("a2_plus a2_minus a3_plus a3_minus", ">= 0", lambda a: a >= 0)
        self._require_times("tau_plus tau_minus tau_x tau_y")

    def traces(self) -> Dict[str, Trace]:
        kind = "nearest" if self.nearest else "sum"
        of = {"r1": ("pre", self.tau_plus), "r2": ("pre", self.tau_x), "o1": ("post", self.tau_minus)}
        of["o2"] = ("post", self.tau_y)
        return {name: Trace(signal, fading(tau), kind) for name, (signal, tau) in of.items()}

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        s, after, before = signals, signals.after, signals.before
        stronger = Product(s.post * (self.a2_plus + self.a3_plus * before.o2), after.r1)
        return stronger, Product(-after.o1, s.pre * (self.a2_minus + self.a3_minus * before.r2))


@dataclass(frozen=True)
class VoltageSTDP(LocalRule):
    """Voltage-based STDP (the Clopath rule): the neuron's membrane decides, at an input's spike or after it.

    With pre spikes x, the membrane u, [v] = max(v, 0), and running means xbar of x (tau_x), u_minus and u_plus of u
    (tau_minus, tau_plus)::

        Delta w =   a_plus xbar[t] [u[t] - theta_plus] [u_plus[t-1] - theta_minus]
                  - a_minus x[t] [u_minus[t-1] - theta_minus]

    The unit of u: 0 is rest and 1 the threshold of a neuron with ``threshold=1``; the paper's rest is at -70.6 mV and
    its threshold at -50.4 mV, so that one unit is about 20 mV. An integrate-and-fire neuron has no spike upswing, so
    that a spike counts as a membrane of ``peak``.

    Args:
        layer: see ``LocalRule``.
        a_minus, a_plus: amplitudes of depression and potentiation, >= 0; default 2.8e-3 and 3.2e-2, the paper's
            14e-5 / mV and 8e-5 / mV^2 in this unit. The default ``a_plus`` assumes steps of 1 ms, and that each spike
            raises ``xbar`` by 1 / tau_x.
        theta_minus, theta_plus: thresholds of the means and of the membrane; default 0 and 1.25 (-70.6 and -45.3 mV).
        tau_x, tau_minus, tau_plus: time constants in steps, >= 1; default 15, 10 and 7.
        peak: the membrane at a spike; default 5, the paper's 30 mV. None: the neuron's own membrane.
        target: homeostasis: depression is scaled by (m / target)^2, where m is a running mean of the membrane with the
            time constant ``tau_mean``; > 0. None, the default: it is not scaled.
        tau_mean: time constant of m in steps, >= 1; default 1000.

    Raises:
        ValueError: an argument is out of range.

    Source: Clopath, Buesing, Vasilaki & Gerstner, Connectivity reflects coding: a model of voltage-based STDP with
    homeostasis, Nature Neuroscience 13, 2010.
    """

    a_minus: float = 2.8e-3
    a_plus: float = 3.2e-2
    theta_minus: float = 0.0
    theta_plus: float = 1.25
    tau_x: float = 15.0
    tau_minus: float = 10.0
    tau_plus: float = 7.0
    peak: Optional[float] = 5.0
    target: Optional[float] = None
    tau_mean: float = 1000.0

    reads_membrane: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("a_minus a_plus", ">= 0", lambda a: a >= 0)
        self._require("target", "> 0, or None", lambda m: m is None or m > 0)
        self._require_times("tau_x tau_minus tau_plus tau_mean")

    def traces(self) -> Dict[str, Trace]:
        traces = {"x": Trace("pre", fading(self.tau_x), "mean")}
        means = {"u_minus": self.tau_minus, "u_plus": self.tau_plus}
        means.update({} if self.target is None else {"m": self.tau_mean})
        return {**traces, **{name: Trace("mem", fading(tau), "mean") for name, tau in means.items()}}

    def membrane(self, xp: Vocabulary, post: Any, mem: Any) -> Any:
        return mem if self.peak is None else xp.where(post > 0.0, xp.zeros_like(mem) + self.peak, mem)

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        def above(u: Any, threshold: float) -> Any:
            return xp.maximum(u - threshold, xp.zeros_like(u))

        before, level = signals.before, self.theta_minus
        stronger = above(signals.mem, self.theta_plus) * above(before.u_plus, level)
        weaker = above(before.u_minus, level)
        if self.target is not None:
            weaker = weaker * (before.m / self.target) ** 2
        return Product(self.a_plus * stronger, signals.after.x), Product(-self.a_minus * weaker, signals.pre)


@dataclass(frozen=True)
class PowerLawSTDP(LocalRule):
    """STDP that a neuron's spike triggers, with a power law of the weight: the rule of Diehl and Cook.

    With pre spikes x, post spikes y, and traces xbar of x (tau_pre) and ybar of y (tau_post)::

        Delta w = lr_post y[t] (xbar[t] - x_target) (w_max - w)^mu - lr_pre x[t] ybar[t] w^mu

    At its own spike, a neuron strengthens the synapses of inputs that have fired recently, and weakens those of all
    others: it moves towards the pattern that has made it fire. With ``lr_pre`` > 0 it is the paper's symmetric rule.

    Args:
        layer: see ``LocalRule``.
        lr_post: learning rate at spikes of the neuron, >= 0; default 0.01.
        lr_pre: learning rate at spikes of the input, >= 0; default 0.
        x_target: the trace at which a synapse stays as it is, >= 0; default 0.4.
        w_max: largest weight, > 0; default 1. Keep weights in range with ``Bounds(0.0, w_max)``.
        mu: exponent of the weight dependence, >= 0; default 0: it does not depend on the weight.
        tau_pre, tau_post: time constants of the traces in steps, >= 1; default 20.
        nearest: whether a spike sets its trace to 1 (the default) instead of adding 1.

    Raises:
        ValueError: an argument is out of range.

    Source: Diehl & Cook, Unsupervised learning of digit recognition using spike-timing-dependent plasticity, Frontiers
    in Computational Neuroscience 9, 2015.
    """

    lr_post: float = 0.01
    lr_pre: float = 0.0
    x_target: float = 0.4
    w_max: float = 1.0
    mu: float = 0.0
    tau_pre: float = 20.0
    tau_post: float = 20.0
    nearest: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("lr_post lr_pre x_target mu", ">= 0", lambda a: a >= 0)
        self._require("w_max", "> 0", lambda w: w > 0)
        self._require_times("tau_pre tau_post")

    def traces(self) -> Dict[str, Trace]:
        kind = "nearest" if self.nearest else "sum"
        traces = {"x": Trace("pre", fading(self.tau_pre), kind)}
        return {**traces, "y": Trace("post", fading(self.tau_post), kind)} if self.lr_pre else traces

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        def power(distance: Any) -> Any:  # of a weight from its border; beyond the border it is 0
            return xp.maximum(distance, xp.zeros_like(distance)) ** self.mu

        above = (lambda weight: power(self.w_max - weight)) if self.mu else None
        triggered = Product(self.lr_post * signals.post, signals.after.x - self.x_target, above)
        if not self.lr_pre:
            return (triggered,)
        return triggered, Product(-self.lr_pre * signals.after.y, signals.pre, power if self.mu else None)

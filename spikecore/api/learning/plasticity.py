"""Spike-timing-dependent plasticity of pairs of spikes, plain and modulated by reward.

The spikes of a synapse's input and of its neuron leave decaying traces. A spike of the neuron strengthens the synapses
whose inputs have fired recently; a spike of an input weakens the synapses whose neurons have fired recently:

    x[t] = d_pre x[t-1] + S_in[t]         y[t] = d_post y[t-1] + S_out[t]
    Delta w = f_post(w) S_out[t] x[t] - f_pre(w) y[t] S_in[t]

The rules return Delta w and do not change the weight: add it yourself, times a learning rate, or let ``Plasticity`` do
so. Spikes at the same step count in both terms. Sources: Morrison, Diesmann and Gerstner, Biological Cybernetics 98,
2008 (traces); Florian, Neural Computation 19, 2007 (reward).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Sequence, Tuple, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import State, map_leaves
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.learning.local_rule import LocalRule, Product, Signals, Trace, Weighing, fading


def proportional(weight: Any) -> Any:
    """The weight dependence f(w) = w."""
    return weight


def additive(weight: Any) -> float:
    """The weight dependence f(w) = 1: changes do not depend on the weight."""
    return 1.0


@dataclass(frozen=True)
class STDP(LocalRule):
    """Spike-timing-dependent plasticity of one connection.

    Args:
        layer: a ``Linear``, ``Conv1d`` or ``Conv2d``, which defines the connections of inputs and outputs; None, the
            default: see ``LocalRule``.
        tau_pre, tau_post: time constants of the two traces in steps, >= 1; default 20.
        f_pre, f_post: functions of the weight that scale weakening and strengthening; default f(w) = w. With
            ``lambda w: 1.0`` the changes do not depend on the weight. In run files: "proportional" and "additive".
        exponential: True: the traces decay by exp(-1 / tau) per step; False, the default: by 1 - 1 / tau.

    Raises:
        TypeError: ``layer`` is another layer.
        ValueError: a time constant is below 1.
    """

    tau_pre: float = 20.0
    tau_post: float = 20.0
    f_pre: Weighing = proportional
    f_post: Weighing = proportional
    exponential: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_times("tau_pre tau_post")

    def _decay(self, tau: float) -> float:
        return fading(tau) if self.exponential else 1.0 - 1.0 / tau

    def traces(self) -> Dict[str, Trace]:
        return {"pre": Trace("pre", self._decay(self.tau_pre)), "post": Trace("post", self._decay(self.tau_post))}

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        stronger = Product(signals.post, signals.after.pre, self.f_post)
        return stronger, Product(-signals.after.post, signals.pre, self.f_pre)


@dataclass(frozen=True)
class RewardSTDP(STDP):
    """STDP modulated by reward: the change that STDP would make is the eligibility; its product with the reward counts.

        zeta = f_post(w) S_out x - f_pre(w) y S_in, per sample
        without tau_eligibility (MSTDP):  Delta w = sum over samples of r zeta
        with it (MSTDPET):                z[t] = exp(-1/tau) z[t-1] + zeta / tau,  Delta w = sum over samples of r z

    Args:
        layer, tau_pre, tau_post, f_pre, f_post: as in ``STDP``.
        exponential: as in ``STDP``, but True by default.
        tau_eligibility: time constant of the eligibility trace in steps, >= 1; None, the default: there is no trace.
            The trace takes the memory of one weight array per sample.

    Raises:
        TypeError: ``layer`` is another layer.
        ValueError: a time constant is below 1.

    Source: Florian, Reinforcement learning through modulation of spike-timing-dependent synaptic plasticity, Neural
    Computation 19, 2007.
    """

    exponential: bool = True
    tau_eligibility: Optional[float] = None

    rewarded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau_eligibility is not None and not self.tau_eligibility >= 1:
            raise ValueError(f"RewardSTDP: tau_eligibility={self.tau_eligibility!r} must be >= 1 step, or None")

    def step(
        self,
        weight: Array,
        state: Optional[State],
        pre: Array,
        post: Array,
        reward: Union[float, Array] = 1.0,
        *,
        mem: Optional[Array] = None,
    ) -> Tuple[Any, State]:
        """The weight change of one step.

        Args:
            weight, state, pre, post: as in ``STDP.step``; the state also has "eligibility" if there is a trace.
            reward: a number, or one per sample (batch,); default 1.
            mem: not read.

        Returns:
            Delta w, and the traces after the step.

        Raises:
            ShapeError: spikes, weight or reward do not fit.
        """
        return self.run(weight, self._timed(weight, pre), self._timed(weight, post), state, reward)

    def run(
        self,
        weight: Array,
        pre: Array,
        post: Array,
        state: Optional[State] = None,
        reward: Union[float, Array] = 1.0,
        *,
        mem: Optional[Array] = None,
    ) -> Tuple[Any, State]:
        """The weight change of a sequence with a constant weight, after whose last step the reward is given.

        Without a trace the reward counts for all steps of the sequence; with one, for what it has kept of them.

        Args:
            weight, state: as in ``step``.
            pre, post: spikes (time, batch, *features), as in ``STDP.run``.
            reward: a number, or one per sample (batch,); default 1.
            mem: not read.

        Returns:
            Delta w, and the traces after the last step.

        Raises:
            ShapeError: spikes, weight or reward do not fit.
        """
        engine = engine_of(weight)
        signals = self.signals(weight, pre, post, state, None)
        (steps, samples), tau, after = signals.pre.shape[:2], self.tau_eligibility, signals.last
        earned = engine.xp.reshape(reward_on(engine, reward, samples), (-1,) + (1,) * weight.ndim)
        if tau is None:
            return engine.xp.sum(earned * self._by_sample(weight, signals), axis=0), after
        kept = engine.asarray([fading(tau) ** (steps - 1 - t) / tau for t in range(steps)])
        kept = engine.xp.reshape(kept, (steps,) + (1,) * (signals.post.ndim - 1))
        z = self._by_sample(weight, signals, kept)
        if state is not None and "eligibility" in state:
            z = z + fading(tau) ** steps * state.eligibility
        return engine.xp.sum(earned * z, axis=0), after.replace(eligibility=z)

    def eligibility(self, weight: Array, traces: State, pre: Array, post: Array) -> Any:
        """The change that STDP would make, for each sample: (batch, *weight); ``traces`` are those after the step."""
        pre, post = self._timed(weight, pre), self._timed(weight, post)
        after = map_leaves(lambda x: self._timed(weight, x), traces)
        return self._by_sample(weight, Signals(pre, post, None, after, after))

    def _by_sample(self, weight: Any, signals: Signals, kept: Any = None) -> Any:
        """The change of each sample alone, (batch, *weight), each step of it times ``kept``."""
        rows = [self.change(weight, signals.of_sample(i), kept) for i in range(signals.pre.shape[1])]
        return engine_of(weight).xp.stack(rows, axis=0)


def reward_on(engine: Engine, reward: Any, samples: int) -> Any:
    """A reward on the engine: one number, or one per sample.

    Raises:
        ShapeError: it has another shape.
    """
    earned = engine.asarray(reward)
    if tuple(earned.shape) not in ((), (samples,)):
        raise ShapeError(f"reward of shape {tuple(earned.shape)}, expected () or ({samples},), one per sample")
    return earned

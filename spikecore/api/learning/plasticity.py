"""Local learning: spike-timing-dependent plasticity, plain and modulated by reward, for dense layers and convolutions.

The spikes of a synapse's input and of its neuron leave decaying traces. A spike of the neuron strengthens the synapses
whose inputs have fired recently; a spike of an input weakens the synapses whose neurons have fired recently:

    x[t] = d_pre x[t-1] + S_in[t]         y[t] = d_post y[t-1] + S_out[t]
    Delta w = f_post(w) S_out[t] x[t] - f_pre(w) y[t] S_in[t]

The rules return Delta w and do not change the weight: add it yourself, times a learning rate. Spikes at the same step
count in both terms. Sources: Morrison, Diesmann and Gerstner, Biological Cybernetics 98, 2008 (traces); Florian, Neural
Computation 19, 2007 (reward).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple, Union

from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError, layer_name
from spikecore.api.core.rules import rule_of
from spikecore.api.core.tree import State
from spikecore.api.core.words import Array
from spikecore.api.functional.distance import smeared
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d
from spikecore.arguments import Checked
from spikecore.printing import Concise

Weighing = Callable[[Any], Any]


def proportional(weight: Any) -> Any:
    """The weight dependence f(w) = w."""
    return weight


@dataclass(frozen=True)
class STDP(Concise, Checked):
    """Spike-timing-dependent plasticity of one connection.

    Args:
        layer: a ``Linear``, ``Conv1d`` or ``Conv2d``, which defines the connections of inputs and outputs.
        tau_pre, tau_post: time constants of the two traces in steps, >= 1; default 20.
        f_pre, f_post: functions of the weight that scale weakening and strengthening; default f(w) = w. With
            ``lambda w: 1.0`` the changes do not depend on the weight.
        exponential: True: the traces decay by exp(-1 / tau) per step; False, the default: by 1 - 1 / tau.

    Raises:
        TypeError: ``layer`` is another layer.
        ValueError: a time constant is below 1.
    """

    layer: Union[Linear, Conv1d, Conv2d]
    tau_pre: float = 20.0
    tau_post: float = 20.0
    f_pre: Weighing = proportional
    f_post: Weighing = proportional
    exponential: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.layer, (Linear, Conv1d, Conv2d)):
            raise TypeError(f"{type(self).__name__}: layer={self.layer!r} must be a Linear, Conv1d or Conv2d")
        for name in ("tau_pre", "tau_post"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{type(self).__name__}: {name}={getattr(self, name)!r} must be >= 1 step")

    def _decay(self, tau: float) -> float:
        return math.exp(-1.0 / tau) if self.exponential else 1.0 - 1.0 / tau

    def rest(self, weight: Array, pre: Array, post: Array) -> State:
        """Traces of zero, for spikes of one step: pre (batch, *inputs), post (batch, *outputs)."""
        engine = engine_of(weight)
        return State(pre=engine.xp.zeros_like(engine.asarray(pre)), post=engine.xp.zeros_like(engine.asarray(post)))

    def step(self, weight: Array, state: Optional[State], pre: Array, post: Array) -> Tuple[Any, State]:
        """The weight change of one step.

        Args:
            weight: the layer's weight, an array of any engine.
            state: the traces before the step; None: zero.
            pre: input spikes (batch, *inputs).
            post: output spikes (batch, *outputs).

        Returns:
            Delta w, summed over the batch, and the traces after the step.

        Raises:
            ShapeError: spikes or weight do not fit the layer.
        """
        state, pre, post = self._moved(weight, state, pre, post)
        return self._change(weight, state, pre, post), state

    def run(self, weight: Array, pre: Array, post: Array, state: Optional[State] = None) -> Tuple[Any, State]:
        """The weight change of a whole sequence with a constant weight.

        Args:
            weight, state: as in ``step``.
            pre: input spikes (time, batch, *inputs).
            post: output spikes (time, batch, *outputs).

        Returns:
            Delta w, summed over steps and batch, and the traces after the last step.

        Raises:
            ShapeError: spikes or weight do not fit the layer.
        """
        engine = engine_of(weight)
        traces, spikes = [], []
        for x, tau, name in ((pre, self.tau_pre, "pre"), (post, self.tau_post, "post")):
            x, decay = engine.asarray(x), self._decay(tau)
            driven = x if state is None else engine.xp.concat([x[:1, ...] + decay * state[name], x[1:, ...]], axis=0)
            traces.append(smeared(engine.xp, driven, decay))
            spikes.append(engine.xp.reshape(x, (-1, *x.shape[2:])))  # time and batch as one big batch
        final = State(pre=traces[0][-1, ...], post=traces[1][-1, ...])
        flat = State({n: engine.xp.reshape(x, (-1, *x.shape[2:])) for n, x in zip(("pre", "post"), traces)})
        self._check(weight, *spikes)
        return self._change(weight, flat, *spikes), final

    def _moved(self, weight: Any, state: Optional[State], pre: Any, post: Any) -> Tuple[State, Any, Any]:
        """The traces after a step, and its spikes as arrays of the weight's engine."""
        engine = engine_of(weight)
        pre, post = engine.asarray(pre), engine.asarray(post)
        self._check(weight, pre, post)
        before = self.rest(weight, pre, post) if state is None else state
        after = {
            "pre": self._decay(self.tau_pre) * before.pre + pre,
            "post": self._decay(self.tau_post) * before.post + post,
        }
        return before.replace(**after), pre, post

    def _change(self, weight: Any, traces: State, pre: Any, post: Any) -> Any:
        xp = engine_of(weight).xp
        stronger, weaker = self._meetings(xp, weight, post, traces.pre), self._meetings(xp, weight, traces.post, pre)
        return self.f_post(weight) * stronger - self.f_pre(weight) * weaker

    def _meetings(self, xp: Any, weight: Any, post: Any, pre: Any) -> Any:
        """For each weight, the sum over the batch of the product of its neuron's and its input's value."""
        if isinstance(self.layer, Linear):
            return xp.permute_dims(post, (1, 0)) @ pre
        geometry = (self.layer.stride, self.layer.padding, self.layer.dilation, self.layer.groups)
        by_weight = rule_of("conv")[1]  # the gradient of a convolution by its weight is the same sum
        return by_weight(xp, post, None, pre, weight, None, *geometry)

    def _check(self, weight: Any, pre: Any, post: Any) -> None:
        layer: Any = self.layer
        name = layer_name(layer)
        dense = isinstance(layer, Linear)
        first = (layer.in_features, layer.out_features) if dense else (layer.in_channels, layer.out_channels)
        wanted = (first[1], first[0]) if dense else (first[1], first[0] // layer.groups, *layer.kernel_size)
        if tuple(weight.shape) != wanted:
            raise ShapeError(f"STDP: weight of shape {tuple(weight.shape)}, but {name} has {wanted}")
        for which, x, count in (("pre", pre, first[0]), ("post", post, first[1])):
            if x.ndim != (2 if dense else 2 + layer.space) or x.shape[1] != count:
                raise ShapeError(f"STDP: {which} spikes of shape {tuple(x.shape)} do not fit {layer!r}")
        if pre.shape[0] != post.shape[0]:
            raise ShapeError(f"STDP: {pre.shape[0]} samples of pre spikes, {post.shape[0]} of post spikes")


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau_eligibility is not None and not self.tau_eligibility >= 1:
            raise ValueError(f"RewardSTDP: tau_eligibility={self.tau_eligibility!r} must be >= 1 step, or None")

    def step(  # type: ignore[override]
        self, weight: Array, state: Optional[State], pre: Array, post: Array, reward: Union[float, Array] = 1.0
    ) -> Tuple[Any, State]:
        """The weight change of one step.

        Args:
            weight, state, pre, post: as in ``STDP.step``; the state also has "eligibility" if there is a trace.
            reward: a number, or one per sample (batch,); default 1.

        Returns:
            Delta w, and the traces after the step.

        Raises:
            ShapeError: spikes, weight or reward do not fit.
        """
        engine = engine_of(weight)
        state, pre, post = self._moved(weight, state, pre, post)
        zeta, earned = self.eligibility(weight, state, pre, post), self._reward(engine, reward, weight, pre)
        if self.tau_eligibility is None:
            return engine.xp.sum(earned * zeta, axis=0), state
        z = zeta / self.tau_eligibility
        if "eligibility" in state:
            z = z + math.exp(-1.0 / self.tau_eligibility) * state.eligibility
        return engine.xp.sum(earned * z, axis=0), state.replace(eligibility=z)

    def run(self, weight: Array, pre: Array, post: Array, state: Optional[State] = None) -> Tuple[Any, State]:
        """Not defined, since each step has its own reward: call ``step``."""
        raise TypeError(
            "RewardSTDP: run is not defined, since each step has its own reward; call step for each of them"
        )

    def eligibility(self, weight: Array, traces: State, pre: Array, post: Array) -> Any:
        """The change that STDP would make, for each sample: (batch, *weight)."""
        xp = engine_of(weight).xp
        rows = []
        for i in range(pre.shape[0]):
            sample = State(pre=traces.pre[i : i + 1, ...], post=traces.post[i : i + 1, ...])
            rows.append(self._change(weight, sample, pre[i : i + 1, ...], post[i : i + 1, ...]))
        return xp.stack(rows, axis=0)

    def _reward(self, engine: Any, reward: Any, weight: Any, pre: Any) -> Any:
        earned = engine.asarray(reward)
        if tuple(earned.shape) not in ((), (pre.shape[0],)):
            raise ShapeError(f"RewardSTDP: reward of shape {tuple(earned.shape)}, expected () or ({pre.shape[0]},)")
        return engine.xp.reshape(earned, (-1,) + (1,) * weight.ndim)

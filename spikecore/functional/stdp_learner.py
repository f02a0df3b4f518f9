"""Spike-timing-dependent plasticity; see ``spikecore.api.learning.plasticity``.

Besides the rules, snnTorch's functions of one step, with its names and arguments. ``fc`` and ``conv`` are modules of
torch, or anything else with a ``weight``; those of a convolution also have stride, padding, dilation and groups. They
return both traces and the change, or for reward-modulated rules the eligibility, and change no weight. ``STDPLearner``
watches two modules of torch and needs the extra ``torch``.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

from spikecore.api.core.engine import engine_of
from spikecore.api.core.messages import no_such as _no_such
from spikecore.api.core.tree import State
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d
from spikecore.api.learning.plasticity import STDP as STDP
from spikecore.api.learning.plasticity import RewardSTDP as RewardSTDP
from spikecore.api.learning.plasticity import Weighing
from spikecore.api.learning.plasticity import proportional as proportional
from spikecore.arguments import ArrayLike, Weighted, checked

Step = Tuple[Any, Any, Any]


@checked
def stdp_linear_single_step(
    fc: Weighted, in_spike: ArrayLike, out_spike: ArrayLike,
    trace_pre: Optional[ArrayLike], trace_post: Optional[ArrayLike],
    tau_pre: float, tau_post: float,
    f_pre: Weighing = proportional, f_post: Weighing = proportional,
) -> Step:  # fmt: skip
    """One step of STDP of a dense layer.

    Args:
        fc: the layer; its weight is (out, in).
        in_spike: (batch, in).
        out_spike: (batch, out).
        trace_pre, trace_post: what the step before returned; None, nothing yet.
        tau_pre, tau_post: time constants in steps; the decay is 1 - 1 / tau.
        f_pre, f_post: how weakening and strengthening depend on the weight.

    Returns:
        trace_pre, trace_post, Delta w summed over the batch.
    """
    weight = _weight(fc)
    rule = STDP(_linear(weight), tau_pre, tau_post, f_pre, f_post)
    spikes: Tuple[Any, Any] = (in_spike, out_spike)
    change, state = rule.step(weight, _state(rule, weight, *spikes, trace_pre, trace_post), *spikes)
    return state.pre, state.post, change


@checked
def stdp_conv1d_single_step(
    conv: Weighted, in_spike: ArrayLike, out_spike: ArrayLike,
    trace_pre: Optional[ArrayLike], trace_post: Optional[ArrayLike],
    tau_pre: float, tau_post: float,
    f_pre: Weighing = proportional, f_post: Weighing = proportional,
) -> Step:  # fmt: skip
    """One step of STDP of a one-dimensional convolution; arguments as in ``stdp_conv2d_single_step``."""
    return _conv_step(Conv1d, conv, in_spike, out_spike, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@checked
def stdp_conv2d_single_step(
    conv: Weighted, in_spike: ArrayLike, out_spike: ArrayLike,
    trace_pre: Optional[ArrayLike], trace_post: Optional[ArrayLike],
    tau_pre: float, tau_post: float,
    f_pre: Weighing = proportional, f_post: Weighing = proportional,
) -> Step:  # fmt: skip
    """One step of STDP of a two-dimensional convolution, dilated and grouped ones included.

    Args:
        conv: the layer.
        in_spike: (batch, in channels, *space); its trace has the same shape (snnTorch's is padded).
        out_spike: (batch, out channels, *space).
        trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post: as in ``stdp_linear_single_step``.

    Returns:
        trace_pre, trace_post, Delta w summed over batch and space.
    """
    return _conv_step(Conv2d, conv, in_spike, out_spike, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@checked
def mstdp_linear_single_step(
    fc: Weighted, in_spike: ArrayLike, out_spike: ArrayLike,
    trace_pre: Optional[ArrayLike], trace_post: Optional[ArrayLike],
    tau_pre: float, tau_post: float,
    f_pre: Weighing = proportional, f_post: Weighing = proportional,
) -> Step:  # fmt: skip
    """One step of reward-modulated STDP of a dense layer: the eligibility, to be multiplied by the reward.

    Args:
        fc, in_spike, out_spike, trace_pre, trace_post, f_pre, f_post: as in ``stdp_linear_single_step``.
        tau_pre, tau_post: time constants in steps; the decay is exp(-1 / tau).

    Returns:
        trace_pre, trace_post, eligibility (batch, out, in).
    """
    weight = _weight(fc)
    rule = RewardSTDP(_linear(weight), tau_pre, tau_post, f_pre, f_post)
    spikes: Tuple[Any, Any] = (in_spike, out_spike)
    _, state = rule.step(weight, _state(rule, weight, *spikes, trace_pre, trace_post), *spikes)
    pre, post = map(engine_of(weight).asarray, spikes)
    return state.pre, state.post, rule.eligibility(weight, state, pre, post)


@checked
def mstdpet_linear_single_step(
    fc: Weighted, in_spike: ArrayLike, out_spike: ArrayLike,
    trace_pre: Optional[ArrayLike], trace_post: Optional[ArrayLike],
    tau_pre: float, tau_post: float,
    tau_trace: float, f_pre: Weighing = proportional, f_post: Weighing = proportional,
) -> Step:  # fmt: skip
    """One step of reward-modulated STDP with an eligibility trace: what enters the trace at this step.

    Args:
        fc, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post: as in ``mstdp_linear_single_step``.
        in_spike: (in,), a single sample, as snnTorch takes it; or (batch, in).
        out_spike: (out,) or (batch, out).
        tau_trace: time constant of the eligibility trace, which the caller keeps; nothing is computed from it here.
            ``RewardSTDP(tau_eligibility=...)`` keeps it.

    Returns:
        trace_pre, trace_post, eligibility (out, in) or (batch, out, in).
    """
    spikes: Tuple[Any, Any] = (in_spike, out_spike)
    single = spikes[0].ndim == 1
    pre, post = (x[None] if single else x for x in spikes)
    made = mstdp_linear_single_step(fc, pre, post, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)
    return (made[0][0], made[1][0], made[2][0]) if single else made


def _conv_step(
    kind: Any, conv: Any, in_spike: Any, out_spike: Any, trace_pre: Any, trace_post: Any, *options: Any
) -> Step:
    weight = _weight(conv)
    out_channels, in_channels, *kernel = weight.shape
    geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)
    rule = STDP(kind(in_channels * conv.groups, out_channels, tuple(kernel), *geometry), *options)
    spikes: Tuple[Any, Any] = (in_spike, out_spike)
    change, state = rule.step(weight, _state(rule, weight, *spikes, trace_pre, trace_post), *spikes)
    return state.pre, state.post, change


def _weight(module: Any) -> Any:
    weight = getattr(module, "weight", module)
    return engine_of(weight).stop_gradient(weight)


def _linear(weight: Any) -> Linear:
    return Linear(weight.shape[1], weight.shape[0])


def _state(rule: STDP, weight: Any, pre: Any, post: Any, trace_pre: Any, trace_post: Any) -> State:
    rest = rule.rest(weight, pre, post)
    return State(
        pre=rest.pre if trace_pre is None else rest.pre + trace_pre,
        post=rest.post if trace_post is None else rest.post + trace_post,
    )


def __getattr__(name: str) -> Any:
    if name == "STDPLearner":
        from spikecore.functional import learner

        return learner.STDPLearner
    known = {one: thing for one, thing in globals().items() if one not in ("Conv1d", "Conv2d", "Linear", "State")}
    raise _no_such("learning rule", name, known, ("STDPLearner",))

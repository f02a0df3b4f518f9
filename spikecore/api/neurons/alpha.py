"""The alpha neuron: its membrane responds to an input with an alpha function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Literal, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.parameters import decays_of, refuse_drawn
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Param, Params, State
from spikecore.api.neurons.membrane import Membrane


@dataclass(frozen=True)
class Alpha(Membrane):
    """Spike response neuron: excitatory minus inhibitory current gives an alpha-shaped membrane (snnTorch ``Alpha``).

        e[t] = alpha e[t-1] + I[t],   i[t] = beta i[t-1] - I[t]
        tau = ln alpha / (ln beta - ln alpha) + 1
        U[t] = tau (e[t] + i[t])                           the membrane has no memory of its own
        R[t] = Theta(U[t-1] - theta)                       not differentiated
        "zero"       e, i and U are multiplied by 1 - R[t]
        "subtract"   U[t] += i[t-1] R[t], and then e[t] -= theta R[t],  i[t] *= 1 - R[t]
        S[t] = gamma Theta(U[t] - theta)

    An impulse at the input raises U one step later.

    Args:
        alpha: decay of the excitatory current, in [0, 1], default 0.9; must exceed beta.
        beta: decay of the inhibitory current, in (0, 1), default 0.8. Both may be arrays or learned, as in ``Leaky``.
        reset_mechanism: "zero" (the default), "subtract" or "none".
        threshold, surrogate, graded_spikes_factor, inhibition, state_quant: see ``Membrane``.
        reset_delay: must stay True.

    Raises:
        ValueError: alpha <= beta or beta = 0 for some neuron, or ``reset_delay=False``.

    Source: Gerstner, Time structure of the activity in neural network models, 1995; Eshraghian et al., 2023.
    """

    alpha: Param = 0.9
    beta: Param = 0.8
    reset_mechanism: Literal["subtract", "zero", "none"] = "zero"

    state: ClassVar[Tuple[str, ...]] = ("syn_exc", "syn_inh", "mem")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"alpha": DECAY, "beta": DECAY}
    resets: ClassVar[Tuple[str, ...]] = ("zero", "subtract", "none")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reset_delay:
            raise ValueError("Alpha: reset_delay=False is not defined for it; the reset is always delayed")
        for name in ("alpha", "beta"):
            refuse_drawn(self, name)
        alphas, betas = (decays_of(getattr(self, name)) for name in ("alpha", "beta"))
        if not _everywhere(alphas > betas):
            raise ValueError(f"Alpha: alpha={self.alpha!r} must exceed beta={self.beta!r} everywhere")
        if not _everywhere(betas > 0.0):
            raise ValueError(f"Alpha: beta={self.beta!r} must be > 0, since the membrane needs its logarithm")

    def prepare(self, engine: Engine, params: Params) -> Params:
        prepared = super().prepare(engine, params)
        xp = engine.xp
        fast, slow = (xp.log(engine.asarray(prepared[name])) for name in ("alpha", "beta"))
        tau = xp.divide(fast, xp.subtract(slow, fast)) + 1.0  # not operators: one side may be a constant
        return prepared.replace(tau=tau)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        exc = params.alpha * state.syn_exc + x
        inh = params.beta * state.syn_inh - x
        mem = params.tau * (exc + inh)
        if reset is not None and self.reset_mechanism == "zero":
            keep = 1.0 - reset
            exc, inh, mem = keep * exc, keep * inh, keep * mem
        elif reset is not None:
            mem = mem + state.syn_inh * reset
            exc, inh = exc - params.threshold * reset, inh - inh * reset
        exc, inh = self.quantised(engine, exc), self.quantised(engine, inh)
        spikes, mem = self.fire(engine, params, mem)
        return spikes, State(syn_exc=exc, syn_inh=inh, mem=mem)


def _everywhere(holds: Any) -> bool:
    return holds if isinstance(holds, bool) else bool(holds.all())

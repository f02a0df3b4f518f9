"""The second-order leaky integrate-and-fire neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Param, Params, State
from spikecore.api.neurons.membrane import Membrane
from spikecore.api.neurons.parallel import Parallel, recurrence


@dataclass(frozen=True)
class Synaptic(Parallel, Membrane):
    """Leaky integrate-and-fire neuron with a synaptic current (snnTorch ``Synaptic``).

        syn[t] = alpha syn[t-1] + I[t]                     the input reaches the membrane in the same step
        F[t] = beta U[t-1] + syn[t]
        U[t] = F[t] after the reset of ``Membrane``; a reset does not change syn
        S[t] = gamma Theta(U[t] - theta)

    With ``state_quant`` both states are quantised at the end of the step; the membrane gets syn[t] in full precision.

    Args:
        alpha: synaptic decay per step in [0, 1]; default 0.9.
        beta: membrane decay per step in [0, 1]; default 0.8. Both may be arrays or learned, as in ``Leaky``.
        parallel: compute all steps at once; needs reset_mechanism "none"; default False.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Source: Eshraghian et al., 2023; current-based synapses after Gerstner & Kistler, Spiking neuron models, 2002.
    """

    alpha: Param = 0.9
    beta: Param = 0.8

    state: ClassVar[Tuple[str, ...]] = ("syn", "mem")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"alpha": DECAY, "beta": DECAY}

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        syn = params.alpha * state.syn + x
        mem = params.beta * self.reset_before(params, state.mem, reset) + syn
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(syn=self.quantised(engine, syn), mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        syn = recurrence(engine, params.alpha, inputs, state.syn)
        return State(syn=syn, mem=recurrence(engine, params.beta, syn, state.mem))

"""E-prop's filter of eligibility traces: what a leaky readout remembers of a layer's spikes, as a state of the neuron.

    f[t] = kappa f[t-1] + S[t]

A readout U[t] = kappa U[t-1] + W S[t] is W f[t]. If learning takes f for the neuron's output, its eligibility is
e_f[t] = kappa e_f[t-1] + dS[t]/dw, the filtered trace of e-prop, by the same rules as that of every other state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Params, State
from spikecore.api.core.words import Array
from spikecore.api.neurons.stepper import InputWrapper, Stepper

FILTERED = "filtered"


@dataclass(frozen=True)
class Filtered(InputWrapper):
    """A neuron whose output is its filtered spikes, for derivatives alone: in the network itself the neuron fires.

    Args:
        neuron: the neuron.
        kappa: the decay of the filter per step.
    """

    neuron: Stepper
    kappa: float

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return (*self.neuron.state, FILTERED)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return State({**self.neuron.rest(engine, params, x), FILTERED: engine.xp.zeros_like(x)})

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        inner = State({name: state[name] for name in self.neuron.state})
        spikes, after = self.neuron.step(engine, params, inner, x)
        filtered = self.kappa * state[FILTERED] + spikes
        return filtered, State({**after, FILTERED: filtered})

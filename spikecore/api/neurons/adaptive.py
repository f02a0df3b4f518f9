"""A neuron whose threshold rises with its own activity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Param, Params, State, cast, value_at
from spikecore.api.neurons.membrane import Membrane


@dataclass(frozen=True)
class ALIF(Membrane):
    """Leaky integrate-and-fire neuron with an adaptive threshold.

        A[t] = theta + adaptation a[t-1]                   the threshold at step t
        F[t] = beta U[t-1] + I[t],  then the reset of ``Membrane`` by theta, delayed: R[t] = H[t-1]
        H[t] = Theta(U[t] - A[t]),  S[t] = gamma H[t]
        a[t] = rho a[t-1] + (1 - rho) H[t]                 a running mean of the neuron's spikes

    Args:
        beta: membrane decay per step in [0, 1]; default 0.9.
        rho: decay of the adaptation per step in [0, 1], usually above beta; default 0.97.
        adaptation: how much firing at every step raises the threshold; default 1.8. All three may be arrays or learned.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, state_quant: see ``Membrane``.
        inhibition: must stay False.

    Raises:
        ValueError: ``inhibition=True``, or a constant beta or rho outside [0, 1].

    Source: Bellec et al., Long short-term memory and learning-to-learn in networks of spiking neurons, 2018.
    """

    beta: Param = 0.9
    rho: Param = 0.97
    adaptation: Param = 1.8

    state: ClassVar[Tuple[str, ...]] = ("mem", "adapt", "fired")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY, "rho": DECAY}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inhibition:
            raise ValueError("ALIF: inhibition=True is not defined for an adaptive threshold")

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        delayed = self.reset_mechanism != "none" and self.reset_delay
        reset = cast(engine, state.fired > 0.5) if delayed else None
        mem = params.beta * self.reset_before(params, state.mem, reset) + x
        mem = self.quantised(engine, self.reset_after(params, mem, reset))
        fired = self.spike(engine, params, mem - (params.threshold + params.adaptation * state.adapt))
        adapt = params.rho * state.adapt + (1.0 - params.rho) * fired
        if not self.reset_delay:
            mem = self.reset_now(params, mem, fired)
        return self.graded(params, fired), State(mem=mem, adapt=self.quantised(engine, adapt), fired=fired)

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        adapt = float(states.adapt[(place[0] - 1, *place[1:])]) if place[0] else 0.0
        return super().margin(fields, states, place) - adapt * value_at(fields.adaptation, states.mem, place)

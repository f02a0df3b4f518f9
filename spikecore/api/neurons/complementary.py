"""The complementary neuron CLIF, whose second potential remembers spikes for longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.activation import logistic
from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params, State


@dataclass(frozen=True)
class CLIF(Neuron):
    """Complementary leaky integrate-and-fire neuron: a neuron that fired often is reset further.

        H[t] = beta U[t-1] + I[t]
        H'[t] = Theta(H[t] - theta),  S[t] = gamma H'[t]
        M[t] = M[t-1] sigma((1 - beta) H[t]) + H'[t]       sigma is the logistic sigmoid
        U[t] = H[t] - H'[t] (theta + sigma(M[t]))

    The reset is differentiated through the surrogate. The complementary potential M (state "comp") adds a path for
    gradients that does not decay with the membrane. It has no parameters of its own.

    Args:
        beta: membrane decay per step in [0, 1], 1 - 1/tau; default 0.5. A number, an array or learned, as in ``Leaky``.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Raises:
        ValueError: a constant beta is outside [0, 1].

    Source: Huang et al., CLIF: Complementary leaky integrate-and-fire neuron for spiking neural networks, ICML 2024.
    """

    beta: Param = 0.5

    state: ClassVar[Tuple[str, ...]] = ("mem", "comp")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        xp, mem = engine.xp, params.beta * state.mem + x
        fired = self.fires(engine, params, mem)
        comp = state.comp * logistic(xp, (1.0 - params.beta) * mem) + fired
        mem = mem - fired * (params.threshold + logistic(xp, comp))
        return self.graded(params, fired), State(mem=mem, comp=comp)

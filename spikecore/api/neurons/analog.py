"""The neuron LIAF: its spikes reset the membrane, its output is analog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.activation import ACTIVATIONS, Activation, check_activation
from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Param, Params, State
from spikecore.api.neurons.membrane import Membrane, Reset


@dataclass(frozen=True)
class LIAF(Membrane):
    """Leaky integrate and analog fire: the membrane of ``Leaky``, whose output is a function of it and no spike.

        H[t] = beta U[t-1] + I[t]
        out[t] = gamma f(H[t]), or gamma f(H[t] - theta) if ``threshold_related``
        U[t] = H[t] after the reset of ``Membrane``: here to zero in the same step

    Args:
        beta: membrane decay per step in [0, 1]; default 0.9. A number, an array or learned, as in ``Leaky``.
        activation: f, "relu" (the default), "leaky_relu" (slope 0.01 below zero), "sigmoid", "tanh" or "identity".
        threshold_related: whether f is applied to the membrane above the threshold; default True.
        reset_mechanism: default "zero". reset_delay: default False.
        threshold, surrogate, inhibition, state_quant: of the spike that resets, see ``Membrane``.
        graded_spikes_factor: gamma, a factor of the output; default 1.

    Raises:
        ValueError: a constant beta is outside [0, 1], or ``activation`` is something else.

    Source: Wu et al., LIAF-Net: Leaky integrate and analog fire network for lightweight and efficient spatiotemporal
    information processing, IEEE TNNLS 2022.
    """

    reset_mechanism: Reset = "zero"
    reset_delay: bool = False
    beta: Param = 0.9
    activation: Activation = "relu"
    threshold_related: bool = True

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    spiking: ClassVar[bool] = False  # type: ignore[misc]  # not a field: equal for all instances
    zero_keeps_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_activation(self, self.activation)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = params.beta * self.reset_before(params, state.mem, reset) + x
        mem = self.reset_after(params, mem, reset)
        out = ACTIVATIONS[self.activation](engine.xp, mem - params.threshold if self.threshold_related else mem)
        _, mem = self.fire(engine, params, mem)
        return self.graded(params, out), State(mem=mem)

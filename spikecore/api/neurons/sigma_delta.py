"""The sigma-delta neuron, which sends changes of an activation instead of its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.activation import ACTIVATIONS, Activation, check_activation
from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Neuron, Param, Params, State


@dataclass(frozen=True)
class SigmaDelta(Neuron):
    """A neuron that adds up the changes it receives (sigma) and sends the changes of its activation (delta).

        U[t] = U[t-1] + I[t]                               decode; else U[t] = I[t]
        y[t] = f(U[t] + bias),  e[t] = y[t] - sent[t-1]
        out[t] = Theta(|e[t]| - theta) e[t]                encode; else out[t] = y[t]
        sent[t] = sent[t-1] + out[t]

    The sum that its receiver forms differs from y by at most theta, at every step. A network of such neurons computes
    what one of f computes, and where its input changes slowly it sends little. Layers between them must have no bias,
    which would be added at every step: give ``bias`` here. The first neuron takes values (``decode=False``), the last
    one gives them (``encode=False``). Theta is differentiated by the surrogate.

    Args:
        threshold: theta >= 0, the change that must be exceeded (strictly) to be sent; default 0.1. A number, an array
            or learned.
        bias: added to U; default 0. A number, an array or learned, e.g. ``sc.learn(0.0, per="neuron")``.
        activation: f, "relu" (the default), "leaky_relu" (slope 0.01 below zero), "sigmoid", "tanh" or "identity".
        decode: whether inputs are changes; default True. False: they are values.
        encode: whether outputs are changes; default True. False: they are values; then threshold has no effect.
        surrogate: see ``Neuron``.
        graded_spikes_factor: a factor of the output; default 1.

    Raises:
        ValueError: the threshold is below 0, or ``activation`` is something else.

    Source: O'Connor & Welling, Sigma delta quantized networks, ICLR 2017; the neuron of lava-dl.
    """

    threshold: Param = 0.1
    bias: Param = 0.0
    activation: Activation = "relu"
    decode: bool = True
    encode: bool = True

    state: ClassVar[Tuple[str, ...]] = ("mem", "sent")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"threshold": (0.0, math.inf)}
    spiking: ClassVar[bool] = False  # type: ignore[misc]  # not a field: equal for all instances

    def __post_init__(self) -> None:
        super().__post_init__()
        check_activation(self, self.activation)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        mem = state.mem + x if self.decode else 1.0 * x
        value = ACTIVATIONS[self.activation](engine.xp, mem + params.bias)
        if not self.encode:
            return self.graded(params, value), State(mem=mem, sent=state.sent)
        change = value - state.sent
        sent = self.spike(engine, params, engine.xp.abs(change) - params.threshold) * change
        return self.graded(params, sent), State(mem=mem, sent=state.sent + sent)

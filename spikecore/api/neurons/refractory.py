"""Absolute refractoriness, for any neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Init, Key, Params, Shape, State
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import cast
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.neurons.wrapper import NeuronWrapper, refuse_parallel, refuse_state, refuse_weights


@dataclass(frozen=True)
class Refractory(NeuronWrapper):
    """A neuron that, for some steps after a spike, receives no input and does not fire.

        free[t] = 1 if no spike in the last ``period`` steps, else 0          not differentiated
        S[t] = free[t] neuron(free[t] I[t])

    During these steps the neuron's leak and reset continue.

    Args:
        neuron: the neuron; its parameters are named "neuron.…".
        period: number of silent steps after a spike, an int >= 1; default 1.

    Raises:
        TypeError: ``neuron`` is not a neuron.
        ValueError: ``period`` is below 1, or the neuron has ``parallel=True`` or a state "wait".
    """

    period: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.neuron, Stepper):
            raise TypeError(f"Refractory: neuron={self.neuron!r} is not a neuron")
        refuse_parallel(self, self.neuron)
        refuse_weights(self, self.neuron)
        refuse_state(self, self.neuron, "wait")
        if not isinstance(self.period, int) or self.period < 1:
            raise ValueError(f"Refractory: period={self.period!r} must be an int >= 1")

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return ("wait", *self.neuron.state)

    def init(self, key: Key, shape: Shape) -> Init:
        params, buffers, out = self.neuron.init(key.child("neuron"), shape)
        return Init(Params(neuron=params), buffers, out)

    def prepare(self, engine: Engine, params: Params) -> Params:
        return Params(neuron=self.neuron.prepare(engine, params.neuron))

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        inner = self.neuron.rest(engine, params.neuron, x)
        return State({"wait": engine.xp.zeros_like(x), **inner})

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        free = cast(engine, state.wait < 0.5)
        inner = State({name: state[name] for name in self.neuron.state})
        spikes, after = self.neuron.step(engine, params.neuron, inner, free * x)
        spikes = free * spikes
        fired = cast(engine, engine.xp.abs(spikes) > 0)  # a spike may be negative
        left = engine.xp.clip(state.wait - 1.0, 0.0, float(self.period))
        wait = engine.stop_gradient((1.0 - fired) * left + fired * float(self.period))
        return spikes, State({"wait": wait, **after})

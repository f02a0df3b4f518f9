"""A neuron that fires when its membrane changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Param, Params, State, value_at
from spikecore.api.neurons.parallel import Parallel, recurrence


@dataclass(frozen=True)
class DeltaLeaky(Parallel):
    """Neuron that fires if its membrane changed by more than a threshold since the last step (snnTorch ``DeltaLeaky``).

        U[t] = beta U[t-1] + I[t]                          beta is not clamped, there is no reset
        S[t] = gamma Theta(|U[t] - U[t-1]| - delta_threshold)

    Args:
        beta: membrane factor per step; a number, an array or learned; default 0.9.
        delta_threshold: the change that must be exceeded (strictly); a number, an array or learned; default 1.
        surrogate, graded_spikes_factor: see ``Neuron``.
        threshold: without effect; must stay 1.
        parallel: compute all steps at once; default False.

    Raises:
        ValueError: ``threshold`` is given; set ``delta_threshold`` instead.
    """

    beta: Param = 0.9
    delta_threshold: Param = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold != 1.0:
            raise ValueError(f"DeltaLeaky: threshold={self.threshold!r} has no effect; set delta_threshold")

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        mem = params.beta * state.mem + x
        return self._changed(engine, params, mem, state.mem), State(mem=mem)

    def _changed(self, engine: Any, params: Params, mem: Any, before: Any) -> Any:
        change = engine.xp.abs(mem - before)
        return self.graded(params, self.spike(engine, params, change - params.delta_threshold))

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        return State(mem=recurrence(engine, params.beta, inputs, state.mem))

    def outputs(self, engine: Engine, params: Params, before: State, states: State) -> Any:
        xp, mem = engine.xp, states.mem
        previous = xp.concat([xp.expand_dims(before.mem, axis=0), mem[:-1, ...]], axis=0)
        return self._changed(engine, params, mem, previous)

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        before = float(states.mem[(place[0] - 1, *place[1:])]) if place[0] else 0.0
        return abs(float(states.mem[place]) - before) - value_at(fields.delta_threshold, states.mem, place)

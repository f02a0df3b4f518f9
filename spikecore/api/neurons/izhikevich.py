"""Izhikevich's simple model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import State
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Neuron, Param, Params, cast


@dataclass(frozen=True)
class Izhikevich(Neuron):
    """Two equations that reproduce most firing patterns of cortical neurons, integrated by forward Euler.

        V[t] = v + dt (0.04 v^2 + 5 v + 140 - u + I[t]),   W[t] = u + dt a (b v - u)     with v = mem[t-1], u = rec[t-1]
        S[t] = gamma Theta(V[t] - theta)
        after a spike  mem = c, rec = W[t] + d;  else mem = V[t], rec = W[t]            the reset is not differentiated

    Potentials are in mV, dt in ms. The defaults give a regular spiking neuron, which fires if I is above about 5.

    Args:
        a: rate of the recovery variable, 1/ms; default 0.02.
        b: sensitivity of the recovery variable to the membrane; default 0.2.
        c: membrane potential after a spike, mV; default -65.
        d: increase of the recovery variable at a spike; default 8. All of these may be arrays or learned.
        dt: time step, ms, > 0; default 0.5. Steps above 1 ms are not stable.
        threshold: membrane potential above which the neuron fires, mV; default 30.
        surrogate, graded_spikes_factor: see ``Neuron``. Potentials span tens of mV, so choose a wide surrogate, such as
            ``atan(0.1)``.

    Raises:
        ValueError: ``dt`` is not positive.

    Source: Izhikevich, Simple model of spiking neurons, IEEE Transactions on Neural Networks, 2003.
    """

    threshold: Param = 30.0
    a: Param = 0.02
    b: Param = 0.2
    c: Param = -65.0
    d: Param = 8.0
    dt: float = 0.5

    state: ClassVar[Tuple[str, ...]] = ("mem", "rec")  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.dt, (int, float)) and self.dt > 0):
            raise ValueError(f"Izhikevich: dt={self.dt!r} must be > 0")

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        """The state at rest: membrane c, recovery variable b c."""
        mem = engine.xp.zeros_like(x) + params.c
        return State(mem=mem, rec=mem * params.b)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        v, u = state.mem, state.rec
        mem = v + self.dt * (0.04 * v * v + 5.0 * v + 140.0 - u + x)
        rec = u + self.dt * params.a * (params.b * v - u)
        spikes = self.graded(params, self.fires(engine, params, mem))
        reset = cast(engine, mem > params.threshold)
        return spikes, State(mem=(1.0 - reset) * mem + reset * params.c, rec=rec + reset * params.d)

"""Neurons whose spikes are more than zero and one: ILIF counts, TernaryLeaky has a sign."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Literal, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.parameters import POSITIVE
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params, State, cast, value_at
from spikecore.api.neurons.membrane import Membrane, Reset
from spikecore.arguments import Size


@dataclass(frozen=True)
class ILIF(Membrane):
    """Integer leaky integrate-and-fire neuron: up to D spikes in one step, as a number.

        H[t] = beta U[t-1] + I[t]
        C[t] = round(clip(H[t] / theta, 0, D)),  S[t] = gamma C[t]       halves are rounded to the even number
        U[t] = H[t] - C[t] theta

    The derivative of C by H is 1/theta for 0 <= H <= D theta, else 0; there is no other surrogate. A network trained
    with integers runs on binary hardware with D steps of single spikes for each step of its own: the layers behind are
    linear in C. With ``graded_spikes_factor=1/D`` outputs lie in [0, 1].

    Args:
        beta: membrane decay per step in [0, 1], 1 - 1/tau; default 0.25. A number, an array or learned.
        max_spikes: D, the most spikes of one step, at least 1; default 4.
        threshold: theta > 0; default 1. A number, an array or learned.
        reset_mechanism: "subtract" (the default), "subtract_decayed" or "none".
        reset_delay: whether the reset acts one step later and is not differentiated; default False.
        surrogate: without effect; must stay the default.
        graded_spikes_factor, inhibition, state_quant: see ``Membrane``.

    Raises:
        ValueError: a constant beta is outside [0, 1]; the threshold is not positive; ``surrogate`` is not the default;
            or the reset mechanism is not one of the three above.

    Source: Luo et al., Integer-valued training and spike-driven inference spiking neural network for high-performance
    and energy-efficient object detection, ECCV 2024.
    """

    reset_mechanism: Literal["subtract", "subtract_decayed", "none"] = "subtract"
    reset_delay: bool = False
    beta: Param = 0.25
    max_spikes: Size = 4

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY, "threshold": POSITIVE}
    resets: ClassVar[Tuple[str, ...]] = ("subtract", "subtract_decayed", "none")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.surrogate != Neuron.surrogate:
            raise ValueError(f"ILIF: surrogate={self.surrogate!r} has no effect: its gradient is a rectangle")

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = params.beta * self.reset_before(params, state.mem, reset) + x
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)

    def reset(self, engine: Engine, params: Params, before: Array) -> Any:
        if self.reset_mechanism == "none" or not self.reset_delay:
            return None
        return engine.xp.round(self._level(engine, params, before))

    def fires(self, engine: Engine, params: Params, mem: Array) -> Any:
        """The number of spikes, differentiated as if it were not rounded."""
        level = self._level(engine, params, mem)
        return engine.xp.round(level) + (level - engine.stop_gradient(level))

    def _level(self, engine: Engine, params: Params, mem: Array) -> Any:
        return engine.xp.clip(mem / params.threshold, 0.0, float(self.max_spikes))

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        """Distance of the membrane from the nearest level at which the number of spikes changes."""
        threshold = value_at(fields.threshold, states.mem, place)
        level = float(states.mem[place]) / threshold
        return abs(level - math.floor(level) - 0.5) * threshold


@dataclass(frozen=True)
class TernaryLeaky(Membrane):
    """Leaky integrate-and-fire neuron with spikes of either sign.

        H[t] = beta U[t-1] + I[t]
        P[t] = Theta(H[t] - theta),  N[t] = Theta(-H[t] - theta),  S[t] = gamma (P[t] - N[t])
        U[t] = H[t] - (P[t] + N[t]) H[t]                   reset_mechanism "zero", the default
        U[t] = H[t] - (P[t] - N[t]) theta                  "subtract"

    Silence, too, passes gradients: both sides have the surrogate. The trained amplitude of the paper is
    ``graded_spikes_factor=sc.learn(1.0)``.

    Args:
        beta: membrane decay per step in [0, 1]; default 0.25. A number, an array or learned, as in ``Leaky``.
        threshold: theta >= 0, of both signs; default 1. A number, an array or learned.
        reset_mechanism: default "zero". reset_delay: default False; True as in ``Membrane``.
        surrogate, graded_spikes_factor, state_quant: see ``Membrane``.
        inhibition: must stay False.

    Raises:
        ValueError: a constant beta is outside [0, 1], the threshold is below 0, or ``inhibition=True``.

    Source: Guo et al., Ternary spike: Learning ternary spikes for spiking neural networks, AAAI 2024.
    """

    reset_mechanism: Reset = "zero"
    reset_delay: bool = False
    beta: Param = 0.25

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY, "threshold": (0.0, math.inf)}
    zero_keeps_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inhibition:
            raise ValueError("TernaryLeaky: inhibition=True is not defined for spikes of either sign")

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = params.beta * self.reset_before(params, state.mem, reset) + x
        mem = self.quantised(engine, self.reset_after(params, mem, reset))
        up = self.spike(engine, params, mem - params.threshold)
        down = self.spike(engine, params, -mem - params.threshold)
        fired = up - down
        if not self.reset_delay:  # to zero leads a spike of either sign
            mem = self.reset_now(params, mem, up + down if self.reset_mechanism == "zero" else fired)
        return self.graded(params, fired), State(mem=mem)

    def reset(self, engine: Engine, params: Params, before: Array) -> Any:
        """The sign of the spike that resets the membrane; no gradient passes through it."""
        above = super().reset(engine, params, before)
        return None if above is None else above - cast(engine, -before > params.threshold)

    def reset_before(self, params: Params, before: Array, reset: Optional[Array]) -> Any:
        squared = reset if reset is None or self.reset_mechanism != "zero" else reset * reset
        return super().reset_before(params, before, squared)

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        return abs(float(states.mem[place])) - value_at(fields.threshold, states.mem, place)

"""Resonate-and-fire neurons: a membrane that swings, so that the timing of inputs decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Params, State
from spikecore.api.core.parameters import Learn, check_range
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Neuron, Param, value_at
from spikecore.api.neurons.membrane import Membrane
from spikecore.api.neurons.parallel import Parallel, rotating_recurrence, turned


@dataclass(frozen=True)
class ResonateAndFire(Parallel, Membrane):
    """A damped oscillator that fires: it answers best to inputs in time with its own frequency.

    The state is a complex number z, which shrinks and turns in every step. Its real part gets the input, its imaginary
    part is the membrane::

        z[t] = beta exp(i omega) z[t-1] + I[t]             z = real + i mem
        S[t] = gamma Theta(mem[t] - theta)

    In real numbers, with U for the membrane and V for the real part::

        V[t] = beta (cos(omega) V[t-1] - sin(omega) U[t-1]) + I[t]
        F[t] = beta (sin(omega) V[t-1] + cos(omega) U[t-1])
        U[t] = F[t] after the reset of ``Membrane``; a reset does not change V

    This is the exact solution of z' = (b + i w) z between inputs, with beta = exp(b dt) and omega = w dt. An input
    reaches the membrane one step later. Inputs of the opposite sign can make the neuron fire, half a period later. A
    delayed reset "zero" begins the update from a membrane of zero. With ``reset_mechanism="none"`` the neuron is linear
    up to its threshold, and ``parallel=True`` computes all steps at once.

    Args:
        beta: decay per step in [0, 1]; default 0.9. A number, an array that broadcasts to the neurons,
            ``sc.learn(...)`` or ``sc.learn_tau(...)``.
        omega: angle per step in radians; default 0.5, a period of 2 pi / 0.5, about 12.6 steps. Like beta, except for
            ``learn_tau``. Angles beyond pi mean the same as smaller ones.
        parallel: compute all steps at once; needs reset_mechanism "none"; default False.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Raises:
        ValueError: a constant beta is outside [0, 1], omega is not finite, the reset mechanism is unknown, or
            ``parallel`` is used with a reset.

    Source: Izhikevich, Resonate-and-fire neurons, Neural Networks 14, 2001; there a spike sets z to i.
    """

    beta: Param = 0.9
    omega: Param = 0.5

    state: ClassVar[Tuple[str, ...]] = ("real", "mem")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    zero_keeps_input: ClassVar[bool] = True

    def prepare(self, engine: Engine, params: Params) -> Params:
        prepared = super().prepare(engine, params)
        cos, sin = cos_and_sin(engine, prepared.omega)
        return prepared.replace(pole_real=prepared.beta * cos, pole_imag=prepared.beta * sin)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        before = state.real, self.reset_before(params, state.mem, reset)
        real, mem = turned((params.pole_real, params.pole_imag), before)
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(real=self.quantised(engine, real + x), mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        pole, both = (params.pole_real, params.pole_imag), (inputs, engine.xp.zeros_like(inputs))
        real, mem = rotating_recurrence(engine, pole, both, (state.real, state.mem))
        return State(real=real, mem=mem)


def cos_and_sin(engine: Engine, angle: Any) -> Tuple[Any, Any]:
    """Cosine and sine of a number or an array."""
    if type(angle) is float:
        return math.cos(angle), math.sin(angle)
    return engine.xp.cos(angle), engine.xp.sin(angle)


@dataclass(frozen=True)
class BalancedResonateAndFire(Neuron):
    """Resonate-and-fire neuron that stays stable while it learns its frequency: refractoriness in place of a reset.

    With the refractory variable Q, which each spike raises by one, a spike raises the threshold and damps the swing::

        p = (sqrt(1 - (dt omega)^2) - 1) / dt              divergence boundary: above it, the swing would grow
        b = p - b_offset - Q[t-1]
        U[t] = U[t-1] + dt (b U[t-1] - omega V[t-1] + I[t])
        V[t] = V[t-1] + dt (omega U[t-1] + b V[t-1])
        H[t] = Theta(U[t] - theta - Q[t-1]),  S[t] = gamma H[t]
        Q[t] = rho Q[t-1] + H[t]                           differentiated through the surrogate

    The paper calls this refractory period (Q in the threshold), smooth reset (Q in b) and divergence boundary (p). With
    ``b_offset=0`` and without spikes, the swing keeps its size, whatever omega is. It shrinks where dt (b_offset + Q)
    is positive and below 2 sqrt(1 - (dt omega)^2): choose dt well below 1 / omega. The states are ``mem`` (U),
    ``imag`` (V) and ``refr`` (Q).

    Args:
        omega: angular frequency, radians per unit of time, in [0, 1 / dt]; default 10. Learned values are clamped to
            [0, 0.999 / dt], where p has a finite slope.
        b_offset: damping, 1 / unit of time, >= 0; default 1. Learned values are clamped to this range.
        rho: decay of the refractory variable per step in [0, 1]; default 0.9. All of these may be arrays or learned.
        dt: time step, in the unit of time, > 0; default 0.01.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``. Inputs are scaled by dt: choose a threshold, or
            weights, accordingly.

    Raises:
        ValueError: ``dt`` is not positive, or a constant or first value is out of its range.

    Source: Higuchi, Kairat, Bohte & Otte, Balanced resonate-and-fire neurons, ICML 2024.
    """

    omega: Param = 10.0
    b_offset: Param = 1.0
    rho: Param = 0.9
    dt: float = 0.01

    state: ClassVar[Tuple[str, ...]] = ("mem", "imag", "refr")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"b_offset": (0.0, math.inf), "rho": DECAY}
    most: ClassVar[float] = 0.999  # of dt omega, where it is learned

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"BalancedResonateAndFire: dt={self.dt!r} must be a finite number > 0")
        check_range(self, "omega", self.omega, 0.0, 1.0 / self.dt)

    def prepare(self, engine: Engine, params: Params) -> Params:
        """The fields, and ``slow`` and ``fast``: what a step adds to the state is (slow - dt Q + i fast) times it."""
        prepared, xp = super().prepare(engine, params), engine.xp
        fast, offset = self.dt * prepared.omega, self.dt * prepared.b_offset
        if type(fast) is float:
            boundary = math.sqrt(max(0.0, 1.0 - fast * fast)) - 1.0
        else:
            fast = xp.clip(fast, 0.0, self.most if isinstance(self.omega, Learn) else 1.0)
            boundary = xp.sqrt(1.0 - fast * fast) - 1.0
        offset = offset if type(offset) is float else xp.clip(offset, 0.0, math.inf)
        return prepared.replace(slow=boundary - offset, fast=fast)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        u, v, refr = state.mem, state.imag, state.refr
        kept = 1.0 + params.slow - self.dt * refr
        mem = kept * u - params.fast * v + self.dt * x
        imag = params.fast * u + kept * v
        fired = self.fires(engine, params, mem - refr)
        return self.graded(params, fired), State(mem=mem, imag=imag, refr=params.rho * refr + fired)

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        """U[t] - theta - Q[t-1]."""
        before = float(states.refr[(place[0] - 1, *place[1:])]) if place[0] else 0.0
        return float(states.mem[place]) - value_at(fields.threshold, states.mem, place) - before

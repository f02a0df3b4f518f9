"""Diagonal state-space neurons: several damped oscillators per neuron, linear in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import first_weight, float64, full_weight, host, uniform_weight
from spikecore.api.core.initialisers import normals
from spikecore.api.core.layer import Init, Key, Params, Shape, State
from spikecore.api.core.sizes import at_least_one
from spikecore.api.core.words import Array
from spikecore.api.neurons.parallel import Parallel, rotating_recurrence, turned
from spikecore.arguments import Size


@dataclass(frozen=True)
class StateSpace(Parallel):
    """Diagonal state-space neuron (S4D) that fires: its membrane is read from linear oscillators of its own.

    Each neuron has its time step d and ``modes`` complex states z_n, with poles l_n = -exp(log_decay_n) + i
    frequency_n. Between steps the input is held::

        z_n[t] = exp(d l_n) z_n[t-1] + (exp(d l_n) - 1) / l_n I[t]
        U[t] = 2 Re(sum_n C_n z_n[t]) + D I[t]
        S[t] = gamma Theta(U[t] - theta),   or U[t] itself with ``spiking=False``

    Complex numbers are pairs of real ones: the states are ``real``, ``imag`` (batch, *neurons, modes), and ``mem`` (U).
    There is no reset, so all steps can be computed at once. Poles cannot leave the left half plane: training cannot
    make the neuron unstable.

    Args:
        modes: number of complex states per neuron, each with its conjugate, >= 1; default 8.
        dt_min, dt_max: range from which d is drawn, log-uniformly, one per neuron; defaults 0.001 and 0.1. Memories
            last about 2 / d steps at first.
        spiking: True, the default, gives spikes; False the membrane, for readouts and for layers with another
            activation.
        parallel: True, the default, computes all steps at once, in log2(steps) passes over all states; False step by
            step, in less memory.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Parameters: ``log_dt`` (*neurons, 1); ``log_decay``, ``frequency``, ``read_real``, ``read_imag``
    (*neurons, modes), the last two for C; ``skip`` (*neurons), for D. The first poles are -1/2 + i pi n (S4D-Lin); C
    and D are drawn from normal distributions, of the standard deviations sqrt(1/2) (per part) and 1.

    Raises:
        ValueError: ``modes`` is below 1, or not 0 < dt_min <= dt_max.

    Source: Gu, Gupta, Goel & Re, On the parameterization and initialization of diagonal state space models, NeurIPS
    2022; with spikes, Stan & Rhodes, Learning long sequences in spiking neural networks, Scientific Reports, 2024.
    """

    modes: Size = 8
    dt_min: float = 0.001
    dt_max: float = 0.1
    spiking: bool = True
    parallel: bool = True

    state: ClassVar[Tuple[str, ...]] = ("real", "imag", "mem")  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, modes=self.modes)
        if not 0.0 < self.dt_min <= self.dt_max < math.inf:
            raise ValueError(
                f"StateSpace: dt_min={self.dt_min!r} and dt_max={self.dt_max!r} must be 0 < dt_min <= dt_max"
            )

    def init(self, key: Key, shape: Shape) -> Init:
        initialised, each = super().init(key, shape), (*shape, self.modes)
        low, high = math.log(self.dt_min), math.log(self.dt_max)

        def normal(name: str, each: Shape, std: float) -> Any:
            return first_weight(key, each, lambda: std * normals(key.child(name), each))

        def frequencies() -> Any:
            return host().xp.broadcast_to(float64([math.pi * n for n in range(self.modes)]), each)

        weights = {
            "log_dt": uniform_weight(key, "log_dt", (*shape, 1), (high - low) / 2, (high + low) / 2),
            "log_decay": full_weight(key, each, math.log(0.5)),
            "frequency": first_weight(key, each, frequencies),
            "read_real": normal("read_real", each, math.sqrt(0.5)),
            "read_imag": normal("read_imag", each, math.sqrt(0.5)),
            "skip": normal("skip", shape, 1.0),
        }
        return initialised._replace(params=initialised.params.replace(**weights))

    def prepare(self, engine: Engine, params: Params) -> Params:
        """The fields; poles and input weights of the steps, as pairs; the readout."""
        xp = engine.xp
        dt, decay, frequency = xp.exp(params.log_dt), xp.exp(params.log_decay), params.frequency
        fall, angle = dt * decay, dt * frequency
        size, half = xp.exp(-fall), xp.sin(0.5 * angle)
        pole = size * xp.cos(angle), size * xp.sin(angle)
        # (pole - 1) / l is (pole - 1) conj(l) / |l|^2; the real part of pole - 1 without a difference of near numbers
        less = -(xp.tanh(0.5 * fall) * (size + 1.0) * xp.cos(angle) + 2.0 * half * half)
        drive = turned((less, pole[1]), (-decay, -frequency))
        scale = 1.0 / (decay * decay + frequency * frequency)
        return super().prepare(engine, params).replace(
            pole_real=pole[0], pole_imag=pole[1], drive_real=drive[0] * scale, drive_imag=drive[1] * scale,
            read_real=2.0 * params.read_real, read_imag=2.0 * params.read_imag, skip=params.skip,
        )  # fmt: skip

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        zero = engine.xp.zeros_like(engine.xp.expand_dims(x, axis=-1) * params.pole_real)
        return State(real=zero, imag=zero, mem=engine.xp.zeros_like(x))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        real, imag = turned((params.pole_real, params.pole_imag), (state.real, state.imag))
        driven = self._driven(engine, params, x)
        after = self._read(engine, params, real + driven[0], imag + driven[1], x)
        return self._output(engine, params, after.mem), after

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        pole, driven = (params.pole_real, params.pole_imag), self._driven(engine, params, inputs)
        real, imag = rotating_recurrence(engine, pole, driven, (state.real, state.imag))
        return self._read(engine, params, real, imag, inputs)

    def outputs(self, engine: Engine, params: Params, before: State, states: State) -> Any:
        return self._output(engine, params, states.mem)

    def _driven(self, engine: Engine, params: Params, x: Array) -> Tuple[Any, Any]:
        """The input's addition to the states."""
        x = engine.xp.expand_dims(x, axis=-1)
        return params.drive_real * x, params.drive_imag * x

    def _read(self, engine: Engine, params: Params, real: Any, imag: Any, x: Any) -> State:
        """The states with the membrane that is read from them."""
        read = engine.xp.sum(params.read_real * real - params.read_imag * imag, axis=-1)
        return State(real=real, imag=imag, mem=read + params.skip * x)

    def _output(self, engine: Engine, params: Params, mem: Any) -> Any:
        return self.graded(params, self.fires(engine, params, mem)) if self.spiking else mem

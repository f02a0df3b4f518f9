"""First-order membranes: Leaky, IF and the non-spiking LI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params, State
from spikecore.api.neurons.membrane import Membrane
from spikecore.api.neurons.parallel import Parallel, recurrence


@dataclass(frozen=True)
class Leaky(Parallel, Membrane):
    """First-order leaky integrate-and-fire neuron (snnTorch ``Leaky``).

    With delayed reset, the default, a spike lowers the membrane one step later::

        R[t] = Theta(U[t-1] - theta)                       not differentiated
        U[t] = beta U[t-1] + I[t] - R[t] theta             reset_mechanism "subtract"
        U[t] = beta (U[t-1] - R[t] theta) + I[t]           "subtract_decayed"
        U[t] = beta (1 - R[t]) U[t-1] + I[t]               "zero": the input is kept
        U[t] = beta U[t-1] + I[t]                          "none"
        S[t] = gamma Theta(U[t] - theta)

    With ``reset_delay=False`` the reset follows in the same step and is differentiated through the surrogate::

        V[t] = beta U[t-1] + I[t]
        H[t] = Theta(V[t] - theta),  S[t] = gamma H[t]
        U[t] = V[t] - H[t] theta     "subtract"            U[t] = V[t] - H[t] V[t]     "zero"

    Args:
        beta: membrane decay per step in [0, 1], default 0.9; learned values are clamped to this range. A number, an
            array that broadcasts to the neurons, ``sc.learn(...)`` or ``sc.learn_tau(...)``. threshold and
            graded_spikes_factor take the same, except ``learn_tau``.
        parallel: compute all steps at once; needs reset_mechanism "none"; default False.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Raises:
        ValueError: a constant beta is outside [0, 1], the reset mechanism is unknown, or ``parallel`` is used with a
            reset.

    Source: Eshraghian et al., Training spiking neural networks using lessons from deep learning, 2023.
    """

    beta: Param = 0.9

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    zero_keeps_input: ClassVar[bool] = True

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = params.beta * self.reset_before(params, state.mem, reset) + x
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:  # ``parallel``: all steps
        return State(mem=recurrence(engine, params.beta, inputs, state.mem))


@dataclass(frozen=True)
class IF(Membrane):
    """Integrate-and-fire neuron without leak: Leaky with beta = 1.

        U[t] = U[t-1] + I[t], then the reset of ``Membrane``; "zero" keeps the input;  U[0] = initial_mem

    Args:
        initial_mem: membrane potential before the first step; default 0. A number, an array that broadcasts to the
            neurons, or ``sc.learn(...)``. Half the threshold makes a spike count over T steps the nearest whole number
            to T I / threshold, not the next lower one (``spikecore.convert``).
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Source: the initial potential, Bu et al., Optimized potential initialization for low-latency spiking neural
    networks, AAAI 2022.
    """

    initial_mem: Param = 0.0

    zero_keeps_input: ClassVar[bool] = True

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return State(mem=engine.xp.zeros_like(x) + params.initial_mem)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = self.reset_before(params, state.mem, reset) + x
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)


@dataclass(frozen=True)
class LI(Parallel, Neuron):
    """Leaky integrator without spikes: a readout layer whose output is its membrane potential.

        U[t] = beta U[t-1] + I[t],  output U[t]

    Args:
        beta: membrane decay per step in [0, 1], as in ``Leaky``; default 0.9.
        parallel: compute all steps at once; default False.
        threshold, surrogate, graded_spikes_factor: without effect.
    """

    beta: Param = 0.9

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    spiking: ClassVar[bool] = False  # type: ignore[misc]  # not a field: equal for all instances

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        mem = params.beta * state.mem + x
        return mem, State(mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        return State(mem=recurrence(engine, params.beta, inputs, state.mem))

    def outputs(self, engine: Engine, params: Params, before: State, states: State) -> Any:
        """The outputs of all steps for ``parallel=True``: the membrane; others compare it with the threshold."""
        return states.mem

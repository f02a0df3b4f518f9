"""Integrate-and-fire neurons with a nonlinear leak: QIF, EIF and the adaptive AdEx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import float64
from spikecore.api.core.parameters import POSITIVE, Learn, values_of
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Param, Params, State
from spikecore.api.neurons.membrane import Membrane, Reset


@dataclass(frozen=True)
class _Nonlinear(Membrane):
    """A membrane whose "zero" is the potential ``v_reset``, from which it also starts."""

    reset_mechanism: Reset = "zero"
    reset_delay: bool = False
    beta: Param = 0.5
    v_rest: Param = 0.0
    v_reset: Param = -0.1

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    zero_keeps_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_mechanism != "zero" or isinstance(self.v_reset, Learn) or isinstance(self.threshold, Learn):
            return  # where training leads is not refused
        low, high = float64(values_of(self.v_reset)), float64(values_of(self.threshold))
        # arrays whose shapes do not fit each other do not fit the layer either, as ``init`` says
        if all(m == n or 1 in (m, n) for m, n in zip(low.shape[::-1], high.shape[::-1])) and (low >= high).any():
            raise ValueError(
                f"{type(self).__name__}: v_reset={self.v_reset!r} must be below threshold={self.threshold!r}, for a "
                "spike must end: lower v_reset, or take reset_mechanism='subtract'"
            )

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        """Every membrane at ``v_reset``, or at ``v_rest`` if no reset leads there; other states zero."""
        zeros = super().rest(engine, params, x)
        return zeros.replace(mem=zeros.mem + (params.v_reset if self.reset_mechanism == "zero" else params.v_rest))

    def reset_before(self, params: Params, before: Array, reset: Optional[Array]) -> Any:
        if reset is not None and self.reset_mechanism == "zero":
            return (1.0 - reset) * before + reset * params.v_reset
        return super().reset_before(params, before, reset)

    def reset_now(self, params: Params, mem: Array, fired: Array) -> Any:
        if self.reset_mechanism == "zero":
            return (1.0 - fired) * mem + fired * params.v_reset
        return super().reset_now(params, mem, fired)


@dataclass(frozen=True)
class QIF(_Nonlinear):
    """Quadratic integrate-and-fire neuron, integrated by forward Euler.

        H[t] = U[t-1] + (1 - beta) (a0 (U[t-1] - v_rest) (U[t-1] - v_c) + I[t])
        S[t] = gamma Theta(H[t] - theta),  then U[t] = v_reset after a spike, else H[t]

    Below v_c the membrane returns to v_rest; above, it runs away to the threshold. It starts at v_reset.

    Args:
        beta: 1 - dt/tau in [0, 1], tau the membrane's time constant; default 0.5: tau of 2 steps. A number, an array or
            learned, as in ``Leaky``.
        v_rest: resting potential; default 0.
        v_c: critical potential; default 0.8.
        a0: factor of the quadratic term; default 1.
        v_reset: potential after a spike, with ``reset_mechanism`` "zero"; below the threshold, default -0.1. All of
            these may be arrays or learned.
        reset_mechanism: "zero" (the default): to v_reset; others see ``Membrane``, then the membrane starts at v_rest.
        reset_delay: default False.
        threshold, surrogate, graded_spikes_factor, inhibition, state_quant: see ``Membrane``.

    Raises:
        ValueError: a constant beta is outside [0, 1], or a constant v_reset is not below the threshold.

    Source: Latham et al., Intrinsic dynamics in neuronal networks, Journal of Neurophysiology 2000; Gerstner et al.,
    Neuronal dynamics, 2014, section 5.3.
    """

    v_c: Param = 0.8
    a0: Param = 1.0

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        v = self.reset_before(params, state.mem, reset)
        mem = v + (1.0 - params.beta) * (params.a0 * (v - params.v_rest) * (v - params.v_c) + x)
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)


@dataclass(frozen=True)
class EIF(_Nonlinear):
    """Exponential integrate-and-fire neuron, integrated by forward Euler.

        H[t] = beta U[t-1] + (1 - beta) (v_rest + delta_T exp((min(U[t-1], theta) - theta_rh) / delta_T) + I[t])
        S[t] = gamma Theta(H[t] - theta),  then U[t] = v_reset after a spike, else H[t]

    The exponential is that of the leak of biological neurons near their threshold; for a small delta_T the neuron is
    leaky and fires at theta_rh. A reset to v_reset leaves no membrane above theta, so the minimum only bounds the
    exponential under other resets. The membrane starts at v_reset.

    Args:
        beta: 1 - dt/tau in [0, 1], tau the membrane's time constant; default 0.5: tau of 2 steps. A number, an array or
            learned, as in ``Leaky``.
        v_rest: resting potential; default 0.
        delta_T: width of the exponential, > 0, in the unit of the potential; default 1.
        theta_rh: rheobase threshold, from which the exponential drives the membrane; default 0.8.
        v_reset: potential after a spike, with ``reset_mechanism`` "zero"; below the threshold, default -0.1. All of
            these may be arrays or learned.
        threshold: potential above which a spike is emitted and the membrane reset; default 1.
        reset_mechanism: "zero" (the default): to v_reset; others see ``Membrane``, then the membrane starts at v_rest.
        reset_delay: default False.
        surrogate, graded_spikes_factor, inhibition, state_quant: see ``Membrane``.

    Raises:
        ValueError: a constant beta is outside [0, 1], delta_T is not positive, or a constant v_reset is
            not below the threshold.

    Source: Fourcaud-Trocmé et al., How spike generation mechanisms determine the neuronal response to fluctuating
    inputs, Journal of Neuroscience 2003.
    """

    delta_T: Param = 1.0
    theta_rh: Param = 0.8

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY, "delta_T": POSITIVE}

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = driven(engine, params, self.reset_before(params, state.mem, reset), x)
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)


def driven(engine: Engine, params: Params, v: Array, x: Array) -> Any:
    """The membrane after a step's leak, exponential drive and input."""
    bounded = engine.xp.minimum(v, params.threshold + engine.xp.zeros_like(v))
    drive = params.delta_T * engine.xp.exp((bounded - params.theta_rh) / params.delta_T)
    return params.beta * v + (1.0 - params.beta) * (params.v_rest + drive + x)


@dataclass(frozen=True)
class AdEx(_Nonlinear):
    """Adaptive exponential integrate-and-fire neuron, integrated by forward Euler.

        E[t] = delta_T exp((min(U[t-1], theta) - theta_rh) / delta_T)
        H[t] = beta U[t-1] + (1 - beta) (v_rest + E[t] - w[t-1] + I[t])
        w[t] = rho w[t-1] + (1 - rho) a (U[t-1] - v_rest) + b H'[t]
        H'[t] = Theta(H[t] - theta),  S[t] = gamma H'[t],  then U[t] = v_reset after a spike, else H[t]

    The adaptation w (state "adapt") follows the membrane and grows with each spike. Depending on a, b, rho and v_reset
    the neuron fires regularly, adapts, bursts or answers late. Currents and w are in the unit of the potential: divide
    those of the paper by its leak conductance g_L, so a is a/g_L and b is b/g_L there.

    Args:
        beta: 1 - dt/tau in [0, 1], tau the membrane's time constant; default 0.5: tau of 2 steps. A number, an array or
            learned, as in ``Leaky``.
        rho: 1 - dt/tau_w in [0, 1], tau_w the time constant of the adaptation; default 0.9, learned like beta.
        a: coupling of the adaptation to the membrane; default 0.1.
        b: a spike's addition to the adaptation; default 0.2.
        v_rest: resting potential; default 0.
        delta_T: width of the exponential, > 0, in the unit of the potential; default 0.5.
        theta_rh: rheobase threshold, from which the exponential drives the membrane; default 0.8.
        v_reset: potential after a spike, with ``reset_mechanism`` "zero"; below the threshold, default -0.1. All of
            these may be arrays or learned.
        threshold: potential above which a spike is emitted and the membrane reset; default 1.
        reset_mechanism: "zero" (the default): to v_reset; others see ``Membrane``, then the membrane starts at v_rest.
        reset_delay: default False.
        surrogate, graded_spikes_factor, inhibition, state_quant: see ``Membrane``.

    Raises:
        ValueError: a constant beta or rho is outside [0, 1], delta_T is not positive, or a constant v_reset is
            not below the threshold.

    Source: Brette & Gerstner, Adaptive exponential integrate-and-fire model as an effective description of neuronal
    activity, Journal of Neurophysiology 2005.
    """

    rho: Param = 0.9
    a: Param = 0.1
    b: Param = 0.2
    delta_T: Param = 0.5
    theta_rh: Param = 0.8

    state: ClassVar[Tuple[str, ...]] = ("mem", "adapt")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY, "rho": DECAY, "delta_T": POSITIVE}

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        v = self.reset_before(params, state.mem, reset)
        mem = driven(engine, params, v, x - state.adapt)
        mem, fired = self.spike_of(engine, params, self.reset_after(params, mem, reset))
        adapt = params.rho * state.adapt + (1.0 - params.rho) * params.a * (v - params.v_rest) + params.b * fired
        if not self.reset_delay:
            mem = self.reset_now(params, mem, fired)
        return self.graded(params, fired), State(mem=mem, adapt=self.quantised(engine, adapt))

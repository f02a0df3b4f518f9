"""Leaky neurons with one more thing to learn: PLIF its time constant, KLIF the slope of its membrane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.activation import relu
from spikecore.api.core.engine import Engine
from spikecore.api.core.parameters import POSITIVE, Learn, check_range, learn
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Param, Params, State
from spikecore.api.neurons.membrane import Membrane, Reset


def charged(params: Params, decay_input: bool, before: Array, x: Array) -> Any:
    """The membrane after a step's leak and input, before its spike."""
    return params.beta * before + ((1.0 - params.beta) * x if decay_input else x)


@dataclass(frozen=True)
class PLIF(Membrane):
    """Leaky integrate-and-fire neuron that learns its time constant tau through a sigmoid, beta = 1 - 1/tau.

        H[t] = beta U[t-1] + (1 - beta) I[t]               the input decays, too; else H[t] = beta U[t-1] + I[t]
        S[t] = gamma Theta(H[t] - theta),  then the reset of ``Membrane``: here to zero in the same step
        beta = 1 / (1 + exp(-p)),  p is learned

    The parameter "beta" is p = ln(tau - 1). The paper's is w = -p, 1/tau = sigmoid(w).

    Args:
        beta: membrane decay per step in [0, 1], 1 - 1/tau; default ``sc.learn(0.5)``, so that tau begins at 2 steps. A
            number or an array does not learn.
        decay_input: whether the input is multiplied by 1/tau; default True, as in the paper.
        reset_mechanism: default "zero". reset_delay: default False.
        threshold, surrogate, graded_spikes_factor, inhibition, state_quant: see ``Membrane``.

    Raises:
        ValueError: beta is outside [0, 1], or a learned one does not begin inside (0, 1).

    Source: Fang et al., Incorporating learnable membrane time constants to enhance learning of spiking neural networks,
    ICCV 2021.
    """

    reset_mechanism: Reset = "zero"
    reset_delay: bool = False
    beta: Param = learn(0.5)
    decay_input: bool = True

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    gates: ClassVar[Tuple[str, ...]] = ("beta",)
    zero_keeps_input: ClassVar[bool] = True

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = charged(params, self.decay_input, self.reset_before(params, state.mem, reset), x)
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)


@dataclass(frozen=True)
class KLIF(Membrane):
    """Leaky integrate-and-fire neuron with a learned slope k of a rectified membrane.

        H[t] = beta U[t-1] + (1 - beta) I[t]               the input decays, too; else H[t] = beta U[t-1] + I[t]
        F[t] = max(0, k H[t])
        S[t] = gamma Theta(F[t] - theta),  then the reset of ``Membrane``: here to zero in the same step

    k scales the membrane and with it the surrogate's slope.

    Args:
        beta: membrane decay per step in [0, 1], 1 - 1/tau; default 0.5. A number, an array or learned, as in ``Leaky``.
        k: slope; default ``sc.learn(1.0)``. A number or an array, > 0, or learned.
        decay_input: whether the input is multiplied by 1 - beta; default True, as in the paper.
        reset_mechanism: default "zero". reset_delay: default False.
        threshold, surrogate, graded_spikes_factor, inhibition, state_quant: see ``Membrane``.

    Raises:
        ValueError: a constant beta is outside [0, 1], or a constant k is not positive.

    Source: Jiang & Zhang, KLIF: An optimized spiking neuron unit for tuning surrogate gradient slope and membrane
    potential, 2023.
    """

    reset_mechanism: Reset = "zero"
    reset_delay: bool = False
    beta: Param = 0.5
    k: Param = learn(1.0)
    decay_input: bool = True

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}
    zero_keeps_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.k, Learn):  # where training leads is not refused
            check_range(self, "k", self.k, *POSITIVE)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        charge = charged(params, self.decay_input, self.reset_before(params, state.mem, reset), x)
        mem = relu(engine.xp, params.k * charge)
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)

"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.engine import unknown
from spikecore.api.neurons.base import Neuron, Param, Params, State, cast, clamp01

RESETS = ("subtract", "zero", "none")


@dataclass(frozen=True)
class Leaky(Neuron):
    """First-order leaky integrate-and-fire neuron (snnTorch ``Leaky``).

    With delayed reset, the default, a spike lowers the membrane one step later::

        R[t] = Theta(U[t-1] - theta)                       not differentiated
        U[t] = beta U[t-1] + I[t] - R[t] theta             reset_mechanism "subtract"
        U[t] = beta (1 - R[t]) U[t-1] + I[t]               "zero": the input survives
        U[t] = beta U[t-1] + I[t]                          "none"
        S[t] = gamma Theta(U[t] - theta)

    With ``reset_delay=False`` it does so at once, and the reset is differentiated through the surrogate::

        V[t] = beta U[t-1] + I[t]
        H[t] = Theta(V[t] - theta),  S[t] = gamma H[t]
        U[t] = V[t] - H[t] theta     "subtract"            U[t] = V[t] - H[t] V[t]     "zero"

    Args:
        beta: membrane decay per step in [0, 1]; learned values are clamped. A number, an array that broadcasts to the
            neurons, or ``sc.learn(...)``, as for the next two.
        threshold: theta; a spike is strictly U > theta.
        graded_spikes_factor: gamma, the size of a spike.
        reset_mechanism: "subtract", "zero" or "none".
        reset_delay: whether the reset acts one step after the spike.
        surrogate: derivative of the spike.

    Raises:
        ValueError: a constant beta outside [0, 1], an unknown reset mechanism.

    Source: Eshraghian et al., Training spiking neural networks using lessons from deep learning, 2023.
    """

    beta: Param = 0.9
    reset_mechanism: str = "subtract"
    reset_delay: bool = True

    state: ClassVar[Tuple[str, ...]] = ("mem",)  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": (0.0, 1.0)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_mechanism not in RESETS:
            raise ValueError(f"Leaky: {unknown('reset_mechanism', self.reset_mechanism, RESETS)}")

    def prepare(self, engine: Any, params: Params) -> Params:
        params = super().prepare(engine, params)
        return params.replace(beta=clamp01(engine, params.beta))

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        step = self._delayed if self.reset_delay else self._immediate
        return step(engine, params, state.mem, x)

    def _delayed(self, engine: Any, params: Params, before: Any, x: Any) -> Tuple[Any, State]:
        if self.reset_mechanism == "none":
            mem = params.beta * before + x
        else:
            reset = cast(engine, before > params.threshold)  # a comparison: no gradient
            if self.reset_mechanism == "subtract":
                mem = params.beta * before + x - reset * params.threshold
            else:
                mem = params.beta * ((1.0 - reset) * before) + x
        return self.graded(params, self.fires(engine, params, mem)), State(mem=mem)

    def _immediate(self, engine: Any, params: Params, before: Any, x: Any) -> Tuple[Any, State]:
        mem = params.beta * before + x
        fired = self.fires(engine, params, mem)
        if self.reset_mechanism == "subtract":
            mem = mem - fired * params.threshold
        elif self.reset_mechanism == "zero":
            mem = mem - fired * mem
        return self.graded(params, fired), State(mem=mem)

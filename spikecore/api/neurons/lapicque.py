"""Lapicque's neuron: an RC circuit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.parameters import POSITIVE
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Param, Params, State
from spikecore.api.neurons.membrane import Membrane
from spikecore.arguments import is_number


@dataclass(frozen=True)
class Lapicque(Membrane):
    """Leaky integrate-and-fire neuron as an RC circuit, integrated by forward Euler (snnTorch ``Lapicque``).

        F[t] = (1 - dt / (R C)) U[t-1] + (dt / C) I[t],  then the reset of ``Membrane``

    Give R and C, or ``beta`` with one of them, or ``beta`` alone (then R = 1). The others follow from R C = dt /
    ln(1 / beta). As in snnTorch, the membrane then decays by 1 + ln beta per step, the first-order approximation of
    beta, and not by beta itself.

    Args:
        beta: decay exp(-dt / (R C)) in (0, 1), a number that is not learned: learn R or C instead.
        R: membrane resistance, > 0; a number, an array or learned.
        C: membrane capacitance, > 0; a number, an array or learned.
        time_step: dt, > 0, in the unit of R C; default 1.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Raises:
        ValueError: too few or too many of beta, R and C are given, or one of them is out of range.

    Source: Lapicque, 1907; Brunel & van Rossum, Lapicque's 1907 paper: from frogs to integrate-and-fire, 2007.
    """

    beta: Optional[float] = None
    R: Param = None  # type: ignore[assignment]
    C: Param = None  # type: ignore[assignment]
    time_step: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.time_step, (int, float)) and self.time_step > 0):
            raise ValueError(f"Lapicque: time_step={self.time_step!r} must be > 0")
        given = tuple(name for name in ("beta", "R", "C") if getattr(self, name) is not None)
        if given not in (("beta",), ("beta", "R"), ("beta", "C"), ("R", "C")):
            raise ValueError(f"Lapicque: got {given or 'nothing'}; give R and C, or beta alone or with one of them")
        if self.beta is not None:
            self._fill()
        super().__post_init__()

    def _fill(self) -> None:
        """Compute R and C from beta and clear beta, so that a copy with the same fields is the same neuron."""
        if not isinstance(self.beta, (int, float)) or not 0.0 < self.beta < 1.0:
            raise ValueError(f"Lapicque: beta={self.beta!r} must be a number in (0, 1); learn R or C instead")
        product = self.time_step / math.log(1.0 / self.beta)
        for name, other in (("R", "C"), ("C", "R")):
            if getattr(self, name) is None:
                known = getattr(self, other)
                if known is not None and not is_number(known):
                    raise ValueError(f"Lapicque: with beta, {other}={known!r} must be a number; give R and C instead")
                object.__setattr__(self, name, 1.0 if known is None else product / known)
        object.__setattr__(self, "beta", None)

    bounds = {"R": POSITIVE, "C": POSITIVE}

    def prepare(self, engine: Engine, params: Params) -> Params:
        prepared = super().prepare(engine, params)
        gain = self.time_step / prepared.C
        return prepared.replace(gain=gain, decay=1.0 - gain / prepared.R)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        mem = params.gain * x + params.decay * self.reset_before(params, state.mem, reset)
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        return spikes, State(mem=mem)

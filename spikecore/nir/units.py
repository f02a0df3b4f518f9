"""Conversion between the time constants of NIR's differential equations and decays per step.

With a step of dt, tau dv/dt = (v_leak - v) + r I becomes v[t] = beta v[t-1] + (1 - beta) v_leak + gain I[t]::

    forward Euler     beta = 1 - dt / tau         gain = r dt / tau
    exponential       beta = exp(-dt / tau)       gain = r (1 - beta)

and dv/dt = r I becomes v[t] = v[t-1] + r dt I[t]. NIR defines neither dt nor the unit of time. ``WRITERS`` lists those
of each library.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Dict, Optional

import numpy as np

from spikecore.arguments import unknown
from spikecore.nir.notes import KEY, NirError

DT = 1e-4  # seconds: snnTorch's and SpikingJelly's
FAR = 1e4  # a time constant of this many steps is taken for an error of units
NEAR_ONE = 1e-6  # a gain this near to 1 is taken for 1, because libraries write float32


@dataclass(frozen=True)
class Units:
    """Units and conventions of the numbers in a graph.

    Args:
        dt: duration of a step, in the graph's unit of time, > 0.
        exponential: decays are exp(-dt / tau), instead of forward Euler's 1 - dt / tau.
        tau_factor: factor for the time constants of the file.
        jump: a spike raises the synaptic current by w_in, instead of by w_in dt / tau_syn.
        per_step: an integrator adds r I per step, instead of r dt I.
        near: a gain that differs from 1 by at most this is taken for 1.
        assumed: dt is a guess; numbers that make no sense with it are then refused.
    """

    dt: float = DT
    exponential: bool = False
    tau_factor: float = 1.0
    jump: bool = False
    per_step: bool = False
    near: float = NEAR_ONE
    assumed: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.dt, (int, float)) and np.isfinite(self.dt) and self.dt > 0):
            raise NirError(f"dt={self.dt!r} must be a finite number > 0, the duration of a step in the graph's unit")

    def decay(self, owner: str, name: str, tau: Any) -> Any:
        """The decay per step of a time constant.

        Raises:
            NirError: tau <= 0, or so short that the decay would be negative.
        """
        tau = np.asarray(tau, dtype=np.float64) * self.tau_factor
        if not bool((tau > 0).all()):
            raise NirError(f"{owner}: {name}={tau.min():g} must be > 0")
        if self.exponential:
            return np.exp(-self.dt / tau)
        if not bool((tau >= self.dt * (1 - NEAR_ONE)).all()):
            raise NirError(
                f"{owner}: {name}={tau.min():g} is shorter than a step, dt={self.dt:g}: the graph was written for "
                f"another dt or unit of time; pass dt=..., or writer=... (known: {', '.join(WRITERS)})"
            )
        if self.assumed and bool((tau >= FAR * self.dt).all()):
            raise NirError(
                f"{owner}: {name}={tau.min():g} would be {tau.min() / self.dt:g} steps of dt={self.dt:g}, which is "
                f"only assumed; pass the duration of a step as dt=..., or writer=... (known: {', '.join(WRITERS)})"
            )
        # 1 - dt / tau is exact to 16 decimals. Rounding to 15 decimals restores the decay from which tau was computed.
        return np.clip(np.round(1.0 - self.dt / tau, 15), 0.0, 1.0)

    def gain(self, r: Any, tau: Any) -> Any:
        """The factor of the input in a step of a leaky neuron's membrane."""
        tau = np.asarray(tau, dtype=np.float64) * self.tau_factor
        return self._snapped(r * (-np.expm1(-self.dt / tau) if self.exponential else self.dt / tau))

    def integrated(self, owner: str, r: Any) -> Any:
        """The factor of the input in a step of an integrator.

        Raises:
            NirError: r = 1, and it is not known whether that is per step or per unit of time.
        """
        r = np.asarray(r, dtype=np.float64)
        if self.assumed and not self.per_step and bool((r == 1.0).all()):
            raise NirError(
                f"{owner}: r=1 is one per unit of time by NIR's equation, and one per step in Norse and Sinabs; pass "
                f"dt=... (1 for one per step), or writer=... (known: {', '.join(WRITERS)})"
            )
        return self._snapped(r * (1.0 if self.per_step else self.dt))

    def received(self, w_in: Any, tau_syn: Any) -> Any:
        """The factor of the input in a step of a synaptic current."""
        return self._snapped(np.asarray(w_in, dtype=np.float64)) if self.jump else self.gain(w_in, tau_syn)

    def tau(self, decay: Any) -> Any:
        """The time constant of a decay below 1, by forward Euler."""
        return self.dt / (1.0 - decay)

    def _snapped(self, gain: Any) -> Any:
        gain = np.asarray(gain, dtype=np.float64)
        return np.where(np.abs(gain - 1.0) <= self.near, 1.0, gain)


WRITERS: Dict[str, Units] = {
    "spikecore": Units(),
    "snntorch": Units(),
    "spikingjelly": Units(),
    "norse": Units(dt=1e-3, jump=True, per_step=True),
    "norse-1.1": Units(dt=1e-3, tau_factor=1e3, jump=True, per_step=True),  # it writes dt tau in place of tau
    "sinabs": Units(dt=1.0, exponential=True, per_step=True),  # time in steps
}


def units_of(writer: Optional[str], dt: Optional[float], metadata: Any) -> Units:
    """The units of a graph.

    Args:
        writer: the library that wrote the graph; None if it is not known.
        dt: duration of a step; None takes the value in the graph, else the writer's.
        metadata: of the graph.

    Raises:
        NirError: the writer is unknown, or dt is not a finite number > 0.
    """
    if writer is not None and writer not in WRITERS:
        raise NirError(unknown("writer", writer, WRITERS))
    units = WRITERS["spikecore" if writer is None else writer]
    if KEY in metadata:
        units = replace(units, near=1e-12)
    given = dt if dt is not None else metadata.get("dt")
    if given is None:
        return replace(units, assumed=writer is None)
    if not isinstance(given, (int, float)):
        with suppress(TypeError, ValueError):  # Units raises the error about a wrong value
            given = float(given)
    units = replace(units, dt=given)
    return replace(units, tau_factor=1.0 / units.dt) if writer == "norse-1.1" else units

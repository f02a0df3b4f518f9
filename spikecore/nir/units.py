"""Between time constants of NIR's differential equations and decays per step.

With a step of dt, tau dv/dt = (v_leak - v) + r I becomes v[t] = beta v[t-1] + (1 - beta) v_leak + gain I[t]::

    forward Euler     beta = 1 - dt / tau         gain = r dt / tau
    exponential       beta = exp(-dt / tau)       gain = r (1 - beta)

and dv/dt = r I becomes v[t] = v[t-1] + r dt I[t]. NIR fixes neither dt nor the unit of time, and every library has its
own; ``WRITERS`` lists them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Dict, Optional

import numpy as np

from spikecore.api.core.messages import unknown
from spikecore.nir.notes import KEY, NirError

DT = 1e-4  # seconds: snnTorch's and SpikingJelly's
FAR = 1e4  # no time constant is this many steps long
NEAR_ONE = 1e-6  # a gain this near to 1 is 1: libraries write float32


@dataclass(frozen=True)
class Units:
    """How the numbers of a graph are meant.

    Args:
        dt: duration of a step, in the graph's unit of time.
        exponential: decays by exp(-dt / tau), else by forward Euler.
        tau_factor: what the file's time constants must be multiplied with.
        jump: a spike raises the synaptic current by w_in at once, instead of by w_in dt / tau_syn.
        per_step: an integrator adds r I per step, instead of r dt I.
        near: a gain this near to 1 is 1 but for rounding.
        assumed: nobody said what dt is; then numbers that make no sense with it are refused.
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
                f"only assumed; say how long a step is: dt=..., or writer=... (known: {', '.join(WRITERS)})"
            )
        # 1 - dt / tau is exact to 16 decimals; rounded to 15, the number comes back from which tau was made.
        return np.clip(np.round(1.0 - self.dt / tau, 15), 0.0, 1.0)

    def gain(self, r: Any, tau: Any) -> Any:
        """What the membrane of a leaky neuron takes of its input in a step."""
        tau = np.asarray(tau, dtype=np.float64) * self.tau_factor
        return self._snapped(r * (-np.expm1(-self.dt / tau) if self.exponential else self.dt / tau))

    def integrated(self, owner: str, r: Any) -> Any:
        """What an integrator takes of its input in a step.

        Raises:
            NirError: r = 1, and nobody said whether that is per step or per unit of time.
        """
        r = np.asarray(r, dtype=np.float64)
        if self.assumed and not self.per_step and bool((r == 1.0).all()):
            raise NirError(
                f"{owner}: r=1 is one per unit of time by NIR's equation, and one per step in Norse and Sinabs; say "
                f"which: dt=... (1 for a step), or writer=... (known: {', '.join(WRITERS)})"
            )
        return self._snapped(r * (1.0 if self.per_step else self.dt))

    def received(self, w_in: Any, tau_syn: Any) -> Any:
        """What a synaptic current takes of its input in a step."""
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
    """The units of a graph: those of the library that wrote it, with ``dt`` as given, else as stored in the graph.

    Raises:
        NirError: an unknown writer, a dt that is none.
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
        with suppress(TypeError, ValueError):  # Units says what is wrong with it
            given = float(given)
    made = replace(units, dt=given)
    return replace(made, tau_factor=1.0 / made.dt) if writer == "norse-1.1" else made

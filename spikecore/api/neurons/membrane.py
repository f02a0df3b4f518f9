"""Membranes: reset after a spike, lateral inhibition and state quantisation, shared by all neurons with a membrane.

A neuron's own ``step`` only says how its membrane is updated::

    reset = self.reset(engine, params, state.mem)                  # R[t], or None
    mem = params.beta * self.reset_before(params, state.mem, reset) + x
    return self.fire(engine, params, self.reset_after(params, mem, reset))

``before`` is the membrane potential before the step, U[t-1]. ``fire`` ends every step. Each of these calls the next::

    fire                     spikes of size gamma, and the membrane after an immediate reset
    spike_of                 quantises the membrane; with ``inhibition``, keeps only the winner's spike
    fires, in ``Neuron``     Theta(mem - threshold)
    spike, in ``Neuron``     Theta(u) with the surrogate: by ``Engine.spike``, or ``Surrogate.fire`` if there is noise
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Optional, Protocol, Tuple, get_args

from spikecore.api.core.engine import Array, Engine
from spikecore.api.core.messages import unknown
from spikecore.api.neurons.base import Neuron, Params, cast

Reset = Literal["subtract", "subtract_decayed", "zero", "none"]


class Quantiser(Protocol):
    """A quantiser, which brings states to allowed levels: ``functional.quant.state_quant`` or ``FixedPoint``."""

    def apply(self, engine: Engine, state: Array, /) -> Any: ...


@dataclass(frozen=True)
class Membrane(Neuron):
    """Base of the neurons that have a membrane ``mem`` which a spike resets.

    With ``reset_delay=True``, the default, the spike at t resets the membrane at t + 1, and the reset is not
    differentiated: R[t] = Theta(U[t-1] - theta). With F[t] the updated membrane before the reset::

        "subtract"           U[t] = F[t] - R[t] theta
        "subtract_decayed"   U[t] = F[t] computed from U[t-1] - R[t] theta, so that beta theta is subtracted
        "zero"               U[t] = (1 - R[t]) F[t]; in Leaky, IF and others F[t] from (1 - R[t]) U[t-1]: keeps input
        "none"               U[t] = F[t]

    With ``reset_delay=False`` the spike resets the membrane in the same step, and the reset is differentiated through
    the surrogate. With H[t] the unscaled spike, U[t] = F[t] - H[t] theta for "subtract" and "subtract_decayed", and
    U[t] = F[t] - H[t] F[t] for "zero".

    Args:
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.
        reset_mechanism: "subtract" (the default), "subtract_decayed", "zero" or "none".
        reset_delay: whether the reset acts one step after the spike; default True.
        inhibition: if True, only the feature (first axis after the batch) with the highest membrane may fire. A delayed
            reset also resets the other features whose membranes exceed the threshold, as in snnTorch.
        state_quant: a ``functional.quant.state_quant`` or ``compression.FixedPoint``, applied to every state at every
            step; None: full precision.

    Raises:
        ValueError: ``reset_mechanism`` is something else.
        TypeError: ``state_quant`` is something else.
    """

    reset_mechanism: Reset = "subtract"
    reset_delay: bool = True
    inhibition: bool = False
    state_quant: Optional[Quantiser] = None

    resets: ClassVar[Tuple[str, ...]] = get_args(Reset)
    zero_keeps_input: ClassVar[bool] = False  # whether "zero" acts on U[t-1] before the update, not on F[t]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_mechanism not in self.resets:
            raise ValueError(f"{type(self).__name__}: {unknown('reset_mechanism', self.reset_mechanism, self.resets)}")
        quant = self.state_quant
        if quant is not None and (isinstance(quant, type) or not hasattr(quant, "apply")):
            raise TypeError(
                f"{type(self).__name__}: state_quant={self.state_quant!r} is no functional.quant.state_quant and no "
                "sc.compression.FixedPoint"
            )

    # ---- the reset, before and after the update ----

    def reset(self, engine: Engine, params: Params, before: Array) -> Any:
        """R[t] of a delayed reset, without gradient; None if the reset is "none" or not delayed."""
        if self.reset_mechanism == "none" or not self.reset_delay:
            return None
        if "last_shift" in params:  # noise on the threshold: as ``spike`` computed it, so that they agree
            return cast(engine, before - params.threshold + params["last_shift"] > 0.0)
        return cast(engine, before > params.threshold)

    def reset_before(self, params: Params, before: Array, reset: Optional[Array]) -> Any:
        """The membrane after delayed resets before the update: "subtract_decayed", "zero" with ``zero_keeps_input``."""
        if reset is not None and self.reset_mechanism == "subtract_decayed":
            return before - reset * params.threshold
        if reset is not None and self.reset_mechanism == "zero" and self.zero_keeps_input:
            return (1.0 - reset) * before
        return before

    def reset_after(self, params: Params, mem: Array, reset: Optional[Array]) -> Any:
        """The membrane after delayed resets that act after the update: "subtract", and other neurons' "zero"."""
        if reset is not None and self.reset_mechanism == "subtract":
            return mem - reset * params.threshold
        if reset is not None and self.reset_mechanism == "zero" and not self.zero_keeps_input:
            return (1.0 - reset) * mem
        return mem

    # ---- the spike ----

    def fire(self, engine: Engine, params: Params, mem: Array) -> Tuple[Any, Any]:
        """Spikes, and the membrane after quantisation and an immediate reset."""
        mem, fired = self.spike_of(engine, params, mem)
        if not self.reset_delay:
            mem = self.reset_now(params, mem, fired)
        return self.graded(params, fired), mem

    def spike_of(self, engine: Engine, params: Params, mem: Array) -> Tuple[Any, Any]:
        """The quantised membrane, and the unscaled spikes of the neurons that inhibition lets fire."""
        mem = self.quantised(engine, mem)
        fired = self.fires(engine, params, mem)
        if self.inhibition:
            fired = fired * winner(engine, mem - params.threshold)
        return mem, fired

    def reset_now(self, params: Params, mem: Array, fired: Array) -> Any:
        """The membrane after an immediate reset, differentiated through the spike."""
        if self.reset_mechanism in ("subtract", "subtract_decayed"):
            return mem - fired * params.threshold
        return mem - fired * mem if self.reset_mechanism == "zero" else mem

    def quantised(self, engine: Engine, state: Array) -> Any:
        """A state on its allowed levels."""
        return state if self.state_quant is None else self.state_quant.apply(engine, state)


def winner(engine: Engine, potential: Any) -> Any:
    """One at the feature with the highest potential of each sample and position, else zero; a tie goes to the first."""
    xp = engine.xp
    best = xp.expand_dims(xp.argmax(potential, axis=1), axis=1)
    features = potential.shape[1]
    places = engine.asarray(list(range(features)), dtype="int64")  # the dtype of argmax
    return cast(engine, best == xp.reshape(places, (features,) + (1,) * (potential.ndim - 2)))

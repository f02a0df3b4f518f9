"""Neurons that a spike resets to a value rho, for NIR's neurons with v_reset other than v_leak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Tuple

from spikecore import Leaky, Synaptic
from spikecore.api.core.words import Array
from spikecore.base import Membrane, Param, Params


@dataclass(frozen=True)
class _Offset(Membrane):
    """A mixin that replaces a neuron's reset by U[t] = V[t] - H[t] (V[t] - rho), without delay and with a gradient."""

    rho: Param = 0.0
    reset_mechanism: Literal["zero"] = "zero"
    reset_delay: bool = False

    resets: ClassVar[Tuple[str, ...]] = ("zero",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_delay:
            raise ValueError(
                f"{type(self).__name__}: reset_delay=True is not defined; use False: the reset is immediate"
            )

    def reset_now(self, params: Params, mem: Array, fired: Array) -> Any:
        return mem - fired * (mem - params.rho)


@dataclass(frozen=True)
class OffsetLeaky(_Offset, Leaky):
    """``Leaky`` whose membrane is set to ``rho`` by a spike, within the same step.

    Args:
        rho: the membrane after a spike, relative to the potential to which it decays. Default 0.
        beta, threshold, surrogate, graded_spikes_factor, inhibition, state_quant: as in ``Leaky``.
    """


@dataclass(frozen=True)
class OffsetSynaptic(_Offset, Synaptic):
    """``Synaptic`` whose membrane is set to ``rho`` by a spike, within the same step.

    Args:
        rho: the membrane after a spike, relative to the potential to which it decays. Default 0.
        alpha, beta, threshold, surrogate, graded_spikes_factor, inhibition, state_quant: as in ``Synaptic``.
    """

"""Neurons whose membrane a spike puts to a value of its own, where NIR's v_reset and v_leak differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Tuple

from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Param, Params
from spikecore.api.neurons.leaky import Leaky
from spikecore.api.neurons.membrane import Membrane
from spikecore.api.neurons.synaptic import Synaptic


@dataclass(frozen=True)
class _Offset(Membrane):
    """Mixed into a neuron: U[t] = V[t] - H[t] (V[t] - rho), at once and differentiated, in place of its reset."""

    rho: Param = 0.0
    reset_mechanism: Literal["zero"] = "zero"
    reset_delay: bool = False

    resets: ClassVar[Tuple[str, ...]] = ("zero",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_delay:
            raise ValueError(f"{type(self).__name__}: reset_delay=True is not defined for it; the reset is immediate")

    def reset_now(self, params: Params, mem: Array, fired: Array) -> Any:
        return mem - fired * (mem - params.rho)


@dataclass(frozen=True)
class OffsetLeaky(_Offset, Leaky):
    """``Leaky`` whose spike puts the membrane to ``rho``, at once.

    Args:
        rho: the membrane after a spike, relative to the potential it decays to.
        beta, threshold, surrogate, graded_spikes_factor, inhibition, state_quant: as in ``Leaky``.
    """


@dataclass(frozen=True)
class OffsetSynaptic(_Offset, Synaptic):
    """``Synaptic`` whose spike puts the membrane to ``rho``, at once.

    Args:
        rho: the membrane after a spike, relative to the potential it decays to.
        alpha, beta, threshold, surrogate, graded_spikes_factor, inhibition, state_quant: as in ``Synaptic``.
    """

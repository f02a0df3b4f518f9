"""Neurons whose step needs their input and their state only: Leaky, Synaptic, Alpha, DeltaLeaky."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, FrozenSet, Tuple

import torch

from spikecore.api import neurons
from spikecore.api.core.layer import Params, State
from spikecore.api.core.parameters import learn
from spikecore.arguments import Numbers, checked
from spikecore.engines.torch.nn.face import FIRING, GRADED, LEAKING, RESETTING, Face
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.parts import CurrentSpared

CURRENTS = f"{FIRING} init_hidden inhibition learn_alpha learn_beta learn_threshold {RESETTING}"


class Leaky(LIF):
    """First-order leaky integrate-and-fire neuron; equations: ``spikecore.Leaky``.

        spk, mem = lif(x, mem)

    Args:
        beta: membrane decay per step in [0, 1], clamped where learned.
        reset_delay: the reset acts one step after the spike, without gradient; False: at once, with gradient.
        Others: see ``SpikingNeuron`` and ``LIF``.
    """

    face = Face(neurons.Leaky, f"beta {LEAKING} {GRADED} reset_delay", states="mem")

    def _base_zero(self, input_: Any) -> Any:
        self.mem = (1 - self.reset) * self.mem  # the input survives
        return self._base_state_function(input_)


class Synaptic(CurrentSpared, LIF):
    """Leaky neuron with a synaptic current; equations: ``spikecore.Synaptic``.

        spk, syn, mem = lif(x, syn, mem)

    Args:
        alpha: synaptic decay per step in [0, 1], clamped where learned.
        beta: membrane decay per step, likewise.
        learn_alpha: alpha as a Parameter, else a buffer.
        Others: see ``Leaky``.
    """

    face = Face(neurons.Synaptic, f"alpha beta {CURRENTS} reset_delay", states="syn mem")


class Alpha(LIF):
    """Neuron with an alpha-shaped membrane response; equations: ``spikecore.Alpha``. The reset is "zero" by default.

        spk, syn_exc, syn_inh, mem = lif(x, syn_exc, syn_inh, mem)

    Args:
        alpha: decay of the excitatory current; must exceed beta.
        beta: decay of the inhibitory current, below 1.
        learn_alpha: alpha as a Parameter, else a buffer.
        Others: see ``Leaky``.

    Raises:
        ValueError: alpha does not exceed beta everywhere.
    """

    face = Face(neurons.Alpha, f"alpha beta {CURRENTS}", states="syn_exc syn_inh mem", reset_mechanism="zero")
    syn_inh: Any

    def _base_state_reset_sub_function(self, input_: Any) -> Any:
        return self.threshold, self._moved(input_)[1], -self.syn_inh

    def _base_sub(self, input_: Any) -> Any:
        return self._without(self._base_state_function(input_), self._base_state_reset_sub_function(input_))


class DeltaLeaky(Leaky):
    """Fires where the membrane changes by more than a threshold; equations: ``spikecore.DeltaLeaky``.

        spk, (mem, mem_prev) = lif(x, (mem, mem_prev))

    Args:
        delta_threshold: smallest change of the membrane, exceeded strictly; can be set at any time.
        *args, **kwargs: those of ``Leaky``, of which ``threshold``, the reset, inhibition and quantisation are unused.

    With ``init_hidden=False`` the states must be passed, as a pair; None in it is at rest. They are returned in every
    mode, and ``reset_mem`` sets both to None.

    Raises:
        TypeError: the states are missing with ``init_hidden=False``, or passed with ``init_hidden=True``.
    """

    kind: ClassVar[Any] = neurons.DeltaLeaky
    states: ClassVar[Tuple[str, ...]] = ("mem", "mem_prev")
    tensors: ClassVar[Tuple[str, ...]] = ("beta", "graded_spikes_factor")
    mem: Any
    mem_prev: Any
    scans: ClassVar[bool] = False  # it returns the membrane of the step before as well
    honours: ClassVar[FrozenSet[str]] = frozenset()

    @checked
    def __init__(self, delta_threshold: Numbers = 1.0, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delta_threshold = delta_threshold
        self.reset_mem()

    def _fields(self) -> Dict[str, Any]:
        return {**super()._fields(), "delta_threshold": learn(1.0)}

    def _values(self) -> Dict[str, Any]:
        delta = self.__dict__.get("delta_threshold", 1.0)  # while the constructor runs there is none
        return {**super()._values(), "delta_threshold": torch.as_tensor(delta)}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        return super()._tensors(engine, host).replace(delta_threshold=self.delta_threshold)

    def reset_mem(self) -> Any:
        self.mem = self.mem_prev = None
        return self.mem, self.mem_prev

    def at_rest(self) -> Dict[str, Any]:
        return {"mem": None, "mem_prev": None}

    def forward(self, input_: Any, mem: Any = None) -> Any:
        if self.init_hidden != (mem is None):
            raise TypeError(
                f"DeltaLeaky: init_hidden={self.init_hidden} and mem={'None' if mem is None else 'a state'}: with "
                "init_hidden=False pass the pair (mem, mem_prev), None in it for at rest; with True pass no state"
            )
        return self._advance(input_, *(() if mem is None else (mem[0], mem[0])))  # a step does not read mem_prev

    def _before(self, given: Tuple[Any, ...]) -> Dict[str, Any]:
        before = given[0] if given else self.mem
        return {"mem": torch.zeros(0) if before is None else before}

    _by_parts = LIF._by_neuron  # it has none of snnTorch's parts

    def _noted(self, start: State) -> Tuple[Tuple[str, Any], ...]:
        return (("mem_prev", start.mem),)

    def _returned(self, spk: Any, states: Any, before: Any = None) -> Any:
        if before is not None and self.mem.requires_grad:
            self._follow(spk, states, before)
        return spk, (self.mem, self.mem_prev)

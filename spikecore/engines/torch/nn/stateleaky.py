"""Neurons without reset that take a whole sequence (time, batch, channels): StateLeaky, LinearLeaky."""

from __future__ import annotations

from typing import Any, ClassVar, FrozenSet, Optional, Tuple
from warnings import warn

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import State
from spikecore.api.core.parameters import learn
from spikecore.arguments import Size, checked
from spikecore.engines.torch.nn.engine import engine_for, working
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.options import OWN_TENSORS


class StateLeaky(LIF):
    """Leaky neuron without reset, all steps at once; equations: ``spikecore.StateLeaky``.

        spk, mem = lif(x)                x (time, batch, channels);  mem alone with output=False

    Args:
        beta: one number or one per channel, in [0, 1]; the decay per step is exp(-(1 - beta)), as in snnTorch.
        channels: number of neurons.
        learn_beta: ``tau`` = 1 / (1 - beta) as a Parameter, else a buffer; ``beta`` follows it.
        output: whether to return spikes.
        kernel_truncation_steps: how many steps of the past count; None for all.
        Others: see ``SpikingNeuron``.

    Raises:
        ValueError: a beta of another shape.
        NotImplementedError: ``mem_reset`` and ``fire_inhibition``, which it does not have.
    """

    kind: ClassVar[Any] = neurons.StateLeaky
    tensors: ClassVar[Tuple[str, ...]] = ("tau", *OWN_TENSORS)
    honours: ClassVar[FrozenSet[str]] = frozenset({"fire", "_base_state_function"})
    tau: Any

    @checked
    def __init__(
        self,
        beta: Any,
        channels: Size,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        state_quant: Any = False,
        output: bool = True,
        graded_spikes_factor: Any = 1.0,
        learn_graded_spikes_factor: bool = False,
        kernel_truncation_steps: Optional[Size] = None,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, learn_threshold=learn_threshold, state_quant=state_quant,
            output=output, graded_spikes_factor=graded_spikes_factor,
            learn_graded_spikes_factor=learn_graded_spikes_factor,
        )  # fmt: skip
        first: Any = self._buffers["beta"]
        if tuple(first.shape) not in ((), (1,), (channels,)):
            raise ValueError(
                f"{type(self).__name__}: beta of shape {tuple(first.shape)} must be one number or ({channels},)"
            )
        graded = learn_graded_spikes_factor or bool((torch.as_tensor(graded_spikes_factor) != 1.0).any())
        if not output and (spike_grad is not None or surrogate_disable or learn_threshold or graded):
            warn(f"{type(self).__name__}: output=False emits no spikes; what concerns spikes is unused", stacklevel=2)
        self.channels, self.kernel_truncation_steps = channels, kernel_truncation_steps
        self._register("tau", 1.0 / (1.0 - first + 1e-12), learn_beta)

    @property
    def beta(self) -> Any:
        """The value that belongs to ``tau``."""
        if "tau" not in self._parameters and "tau" not in self._buffers:
            raise AttributeError("beta")  # so that the constructor can register it
        return (self.tau - 1) / self.tau

    def _describe(self) -> Any:
        return self.kind(**{name: learn(0.9) for name in ("beta", *OWN_TENSORS)}, surrogate=self._surrogate)

    def forward(self, input_: Any) -> Any:
        mem = self._base_state_function(working(input_))
        if self._quantiser is not None:
            mem = self._quantiser.apply(engine_for(mem.device, mem.dtype), mem)
        if not self.output:
            return mem
        spk = self.fire(mem)
        return (spk.to(input_.dtype) if input_.is_floating_point() else spk), mem

    def _base_state_function(self, x: Any) -> Any:
        engine, params = self._ready(x)
        mem = self._neuron.unrolled(engine, params, State(mem=torch.zeros_like(x[0])), x).mem
        reach = self.kernel_truncation_steps
        if reach is None or reach >= x.shape[0]:
            return mem
        forgotten = params.decay**reach * mem[:-reach]  # the linear recurrence minus what is older than the kernel
        return torch.cat([mem[:reach], mem[reach:] - forgotten])

    def fire_inhibition(self, batch_size: int, mem: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no inhibition; use Leaky")

    def mem_reset(self, mem: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no reset; use Leaky")


class LinearLeaky(StateLeaky):
    """An ``nn.Linear`` and ``StateLeaky`` in one.

        spk, mem = lif(x)                x (time, batch, in_features)

    Args:
        beta: as in ``StateLeaky``.
        in_features, out_features, bias, device, dtype: those of the ``nn.Linear``, held as ``linear``.
        Others: see ``StateLeaky``.
    """

    @checked
    def __init__(
        self,
        beta: Any,
        in_features: Size,
        out_features: Size,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        state_quant: Any = False,
        output: bool = True,
        graded_spikes_factor: Any = 1.0,
        learn_graded_spikes_factor: bool = False,
        kernel_truncation_steps: Optional[Size] = None,
    ) -> None:
        super().__init__(
            beta, out_features, threshold, spike_grad, surrogate_disable, learn_beta, learn_threshold, state_quant,
            output, graded_spikes_factor, learn_graded_spikes_factor, kernel_truncation_steps,
        )  # fmt: skip
        self.linear = nn.Linear(in_features, out_features, bias=bias, device=device, dtype=dtype)

    def forward(self, input_: Any) -> Any:
        return super().forward(self.linear(input_))

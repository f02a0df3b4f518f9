"""Neurons without reset that take a whole sequence (time, batch, channels): StateLeaky, LinearLeaky."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Dict, FrozenSet
from warnings import warn

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params, State
from spikecore.engines.torch.nn.engine import in_dtype_of, working
from spikecore.engines.torch.nn.face import FIRING, GRADED, Face
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.options import field_of
from spikecore.engines.torch.nn.parts import with_weights

SPIKING = f"{FIRING} learn_beta learn_threshold state_quant output {GRADED} kernel_truncation_steps"


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

    face = Face(neurons.StateLeaky, f"beta channels {SPIKING}", output=True)
    honours: ClassVar[FrozenSet[str]] = frozenset({"fire", "_base_state_function"})
    channels: int
    tau: Any

    def _register_values(self, given: Dict[str, Any]) -> None:
        self._beta_buffer(given["beta"], False)
        first: Any = self._buffers["beta"]
        if tuple(first.shape) not in ((), (1,), (self.channels,)):
            raise ValueError(
                f"{type(self).__name__}: beta of shape {tuple(first.shape)} must be one number or ({self.channels},)"
            )
        graded = given["learn_graded_spikes_factor"] or bool((self.graded_spikes_factor != 1.0).any())
        spikes = given["spike_grad"] is not None or given["surrogate_disable"] or given["learn_threshold"] or graded
        if not given["output"] and spikes:
            warn(f"{type(self).__name__}: output=False emits no spikes; what concerns spikes is unused", stacklevel=4)
        self.kernel_truncation_steps = given["kernel_truncation_steps"]
        self._register("tau", 1.0 / (1.0 - first + 1e-12), given["learn_beta"])

    @property
    def beta(self) -> Any:
        """The value that belongs to ``tau``."""
        if "tau" not in self._parameters and "tau" not in self._buffers:
            raise AttributeError("beta")  # so that the constructor can register it
        return (self.tau - 1) / self.tau

    def _values(self) -> Dict[str, Any]:
        return {**super()._values(), "beta": self._buffers["beta"]}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        return with_weights(super()._tensors(engine, host), {"tau": self.tau}, engine)

    def _weights(self) -> Dict[str, torch.Tensor]:
        return {"tau": self.tau} if isinstance(self.tau, nn.Parameter) else {}

    def described(self) -> Any:
        if self.kernel_truncation_steps is not None or not self.output or self._quantiser is not None:
            raise ValueError("kernel_truncation_steps, output=False and state_quant have no counterpart")
        learned = isinstance(self.tau, nn.Parameter)
        return replace(super().described(), beta=field_of(nn.Parameter(self.beta) if learned else self.beta))

    def forward(self, input_: Any) -> Any:
        mem = self._quantised(self._base_state_function(working(input_)))
        if not self.output:
            return mem
        spk = self.fire(mem)
        return in_dtype_of(input_, spk), mem

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

    face = Face(neurons.LinearLeaky, f"beta in_features out_features bias device dtype {SPIKING}", output=True)

    def _register_values(self, given: Dict[str, Any]) -> None:
        self.channels = given["out_features"]
        super()._register_values(given)
        options = {name: given[name] for name in ("bias", "device", "dtype")}
        self.linear = nn.Linear(given["in_features"], self.channels, **options)

    def _weights(self) -> Dict[str, torch.Tensor]:
        linear = self.linear.named_parameters()
        return {**super()._weights(), **{f"linear_{name}": value for name, value in linear}}

    def described(self) -> Any:
        return replace(super().described(), channels=None)

    def forward(self, input_: Any) -> Any:
        return super().forward(self.linear(input_))

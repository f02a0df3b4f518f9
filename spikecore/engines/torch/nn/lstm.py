"""Spiking LSTMs."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.layer import Params
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.options import OWN_TENSORS


class _Gated(SpikingNeuron):
    """What both LSTMs share: states ``syn`` (the cell) and ``mem`` (the output), weights in a module of torch."""

    states: ClassVar[Tuple[str, ...]] = ("syn", "mem")
    weights: ClassVar[str]  # name of the module that holds the weights
    sample_axes: ClassVar[int]  # axes of one sample; an input without batch axis is a batch of one

    def _defaults(self) -> Dict[str, float]:
        return {name: 1.0 for name in OWN_TENSORS}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        held, wanted = dict(getattr(self, self.weights).named_parameters()), getattr(torch, engine.dtype)
        return super()._tensors(engine, host).replace(**{name: value.to(wanted) for name, value in held.items()})

    def _projected(self, engine: Any, params: Params, x: Any) -> Any:
        return self._neuron.project(engine, params, x.unsqueeze(0)).squeeze(0)

    def forward(self, input_: Any, syn: Any = None, mem: Any = None) -> Any:
        if input_.dim() != self.sample_axes:
            return self._advance(input_, syn, mem)
        given = (s if s is None or s.dim() != self.sample_axes else s.unsqueeze(0) for s in (syn, mem))
        returned = self._advance(input_.unsqueeze(0), *given)
        for name in self.states:
            setattr(self, name, getattr(self, name).squeeze(0))
        return tuple(r.squeeze(0) for r in returned) if isinstance(returned, tuple) else returned.squeeze(0)


class SLSTM(_Gated):
    """Spiking LSTM; equations: ``spikecore.SLSTM``. There is no reset by default.

        spk, syn, mem = lstm(x, syn, mem)

    Args:
        input_size, hidden_size, bias: as in ``torch.nn.LSTMCell``, which holds the weights as ``lstm_cell``.
        Others: see ``SpikingNeuron``.
    """

    kind: ClassVar[Any] = neurons.SLSTM
    weights: ClassVar[str] = "lstm_cell"
    sample_axes: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "none",
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        super().__init__(
            threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_threshold, reset_mechanism,
            state_quant, output,
        )  # fmt: skip
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.lstm_cell = nn.LSTMCell(input_size, hidden_size, bias=bias)
        self._rebuild()

    def _described_options(self) -> Dict[str, Any]:
        sizes = {"input_size": self.input_size, "hidden_size": self.hidden_size, "bias": self.bias}
        return {**super()._described_options(), **sizes}

    def _shape(self, current: Any) -> Tuple[int, ...]:
        return (*current.shape[:-1], self.hidden_size)

    init_slstm = SpikingNeuron.reset_mem


class SConv2dLSTM(_Gated):
    """Spiking convolutional LSTM; equations: ``spikecore.SConv2dLSTM``. There is no reset by default.

        spk, syn, mem = lstm(x, syn, mem)

    Args:
        in_channels, out_channels: channels of the input and of states and spikes.
        kernel_size: an odd int or two; ``conv`` holds the weights.
        bias: whether the gates have biases.
        max_pool, avg_pool: pooling of the membrane before the threshold; 0 for none, not both. States keep their size.
        Others: see ``SpikingNeuron``.

    Raises:
        ValueError: an even kernel, or both poolings.
    """

    kind: ClassVar[Any] = neurons.SConv2dLSTM
    weights: ClassVar[str] = "conv"
    sample_axes: ClassVar[int] = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        bias: bool = True,
        max_pool: int = 0,
        avg_pool: int = 0,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "none",
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        super().__init__(
            threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_threshold, reset_mechanism,
            state_quant, output,
        )  # fmt: skip
        self.in_channels, self.out_channels, self.kernel_size, self.bias = in_channels, out_channels, kernel_size, bias
        self.max_pool, self.avg_pool = max_pool, avg_pool
        self._rebuild()
        sizes = self._neuron.kernel_size
        self.padding = self._neuron.padding
        self.conv = nn.Conv2d(in_channels + out_channels, 4 * out_channels, sizes, padding=self.padding, bias=bias)

    def _described_options(self) -> Dict[str, Any]:
        names = ("in_channels", "out_channels", "kernel_size", "bias", "max_pool", "avg_pool")
        return {**super()._described_options(), **{name: getattr(self, name) for name in names}}

    def _shape(self, current: Any) -> Tuple[int, ...]:
        return (current.shape[0], self.out_channels, *current.shape[2:])

    init_sconv2dlstm = SpikingNeuron.reset_mem

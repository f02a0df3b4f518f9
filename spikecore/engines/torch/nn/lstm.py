"""Spiking LSTMs."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params, State
from spikecore.engines.torch.nn.engine import engine_for
from spikecore.engines.torch.nn.face import FIRING, RESETTING, Face
from spikecore.engines.torch.nn.inner import Inner
from spikecore.engines.torch.nn.parts import CurrentSpared

HIDDEN = f"{FIRING} init_hidden inhibition learn_threshold {RESETTING}"


class _GatedModule(CurrentSpared, Inner):
    """Shared parts of both LSTMs: states ``syn`` (the cell) and ``mem`` (the output), weights in a module of torch."""

    words: ClassVar[str] = "a cell"
    bias: bool
    syn: Any

    def _projected(self, engine: Any, params: Params, x: Any) -> Any:
        return self._neuron.project(engine, params, x.unsqueeze(0)).squeeze(0)


class SLSTM(_GatedModule):
    """Spiking LSTM; equations: ``spikecore.SLSTM``. There is no reset by default.

        spk, syn, mem = lstm(x, syn, mem)

    Args:
        input_size, hidden_size, bias: as in ``torch.nn.LSTMCell``, which holds the weights as ``lstm_cell``.
        Others: see ``SpikingNeuron``.
    """

    face = Face(neurons.SLSTM, f"input_size hidden_size bias {HIDDEN}", states="syn mem", reset_mechanism="none")
    inner: ClassVar[str] = "lstm_cell"
    sample_axes = 1
    input_size: int
    hidden_size: int

    def _register_values(self, given: Dict[str, Any]) -> None:
        self.lstm_cell = nn.LSTMCell(self.input_size, self.hidden_size, bias=self.bias)

    def _described_inner(self) -> Tuple[Any, Dict[str, Any], Tuple[str, ...]]:
        sizes = {"input_size": self._neuron.input_size, "hidden_size": self._neuron.hidden_size}
        return nn.LSTMCell, sizes, ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ()))

    def _shape(self, current: Any) -> Tuple[int, ...]:
        return (*current.shape[:-1], self.hidden_size)

    def _moved(self, input_: Any) -> Tuple[Any, ...]:
        mem, syn = self.lstm_cell(input_, (self.mem, self.syn))
        return syn, mem


class SConv2dLSTM(_GatedModule):
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

    face = Face(
        neurons.SConv2dLSTM, f"in_channels out_channels kernel_size bias max_pool avg_pool {HIDDEN}",
        states="syn mem", reset_mechanism="none",
    )  # fmt: skip
    inner: ClassVar[str] = "conv"
    sample_axes = 3
    in_channels: int
    out_channels: int
    max_pool: int
    avg_pool: int

    def _register_values(self, given: Dict[str, Any]) -> None:
        sizes, self.padding = self._neuron.kernel_size, self._neuron.padding
        channels = self.in_channels + self.out_channels, 4 * self.out_channels
        self.conv = nn.Conv2d(*channels, sizes, padding=self.padding, bias=self.bias)

    def _described_inner(self) -> Tuple[Any, Dict[str, Any], Tuple[str, ...]]:
        sizes = {"kernel_size": self._neuron.kernel_size, "padding": self._neuron.padding, "padding_mode": "zeros"}
        plain = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, **sizes}
        return nn.Conv2d, plain, ("weight", "bias") if self.bias else ("weight",)

    def _shape(self, current: Any) -> Tuple[int, ...]:
        return (current.shape[0], self.out_channels, *current.shape[2:])

    def _moved(self, input_: Any) -> Tuple[Any, ...]:
        engine = engine_for(input_.device, input_.dtype)
        enter, forget, leave, content = self.conv(torch.cat([input_, self.mem], 1)).split(self.out_channels, 1)
        before = State(syn=self.syn, mem=self.mem)
        moved: Tuple[Any, ...] = self._unreset.gated(engine, Params(), before, (enter, forget, content, leave), None)
        return moved

    def _seen(self, mem: Any) -> Any:
        pooled = self.max_pool or self.avg_pool
        return self._neuron._pooled(engine_for(mem.device, mem.dtype), mem) if pooled else mem

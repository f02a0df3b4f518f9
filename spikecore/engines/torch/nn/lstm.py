"""Spiking LSTMs."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params, State
from spikecore.arguments import Count, Size, checked
from spikecore.engines.torch.nn.engine import engine_for
from spikecore.engines.torch.nn.hooks import heard
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.options import OWN_TENSORS
from spikecore.engines.torch.nn.parts import CurrentSpared


class _Gated(CurrentSpared, SpikingNeuron):
    """What both LSTMs share: states ``syn`` (the cell) and ``mem`` (the output), weights in a module of torch."""

    states: ClassVar[Tuple[str, ...]] = ("syn", "mem")
    weights: ClassVar[str]  # name of the module that holds the weights
    cell: ClassVar[Any]  # its class
    _looked_at: Any = (None, False)  # a cell, and whether it has the sizes that the options say
    syn: Any

    def _defaults(self) -> Dict[str, float]:
        return {name: 1.0 for name in OWN_TENSORS}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        held, wanted = dict(getattr(self, self.weights).named_parameters()), getattr(torch, engine.dtype)
        return super()._tensors(engine, host).replace(**{name: value.to(wanted) for name, value in held.items()})

    def _projected(self, engine: Any, params: Params, x: Any) -> Any:
        return self._neuron.project(engine, params, x.unsqueeze(0)).squeeze(0)

    def overridden(self) -> str:
        return super().overridden() or ("" if self._known_cell() else f"a cell of its own as {self.weights}")

    def by_protocol(self) -> str:
        return super().by_protocol() or (f"hooks on {self.weights}" if heard(getattr(self, self.weights)) else "")

    def _known_cell(self) -> bool:
        """Whether the module that holds the weights does what the options say."""
        made: Any = self._modules[self.weights]
        seen, known = self._looked_at
        if made is not seen:
            known = all(getattr(made, name, None) == size for name, size in self._cell_options(self._neuron).items())
            self.__dict__["_looked_at"] = made, known
        if not known or type(made) is not self.cell or "forward" in made.__dict__:
            return False
        names = self._weight_names()
        return all(made._parameters.get(name) is not None for name in names) and len(names) == sum(
            value is not None for value in made._parameters.values()
        )

    def _weight_names(self) -> Tuple[str, ...]:
        raise NotImplementedError

    def _cell_options(self, neuron: Any) -> Dict[str, Any]:
        raise NotImplementedError

    def forward(self, input_: Any, syn: Any = None, mem: Any = None) -> Any:
        return self._advance(input_, syn, mem)


class SLSTM(_Gated):
    """Spiking LSTM; equations: ``spikecore.SLSTM``. There is no reset by default.

        spk, syn, mem = lstm(x, syn, mem)

    Args:
        input_size, hidden_size, bias: as in ``torch.nn.LSTMCell``, which holds the weights as ``lstm_cell``.
        Others: see ``SpikingNeuron``.
    """

    kind: ClassVar[Any] = neurons.SLSTM
    weights: ClassVar[str] = "lstm_cell"
    cell: ClassVar[Any] = nn.LSTMCell
    sample_axes = 1

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
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

    def _weight_names(self) -> Tuple[str, ...]:
        return ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ()))

    def _cell_options(self, neuron: Any) -> Dict[str, Any]:
        return {name: getattr(neuron, name) for name in ("input_size", "hidden_size")}

    def _moved(self, input_: Any) -> Tuple[Any, ...]:
        mem, syn = self.lstm_cell(input_, (self.mem, self.syn))
        return syn, mem

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
    cell: ClassVar[Any] = nn.Conv2d
    sample_axes = 3

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Any,
        bias: bool = True,
        max_pool: Count = 0,
        avg_pool: Count = 0,
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

    def _weight_names(self) -> Tuple[str, ...]:
        return ("weight", "bias") if self.bias else ("weight",)

    def _cell_options(self, neuron: Any) -> Dict[str, Any]:
        kept = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
        return {**kept, "kernel_size": neuron.kernel_size, "padding": neuron.padding}

    def _moved(self, input_: Any) -> Tuple[Any, ...]:
        engine = engine_for(input_.device, input_.dtype)
        enter, forget, leave, content = self.conv(torch.cat([input_, self.mem], 1)).split(self.out_channels, 1)
        before = State(syn=self.syn, mem=self.mem)
        moved: Tuple[Any, ...] = self._unreset.gated(engine, Params(), before, (enter, forget, content, leave), None)
        return moved

    def _seen(self, mem: Any) -> Any:
        pooled = self.max_pool or self.avg_pool
        return self._neuron._pooled(engine_for(mem.device, mem.dtype), mem) if pooled else mem

    init_sconv2dlstm = SpikingNeuron.reset_mem

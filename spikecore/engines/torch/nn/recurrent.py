"""Neurons that hear their own spikes of the step before: RLeaky, RSynaptic."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.layer import Params
from spikecore.api.parameters import learn
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.options import OWN_TENSORS


class RecurrentOneToOne(nn.Module):
    """Each neuron feeds itself: ``V * x``."""

    def __init__(self, V: Any) -> None:
        super().__init__()
        self.V = V

    def forward(self, x: Any) -> Any:
        return x * self.V


class _Recurrent(LIF):
    """What RLeaky and RSynaptic share: the connection, and where its weights are.

    The connection is ``recurrent``: an ``nn.Linear`` or ``nn.Conv2d``, or with ``all_to_all=False`` a product with
    ``V``.
    """

    def _connect(
        self, V: Any, all_to_all: bool, linear_features: Any, conv2d_channels: Any, kernel_size: Any, learned: bool
    ) -> None:
        self.all_to_all, self.linear_features = all_to_all, linear_features or None
        self.conv2d_channels, self.kernel_size = conv2d_channels or None, kernel_size or None
        self.learn_recurrent = learned
        if not all_to_all:
            self._register("V", V, learned)
            self.recurrent: nn.Module = RecurrentOneToOne(self.V)
        layer = self._with_connection().recurrent.connection  # refuses what cannot be
        if self.linear_features:
            self.recurrent = nn.Linear(linear_features, linear_features)
        elif self.conv2d_channels:
            self.recurrent = nn.Conv2d(conv2d_channels, conv2d_channels, layer.kernel_size, padding=layer.padding)
        for parameter in self.recurrent.parameters():
            parameter.requires_grad_(learned)
        self._rebuild()

    def _with_connection(self) -> Any:
        """The neuron of ``spikecore.api`` with this module's connection."""
        return self.kind(
            V=learn(1.0),
            all_to_all=bool(self.all_to_all),
            linear_features=self.linear_features,
            conv2d_channels=self.conv2d_channels,
            kernel_size=self.kernel_size,
            **{name: learn(default) for name, default in self._defaults().items()},
            **self._described_options(),
        )

    def _describe(self) -> Any:
        return self._with_connection().recurrent

    def _rebuild(self) -> None:
        if hasattr(self, "recurrent"):  # else the constructor is not done yet
            super()._rebuild()

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        own, wanted = super()._tensors(engine, host), getattr(torch, engine.dtype)
        weights: Dict[str, Any] = dict(self.recurrent.named_parameters())
        if not self.all_to_all:
            weights = {"V": weights.get("V", self.V)}
        return Params(neuron=own, connection=Params({name: w.to(wanted) for name, w in weights.items()}))


class RLeaky(_Recurrent):
    """``Leaky`` with recurrence; equations: ``spikecore.RLeaky``.

        spk, mem = lif(x, spk, mem)

    Args:
        beta: membrane decay per step in [0, 1], clamped where learned.
        V: weight of the one-to-one connection (``all_to_all=False``); a number or a tensor that broadcasts.
        all_to_all: whether every neuron hears every other one.
        linear_features: number of neurons of a dense connection.
        conv2d_channels, kernel_size: a convolution that keeps the map's size; the kernel must be odd.
        learn_recurrent: whether the connection is learned.
        Others: see ``Leaky``.

    Raises:
        TypeError: options of the connection that contradict each other, or too few.
        ValueError: an even kernel.
    """

    kind: ClassVar[Any] = neurons.RLeaky
    states: ClassVar[Tuple[str, ...]] = ("spk", "mem")

    def __init__(
        self,
        beta: Any,
        V: Any = 1.0,
        all_to_all: bool = True,
        linear_features: Any = None,
        conv2d_channels: Any = None,
        kernel_size: Any = None,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        learn_recurrent: bool = True,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        reset_delay: bool = True,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold,
            reset_mechanism, state_quant, output,
        )  # fmt: skip
        self.reset_delay = reset_delay
        self._connect(V, all_to_all, linear_features, conv2d_channels, kernel_size, learn_recurrent)

    def forward(self, input_: Any, spk: Any = None, mem: Any = None) -> Any:
        return self._advance(input_, spk, mem)

    init_rleaky = LIF.reset_mem


class RSynaptic(_Recurrent):
    """``Synaptic`` with recurrence; equations: ``spikecore.RSynaptic``.

        spk, syn, mem = lif(x, spk, syn, mem)

    Args:
        alpha, beta, learn_alpha: as in ``Synaptic``.
        V, all_to_all, linear_features, conv2d_channels, kernel_size, learn_recurrent: as in ``RLeaky``.
        Others: see ``Leaky``.
    """

    kind: ClassVar[Any] = neurons.RSynaptic
    states: ClassVar[Tuple[str, ...]] = ("spk", "syn", "mem")
    tensors: ClassVar[Tuple[str, ...]] = ("alpha", "beta", *OWN_TENSORS)

    def __init__(
        self,
        alpha: Any,
        beta: Any,
        V: Any = 1.0,
        all_to_all: bool = True,
        linear_features: Any = None,
        conv2d_channels: Any = None,
        kernel_size: Any = None,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        learn_recurrent: bool = True,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        reset_delay: bool = True,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold,
            reset_mechanism, state_quant, output,
        )  # fmt: skip
        self._register("alpha", alpha, learn_alpha)
        self.reset_delay = reset_delay
        self._connect(V, all_to_all, linear_features, conv2d_channels, kernel_size, learn_recurrent)

    def forward(self, input_: Any, spk: Any = None, syn: Any = None, mem: Any = None) -> Any:
        return self._advance(input_, spk, syn, mem)

    init_rsynaptic = LIF.reset_mem

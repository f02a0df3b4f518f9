"""Neurons that hear their own spikes of the step before: RLeaky, RSynaptic."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params
from spikecore.api.layers.linear import Linear
from spikecore.arguments import Numbers, checked
from spikecore.engines.torch.nn.face import FIRING, RESETTING, Face
from spikecore.engines.torch.nn.inner import Inner
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.parts import CurrentSpared, with_weights

CONNECTION = f"V all_to_all linear_features conv2d_channels kernel_size {FIRING} init_hidden inhibition"
LEARNING = f"learn_beta learn_threshold learn_recurrent {RESETTING} reset_delay"


class RecurrentOneToOne(nn.Module):
    """Each neuron feeds itself: ``V * x``."""

    @checked
    def __init__(self, V: Numbers) -> None:
        super().__init__()
        self.V = V

    def forward(self, x: Any) -> Any:
        return x * self.V


class _Recurrent(Inner, LIF):
    """Shared parts of RLeaky and RSynaptic: the connection, and the place of its weights.

    The connection is ``recurrent``: an ``nn.Linear`` or ``nn.Conv2d``, or with ``all_to_all=False`` a product with
    ``V``. A module that was put in its place, or that has hooks, is called at every step.
    """

    inner: ClassVar[str] = "recurrent"
    words: ClassVar[str] = "a connection"
    recurrent: Any
    linear_features: Any
    conv2d_channels: Any
    kernel_size: Any
    padding: Any
    spk: Any
    _given_V: Any = None  # the constant as it was handed to a one-to-one connection

    def _construct(self, given: Dict[str, Any]) -> None:
        sizes = {name: given[name] or None for name in ("linear_features", "conv2d_channels", "kernel_size")}
        super()._construct({**given, **sizes})

    def _register_values(self, given: Dict[str, Any]) -> None:
        super()._register_values(given)
        self.learn_recurrent = given["learn_recurrent"]
        self.sample_axes = 3 if self.conv2d_channels else None
        if self.all_to_all:
            self._init_recurrent_net()
        else:
            self._V_register_buffer(given["V"], self.learn_recurrent)
            if "alpha" in self._parameters:  # in snnTorch's order, by which optimisers find their moments in a file
                self._parameters["alpha"] = self._parameters.pop("alpha")
            self._init_recurrent_one_to_one()
        if not self.learn_recurrent:
            self._disable_recurrent_grad()

    def _init_recurrent_net(self) -> None:
        if self.linear_features:
            self._init_recurrent_linear()
        else:
            self._init_recurrent_conv2d()

    def _init_recurrent_linear(self) -> None:
        self.recurrent = nn.Linear(self.linear_features, self.linear_features)

    def _init_recurrent_conv2d(self) -> None:
        self._init_padding()
        channels = self.conv2d_channels
        self.recurrent = nn.Conv2d(channels, channels, self.kernel_size, padding=self.padding)

    def _init_padding(self) -> None:
        self.padding = self._neuron.connection.padding

    def _init_recurrent_one_to_one(self) -> None:
        self.recurrent = RecurrentOneToOne(self.V)  # type: ignore[arg-type]
        self.__dict__["_given_V"] = self.V

    def _disable_recurrent_grad(self) -> None:
        for parameter in self.recurrent.parameters():
            parameter.requires_grad_(False)

    def _described_inner(self) -> Tuple[Any, Dict[str, Any], Tuple[str, ...]]:
        if not self.all_to_all:
            return RecurrentOneToOne, {}, ()
        connection = self._neuron.connection
        sizes = {name: size for name, size in vars(connection).items() if name != "bias"}
        kind = nn.Linear if isinstance(connection, Linear) else nn.Conv2d
        return kind, {**sizes, "padding_mode": "zeros"}, ("weight", "bias")

    def _as_described(self) -> bool:
        """A one-to-one connection may have this module's buffer ``V``, which it cannot see move or change."""
        same = super()._as_described()
        if not same or self.all_to_all or "V" in self.recurrent._parameters:
            return same
        if self.recurrent.V is not self._given_V:
            return False
        if self.recurrent.V is not self.V:
            self.recurrent.V = self.__dict__["_given_V"] = self.V
        return True

    def _values(self) -> Dict[str, Any]:
        return {**super()._values(), **({} if self.all_to_all else {"V": self.V})}

    def learned(self) -> Dict[str, torch.Tensor]:
        own = {f"neuron.{n}": p for n, p in self.named_parameters(recurse=False) if n in self.tensors}
        return {**own, **{f"connection.{name}": value for name, value in self._weights().items()}}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        weights = self._weights() if self.all_to_all else {"V": self.recurrent.V}
        return Params(neuron=self._own_tensors(engine, host), connection=with_weights(Params(), weights, engine))

    def _moved(self, input_: Any) -> Tuple[Any, ...]:
        return super()._moved(input_ + self.recurrent(self.spk))


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

    face = Face(neurons.RLeaky, f"beta {CONNECTION} {LEARNING}", states="spk mem", kernel_size=None)


class RSynaptic(CurrentSpared, _Recurrent):
    """``Synaptic`` with recurrence; equations: ``spikecore.RSynaptic``.

        spk, syn, mem = lif(x, spk, syn, mem)

    Args:
        alpha, beta, learn_alpha: as in ``Synaptic``.
        V, all_to_all, linear_features, conv2d_channels, kernel_size, learn_recurrent: as in ``RLeaky``.
        Others: see ``Leaky``.
    """

    face = Face(
        neurons.RSynaptic, f"alpha beta {CONNECTION} learn_alpha {LEARNING}", states="spk syn mem", kernel_size=None
    )

"""Neurons that hear their own spikes of the step before: RLeaky, RSynaptic."""

from __future__ import annotations

from typing import Any, ClassVar, Optional, Tuple

import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params
from spikecore.api.core.parameters import learn
from spikecore.api.layers.linear import Linear
from spikecore.arguments import Numbers, Size, checked
from spikecore.engines.torch.nn.hooks import heard
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.options import OWN_TENSORS
from spikecore.engines.torch.nn.parts import CurrentSpared


class RecurrentOneToOne(nn.Module):
    """Each neuron feeds itself: ``V * x``."""

    @checked
    def __init__(self, V: Numbers) -> None:
        super().__init__()
        self.V = V

    def forward(self, x: Any) -> Any:
        return x * self.V


class _Recurrent(LIF):
    """What RLeaky and RSynaptic share: the connection, and where its weights are.

    The connection is ``recurrent``: an ``nn.Linear`` or ``nn.Conv2d``, or with ``all_to_all=False`` a product with
    ``V``. A module that was put in its place, or that has hooks, is called at every step.
    """

    recurrent: Any
    linear_features: Any
    conv2d_channels: Any
    kernel_size: Any
    _given_V: Any = None  # the constant as it was handed to a one-to-one connection
    _looked_at: Any = (None, None, False)  # a connection, its class, and whether it is what the options say
    padding: Any
    spk: Any

    def _connect(
        self, V: Any, all_to_all: bool, linear_features: Any, conv2d_channels: Any, kernel_size: Any, learned: bool
    ) -> None:
        self.all_to_all, self.linear_features = all_to_all, linear_features or None
        self.conv2d_channels, self.kernel_size = conv2d_channels or None, kernel_size or None
        self.learn_recurrent = learned
        self.sample_axes = 3 if self.conv2d_channels else None
        self._with_connection()  # refuses what cannot be
        if all_to_all:
            self._init_recurrent_net()
        else:
            self._V_register_buffer(V, learned)
            self._init_recurrent_one_to_one()
        if not learned:
            self._disable_recurrent_grad()
        self._rebuild()

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
        self.padding = self._with_connection().recurrent.connection.padding

    def _init_recurrent_one_to_one(self) -> None:
        self.recurrent = RecurrentOneToOne(self.V)  # type: ignore[arg-type]
        self.__dict__["_given_V"] = self.V

    def _disable_recurrent_grad(self) -> None:
        for parameter in self.recurrent.parameters():
            parameter.requires_grad_(False)

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

    def overridden(self) -> str:
        return super().overridden() or ("" if self._known_connection() else "a connection of its own as recurrent")

    def by_protocol(self) -> str:
        return super().by_protocol() or ("hooks on recurrent" if heard(self.recurrent) else "")

    def _known_connection(self) -> bool:
        """Whether ``recurrent`` does what the options say, so that its weights are all there is to know."""
        made = self._modules["recurrent"]
        seen, kind, known = self._looked_at
        if made is not seen or type(made) is not kind:
            known = self._as_described(made)
            self.__dict__["_looked_at"] = made, type(made), known
        if not known or "forward" in made.__dict__:  # type: ignore[union-attr]
            return False
        weights: Any = made._parameters  # type: ignore[union-attr]
        if not self.all_to_all:
            return "V" in weights or self._own_constant(made)
        return len(weights) == 2 and weights.get("weight") is not None and weights.get("bias") is not None

    def _as_described(self, made: Any) -> bool:
        """Whether a connection is of the kind and the size that the options say."""
        if not self.all_to_all:
            return type(made) is RecurrentOneToOne
        kind = nn.Linear if isinstance(self._neuron.connection, Linear) else nn.Conv2d
        sizes = {name: size for name, size in vars(self._neuron.connection).items() if name != "bias"}
        same = all(getattr(made, name, size) == size for name, size in sizes.items())
        return type(made) is kind and same and getattr(made, "padding_mode", "zeros") == "zeros"

    def _own_constant(self, made: Any) -> bool:
        """Whether a one-to-one connection has this module's buffer ``V``, which it cannot see move or change."""
        if made.V is not self._given_V:
            return False
        if made.V is not self.V:
            made.V = self.__dict__["_given_V"] = self.V
        return True

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        own, wanted = super()._tensors(engine, host), getattr(torch, engine.dtype)
        weights = {"V": self.recurrent.V} if not self.all_to_all else dict(self.recurrent.named_parameters())
        return Params(neuron=own, connection=Params({name: w.to(wanted) for name, w in weights.items()}))

    def _own_tensors(self, engine: Any) -> Params:
        return super()._tensors(engine, host=True)

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

    kind: ClassVar[Any] = neurons.RLeaky
    states: ClassVar[Tuple[str, ...]] = ("spk", "mem")

    @checked
    def __init__(
        self,
        beta: Any,
        V: Numbers = 1.0,
        all_to_all: bool = True,
        linear_features: Optional[Size] = None,
        conv2d_channels: Optional[Size] = None,
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


class RSynaptic(CurrentSpared, _Recurrent):
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

    @checked
    def __init__(
        self,
        alpha: Any,
        beta: Any,
        V: Numbers = 1.0,
        all_to_all: bool = True,
        linear_features: Optional[Size] = None,
        conv2d_channels: Optional[Size] = None,
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
        self._alpha_register_buffer(alpha, learn_alpha)
        self.reset_delay = reset_delay
        self._connect(V, all_to_all, linear_features, conv2d_channels, kernel_size, learn_recurrent)

    def forward(self, input_: Any, spk: Any = None, syn: Any = None, mem: Any = None) -> Any:
        return self._advance(input_, spk, syn, mem)

    init_rsynaptic = LIF.reset_mem

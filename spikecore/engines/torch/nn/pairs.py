"""Layers that exist as a module of torch and as a layer of ``spikecore.api``, and how one is made from the other."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, replace
from typing import Any, Dict, Mapping, Tuple

import numpy as np
import torch
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Layer
from spikecore.api.core.parameters import Learn, learn, values_of
from spikecore.api.layers import linear as layers
from spikecore.api.layers import normalisation
from spikecore.engines.torch.nn.engine import Callable_, Quantiser
from spikecore.engines.torch.nn.lapicque import Lapicque
from spikecore.engines.torch.nn.layers import GradedSpikes
from spikecore.engines.torch.nn.leaky import Alpha, DeltaLeaky, Leaky, Synaptic
from spikecore.engines.torch.nn.lstm import SLSTM, SConv2dLSTM
from spikecore.engines.torch.nn.options import OWN_TENSORS, register
from spikecore.engines.torch.nn.recurrent import RLeaky, RSynaptic

Arrays = Dict[str, Any]


class NoCounterpart(ValueError):
    """A layer cannot be said in the other language; the message names it and says why."""


# ---- stateless layers ----


@dataclass(frozen=True)
class Pair:
    """A module and a layer with the same options.

    Args:
        module, layer: the two classes.
        names: options they share, "layer's name:module's name" where they differ.
        demands: options of the module that must have this value.
        bias: whether a bias is an option.
    """

    module: Any
    layer: Any
    names: Tuple[str, ...] = ()
    demands: Tuple[Tuple[str, Tuple[Any, ...]], ...] = ()
    bias: bool = False

    def options(self) -> Tuple[Tuple[str, str], ...]:
        """Pairs of names: the layer's and the module's."""
        return tuple((n.partition(":")[0], n.rpartition(":")[2]) for n in self.names)

    def to_layer(self, module: Any) -> Layer:
        """The layer with a module's options."""
        for name, allowed in self.demands:
            found = getattr(module, name, allowed[0])
            if found not in allowed:
                raise NoCounterpart(f"{name}={found!r} has no counterpart; only {allowed[0]!r}")
        options = {own: getattr(module, theirs) for own, theirs in self.options()}
        if self.bias:
            options["bias"] = module.bias is not None
        made: Layer = self.layer(**options)
        return made

    def to_module(self, layer: Any) -> nn.Module:
        """The module with a layer's options."""
        options = {theirs: getattr(layer, own) for own, theirs in self.options()}
        made: nn.Module = self.module(**options, **({"bias": layer.bias} if self.bias else {}))
        return made


_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
_POOL = ("kernel_size", "stride", "padding")
_MAX = (("dilation", (1, (1, 1), (1,))), ("ceil_mode", (False,)), ("return_indices", (False,)))
_AVG = (("ceil_mode", (False,)), ("count_include_pad", (True,)), ("divisor_override", (None,)))
_NORM = ("num_features", "eps", "momentum", "affine")
_TRACKED = (("track_running_stats", (True,)),)

PAIRS = (
    Pair(nn.Linear, layers.Linear, ("in_features", "out_features"), bias=True),
    Pair(nn.Conv1d, layers.Conv1d, _CONV, (("padding_mode", ("zeros",)),), bias=True),
    Pair(nn.Conv2d, layers.Conv2d, _CONV, (("padding_mode", ("zeros",)),), bias=True),
    Pair(nn.MaxPool1d, layers.MaxPool1d, _POOL, _MAX),
    Pair(nn.MaxPool2d, layers.MaxPool2d, _POOL, _MAX),
    Pair(nn.AvgPool1d, layers.AvgPool1d, _POOL, _AVG),
    Pair(nn.AvgPool2d, layers.AvgPool2d, _POOL, _AVG),
    Pair(nn.Flatten, layers.Flatten, (), (("start_dim", (1,)), ("end_dim", (-1,)))),
    Pair(nn.Dropout, layers.Dropout, ("p",)),
    Pair(nn.BatchNorm1d, normalisation.BatchNorm1d, _NORM, _TRACKED),
    Pair(nn.BatchNorm2d, normalisation.BatchNorm2d, _NORM, _TRACKED),
    Pair(nn.LayerNorm, normalisation.LayerNorm, ("normalized_shape", "eps", "affine:elementwise_affine")),
    Pair(GradedSpikes, layers.GradedSpikes, ("size", "constant_factor")),
)

# ---- neurons ----

NEURONS = {
    Leaky: neurons.Leaky, Synaptic: neurons.Synaptic, Alpha: neurons.Alpha, Lapicque: neurons.Lapicque,
    RLeaky: neurons.RLeaky, RSynaptic: neurons.RSynaptic, SLSTM: neurons.SLSTM, SConv2dLSTM: neurons.SConv2dLSTM,
    DeltaLeaky: neurons.DeltaLeaky,
}  # fmt: skip
_WEIGHTS = {SLSTM: "lstm_cell", SConv2dLSTM: "conv"}
_LEARN = {"V": "learn_recurrent"}
_CHECKED_BELOW = ("reset_delay", "stride", "dilation")


def neuron_to_layer(module: Any) -> Layer:
    """The neuron with a module's options and values; what is learned has placeholders of the right shape."""
    if isinstance(module._surrogate, Callable_):
        raise NoCounterpart(f"spike_grad={module.spike_grad!r} is a function of torch; use a spikecore.surrogate")
    if isinstance(module._quantiser, Quantiser):
        raise NoCounterpart(f"state_quant={module.state_quant!r} is a function of torch; use functional.quant")
    if module.by_protocol():
        raise NoCounterpart(f"{module.by_protocol()} has no counterpart")
    if isinstance(module, Lapicque) and isinstance(module.beta, nn.Parameter):
        raise NoCounterpart("learn_beta=True has no counterpart there; R and C are what is learned")
    recurrent = isinstance(module, (RLeaky, RSynaptic))
    made = module._with_connection() if recurrent else module.neuron
    changes: Dict[str, Any] = {}
    for name in made.parameter_names():
        value = getattr(module, name, None)
        if value is not None:
            default = values_of(getattr(made, name))
            changes[name] = field_of(value, float(default))
    found: Layer = replace(made, **changes)
    return found


def field_of(value: Any, default: float) -> Any:
    """A tensor as the field of a neuron: a number, an array, or for Parameters what is learned, with a placeholder."""
    if not isinstance(value, torch.Tensor):
        return value
    if isinstance(value, nn.Parameter):
        return learn(default if value.ndim == 0 else np.full(tuple(value.shape), default))
    return value.item() if value.numel() == 1 else value.detach().cpu().numpy()


def neuron_arrays(module: Any) -> Arrays:
    """A module's learned values by the neuron's names."""
    learned = {n: p for n, p in module.named_parameters(recurse=False) if n != "V"}
    if isinstance(module, (RLeaky, RSynaptic)):
        found = {f"neuron.{name}": value for name, value in learned.items()}
        found.update({f"connection.{name}": value for name, value in module.recurrent.named_parameters()})
        return found
    if type(module) in _WEIGHTS:
        learned.update(getattr(module, _WEIGHTS[type(module)]).named_parameters())
    return learned


def neuron_to_module(kind: Any, layer: Any, arrays: Mapping[str, Any]) -> nn.Module:
    """The module with a neuron's options and values; its state is hidden."""
    known = dict(inspect.signature(kind).parameters)
    if kind is DeltaLeaky:
        known.update(inspect.signature(Leaky).parameters)
    options: Dict[str, Any] = {"init_hidden": True, "spike_grad": layer.surrogate}
    late: Dict[str, Any] = {}
    for name in (f.name for f in fields(layer)):
        unused = (name == "V" and layer.all_to_all) or (name == "threshold" and kind is DeltaLeaky)
        if name in ("surrogate", "parallel") or unused:
            continue
        value, learned, flag = getattr(layer, name), False, _LEARN.get(name, f"learn_{name}")
        if name in layer.parameter_names():
            value, learned = _value(name, value, arrays, _prefix(kind, name))
        if flag in known:
            options[flag] = learned
        if name in known and (flag in known or not learned):
            options[name] = value
        elif name in OWN_TENSORS:
            late[name] = (value, learned)
        elif learned or name not in _CHECKED_BELOW:
            raise NoCounterpart(f"{name}={value!r} has no counterpart")
    if getattr(layer, "reset_delay", True) is False and "reset_delay" not in known:
        raise NoCounterpart("reset_delay=False has no counterpart")
    if kind is SConv2dLSTM and (layer.stride != (1, 1) or layer.dilation != (1, 1)):
        raise NoCounterpart(f"stride={layer.stride}, dilation={layer.dilation} have no counterpart")
    options = {n: v for n, v in options.items() if v is not None}
    made: nn.Module = kind(**options)
    for name, (value, learned) in late.items():
        made._buffers.pop(name, None)
        register(made, name, value, learned)
    return made


def _prefix(kind: Any, name: str) -> str:
    if kind not in (RLeaky, RSynaptic):
        return ""
    return "connection." if name == "V" else "neuron."


def _value(name: str, value: Any, arrays: Mapping[str, Any], prefix: str) -> Tuple[Any, bool]:
    if isinstance(value, Learn):
        if value.dt is not None:
            raise NoCounterpart(f"{name} is learned through its time constant (learn_tau), which has no counterpart")
        return torch.as_tensor(np.array(arrays[prefix + name])), True
    plain = values_of(value)
    return (plain if isinstance(plain, float) else torch.as_tensor(np.array(plain), dtype=torch.float32)), False

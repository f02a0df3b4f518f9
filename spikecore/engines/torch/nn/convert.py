"""Between modules of torch and engine-agnostic networks, weights included."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Union

import numpy as np
import torch
from torch import nn

from spikecore.api.core.engine import Engine, EngineName, get_engine
from spikecore.api.core.foreign import shown
from spikecore.api.core.layer import Layer, layer_name
from spikecore.api.layers import containers
from spikecore.api.training.model import Model
from spikecore.arguments import checked
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.layers import Residual
from spikecore.engines.torch.nn.pairs import (
    NEURONS,
    PAIRS,
    Arrays,
    NoCounterpart,
    neuron_arrays,
    neuron_to_layer,
    neuron_to_module,
)
from spikecore.engines.torch.nn.whole import WHOLE, whole_to_layer

_TO_LAYER = {pair.module: pair for pair in PAIRS}
_TO_MODULE = {pair.layer: pair for pair in PAIRS}
_NEURON_MODULES: Dict[Any, Any] = {layer: module for module, layer in NEURONS.items()}


@checked
def from_torch(
    net: nn.Module, input_shape: Any = None, engine: Union[EngineName, Engine] = "torch", seed: int = 0, **options: Any
) -> Model:
    """The engine-agnostic model of a module, with its weights: for ``sc.verify``, for other engines, for files.

    Args:
        net: a Sequential, possibly nested, of layers that exist on both sides, ``Residual`` and ``nn.Identity``.
        input_shape: shape of one sample, without time and batch; only needed where the first layer does not fix it.
        engine, seed, options: as in ``spikecore.Model``.

    Returns:
        A ``Model``. Its neurons run on their own states, from rest; layers are named by position. Modules that take a
        whole sequence (``StateLeaky``, ``LinearLeaky``, ``LeakyParallel``, ``AssociativeLeaky``) become the neurons
        that do; ``to_torch`` does not know these. Whether weights are frozen (``requires_grad=False``) is not taken
        over.

    Raises:
        ValueError: a layer without counterpart, named by its place in ``net``; no ``input_shape`` where it is needed.
    """
    params: Arrays = {}
    buffers: Arrays = {}
    network = _layer(net, "", "", params, buffers)
    shape = input_shape if input_shape is not None else network.input_shape
    if shape is None:
        raise ValueError("from_torch: the first layer does not fix the shape of a sample; pass input_shape=(...)")
    model = Model(network, engine, seed, input_shape=shape, **options)
    state = model.state()
    for kind, found in (("params", params), ("buffers", buffers)):
        state[kind] = {
            name: found[name].detach().cpu().numpy().reshape(like.shape).astype(like.dtype)
            for name, like in state[kind].items()
        }
    model.load_state(state)
    return model


def adopted(net: nn.Module, shape: Any) -> Model:
    """The model of a module, on its device and in its dtype; ``shape`` of a sample counts if no layer fixes it."""
    like = next(net.parameters(), torch.zeros(0))
    engine = get_engine("torch", device=str(like.device), dtype=str(like.dtype).rpartition(".")[2])
    return from_torch(net, shape if _layer(net, "", "", {}, {}).input_shape is None else None, engine)


def _layer(module: Any, where: str, name: str, params: Arrays, buffers: Arrays) -> Layer:
    """The layer of a module; its weights are put into ``params`` and ``buffers`` by their dotted names."""
    if type(module) is nn.Sequential:
        parts = [
            _layer(child, _join(where, key), _join(name, str(i)), params, buffers)
            for i, (key, child) in enumerate(module.named_children())
        ]
        return containers.Sequential(*parts)
    if type(module) is nn.Identity:
        return containers.Sequential()
    if type(module) is Residual:
        both = {
            key: _layer(child, _join(where, key), _join(name, key), params, buffers)
            for key, child in module.named_children()
        }
        return containers.Residual(**both)  # type: ignore[arg-type]
    try:
        if type(module) in NEURONS:
            arrays, made = neuron_arrays(module), neuron_to_layer(module)
        elif type(module) in WHOLE:
            made, arrays = whole_to_layer(module)
        elif type(module) in _TO_LAYER:
            arrays, made = dict(module.named_parameters()), _TO_LAYER[type(module)].to_layer(module)
        else:
            raise NoCounterpart(_unknown(module))
    except (ValueError, TypeError) as error:
        place = f"layer {where} ({type(module).__name__})" if where else type(module).__name__
        raise NoCounterpart(f"from_torch: {place}: {error}") from None
    params.update({_join(name, key): value for key, value in arrays.items()})
    buffers.update({_join(name, key): value for key, value in module.named_buffers() if value is not None})
    return made


def _unknown(module: Any) -> str:
    """Why a module has no counterpart, and what to write instead."""
    twin = namesake(module)
    if twin:
        return twin
    if any(True for _ in module.children()) and not type(module).__module__.startswith("torch."):
        return (
            "only nn.Sequential itself is taken apart, not a class with a forward of its own: write the network as "
            "nn.Sequential(...) of torch's layers and of spikecore.nn's neurons with init_hidden=True"
        )
    return f"there is no such layer; known are {_known(_TO_LAYER, NEURONS, WHOLE)}"


def namesake(module: Any) -> str:
    """For another library's neuron that has the name of one of ours: what to write instead; "" for all else."""
    name, library = type(module).__name__, type(module).__module__.partition(".")[0]
    if (
        isinstance(module, Hidden)
        or library in ("spikecore", "torch")
        or name not in {kind.__name__ for kind in (*NEURONS, *WHOLE)}
    ):
        return ""
    return f"this is {library}'s {name}: import {name} from spikecore.nn instead"


def to_torch(model: Model) -> nn.Module:
    """The module of a model, with its weights: the inverse of ``from_torch``.

    Args:
        model: a ``spikecore.Model`` of layers that exist on both sides.

    Returns:
        A module for one time step, for ``snn.run`` or a loop; its neurons keep their state (``init_hidden=True``).

    Raises:
        ValueError: a layer without counterpart, named by its place in the network.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model={shown(model)} must be a spikecore.Model: of a network make one, sc.Model(network)")
    state = model.state()
    arrays = {**state["params"], **state["buffers"]}
    return _module(model.network, "", arrays)


def _module(layer: Any, name: str, arrays: Mapping[str, Any]) -> nn.Module:
    if type(layer) is containers.Sequential:
        return nn.Sequential(*(_module(child, _join(name, key), arrays) for key, child in layer.children()))
    if type(layer) is containers.Residual:
        return Residual(**{key: _module(child, _join(name, key), arrays) for key, child in layer.children()})
    prefix = f"{name}." if name else ""
    if hasattr(layer, "as_module"):  # it is around one
        return layer.as_module({key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)})
    own = {key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)}
    try:
        if type(layer) in _NEURON_MODULES:
            made = neuron_to_module(_NEURON_MODULES[type(layer)], layer, own)
            targets = neuron_arrays(made)
        elif type(layer) in _TO_MODULE:
            made = _TO_MODULE[type(layer)].to_module(layer)
            targets = {**dict(made.named_parameters()), **dict(made.named_buffers())}
        else:
            raise NoCounterpart(f"there is no such module; known are {_known(_TO_MODULE, _NEURON_MODULES)}")
    except (ValueError, TypeError) as error:
        place = f"layer {name} ({layer_name(layer)})" if name else layer_name(layer)
        raise NoCounterpart(f"to_torch: {place}: {error}") from None
    with torch.no_grad():
        for key, value in own.items():
            targets[key].copy_(torch.as_tensor(np.array(value)).reshape(targets[key].shape))
    return made


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _known(*tables: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(kind.__name__ for table in tables for kind in table))

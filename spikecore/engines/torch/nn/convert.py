"""Between modules of torch and engine-agnostic networks, weights included."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Dict, Mapping, Union

import numpy as np
import torch
from torch import nn

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineName, get_engine
from spikecore.api.core.layer import EMPTY, Layer, Stateless, layer_name, shapes_of
from spikecore.api.core.parameters import Learn, learn, values_of
from spikecore.api.core.sizes import sample_shape
from spikecore.api.core.tree import flatten, unflatten
from spikecore.api.layers import containers, joins
from spikecore.api.layers.arrangement import Reshape
from spikecore.api.layers.count_pool import CountMaxPool1d, CountMaxPool2d
from spikecore.api.layers.delays import Delay, DelayedConv1d, DelayedConv2d, DelayedLinear
from spikecore.api.layers.merges import Merge
from spikecore.api.neurons.recurrent import OneToOne
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import checked, shown
from spikecore.engines.torch.nn.delay import SynapticDelay
from spikecore.engines.torch.nn.described import GraphModule, StatelessModule
from spikecore.engines.torch.nn.face import Faced
from spikecore.engines.torch.nn.free_forward import Found, Weights, read_free
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.labels import Factor, LayerCall, NoCounterpart, Reshaped
from spikecore.engines.torch.nn.lapicque import Lapicque
from spikecore.engines.torch.nn.layers import Residual
from spikecore.engines.torch.nn.leaky import Alpha, DeltaLeaky, Leaky, Synaptic
from spikecore.engines.torch.nn.lstm import SLSTM, SConv2dLSTM
from spikecore.engines.torch.nn.module import NeuronModule, ProjectingModule, wrapped
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.pairs import PAIRS
from spikecore.engines.torch.nn.parallel import AssociativeLeaky, LeakyParallel
from spikecore.engines.torch.nn.recurrent import RLeaky, RSynaptic
from spikecore.engines.torch.nn.stateleaky import LinearLeaky, StateLeaky
from spikecore.engines.torch.nn.unchanged import is_foreign

if TYPE_CHECKING:  # what comes with it takes a quarter of the time to import spikecore.nn
    from spikecore.api.training.model import Model

Arrays = Dict[str, Any]
STEPWISE = (Leaky, Synaptic, Alpha, Lapicque, RLeaky, RSynaptic, SLSTM, SConv2dLSTM)
WHOLE = (StateLeaky, LinearLeaky, LeakyParallel, AssociativeLeaky)  # they take a whole sequence
NEURONS = (*STEPWISE, *WHOLE, DeltaLeaky, NeuronModule, ProjectingModule, SynapticDelay)
# with states, and without a module of torch's
REMEMBERING = (CountMaxPool1d, CountMaxPool2d, Delay, DelayedConv1d, DelayedConv2d, DelayedLinear)
_TO_LAYER = {pair.module: pair for pair in PAIRS if pair.both_ways}
_TO_MODULE = {pair.layer: pair for pair in PAIRS}
_ROWS: Dict[Any, Any] = {module.kind: module for module in STEPWISE}


@checked
def from_torch(
    net: nn.Module, input_shape: Any = None, engine: Union[EngineName, Engine] = "torch", seed: int = 0, **options: Any
) -> Model:
    """The engine-agnostic model of a module, with its weights: for ``sc.verify``, for other engines, for files.

    ``net`` is a Sequential, possibly nested, or a class with a ``forward`` of its own. ``forward`` is either a single
    step, with states as arguments or in the neurons, or a loop over time.
    ``forward`` may call layers, add, multiply and concatenate their outputs, and call functions that are layers
    (``F.max_pool2d``, ``flatten``, ``dropout``). It runs on random samples to be read, and is then compared with the
    model: outputs and gradients must be equal.

    Args:
        net: the module, of layers that exist on both sides, or a module that ``to_torch`` made.
        input_shape: shape of one sample, without time and batch; only needed where the first layer does not fix it.
        engine, seed, options: as in ``spikecore.Model``.

    Returns:
        A ``Model``. Its neurons run on their own states, from rest. Layers of a Sequential are named by position, those
        of a free ``forward`` by their attributes, with "_" for dots. Whether weights are frozen
        (``requires_grad=False``) is not taken over.

    Raises:
        ValueError: a layer has no counterpart, or shares weights or a state with another (the message names its place
            in ``net``); no network of layers can do the same as a call of ``forward`` (the message names the call);
            ``input_shape`` is needed.

    Warns:
        UserWarning: ``forward`` returns the sum, the mean or the last of its steps; the model returns all of them.
    """
    from spikecore.api.training.model import Model

    network, shape, params, buffers = described(net, input_shape)
    if shape is None:
        raise ValueError("from_torch: the first layer does not fix the shape of a sample; pass input_shape=(...)")
    model = Model(network, engine, seed, input_shape=shape, **options)
    state = model.state()
    for kind, tensors in (("params", params), ("buffers", buffers)):
        state[kind] = {
            name: tensors[name].detach().cpu().numpy().reshape(like.shape).astype(like.dtype)
            for name, like in state[kind].items()
        }
    model.load_state(state)
    return model


def adopted(net: nn.Module, shape: Any) -> Model:
    """The model of a module, on its device and in its dtype; ``shape`` of a sample counts if no layer fixes it."""
    like = next(net.parameters(), torch.zeros(0))
    engine = get_engine("torch", device=str(like.device), dtype=str(like.dtype).rpartition(".")[2])
    fixed = None if is_free(net) else _layer(net, "", "", {}, {}, {}).input_shape
    return from_torch(net, shape if fixed is None else None, engine)


def described(net: nn.Module, shape: Any) -> Found:
    """The network of a module with its weights."""
    if is_free(net):
        for path, module in net.named_modules():
            if namesake(module):
                raise NoCounterpart(f"from_torch: {_place(path, type(module).__name__)}: {namesake(module)}")
        shape = _first_shape(net) if shape is None else sample_shape("input_shape", shape)
        owners: Dict[int, str] = {}
        return read_free(net, shape, lambda call, name, weights: _of_call(call, name, weights, owners))
    params: Arrays = {}
    buffers: Arrays = {}
    network = _layer(net, "", "", params, buffers, {})
    return Found(network, shape if shape is not None else network.input_shape, params, buffers)


def is_free(net: nn.Module) -> bool:
    """Whether a module, or one inside of it, has a ``forward`` that must be read, not a list of layers."""
    return any(
        is_foreign(module) and not isinstance(module, Hidden) and not type(module).__module__.startswith("torch.")
        for module in net.modules()
    ) and not namesake(net)


def _first_shape(net: nn.Module) -> Any:
    """The shape of a sample that the first layer takes, in the order in which they were set; None: it takes any."""
    for module in net.modules():
        if type(module) in _TO_LAYER or type(module) in NEURONS:
            with contextlib.suppress(ValueError, TypeError):
                return _layer(module, "", "", {}, {}, {}).input_shape
    return None


def _of_call(call: LayerCall, name: str, weights: Weights, owners: Dict[int, str]) -> Any:
    """The layer, or the merge, of a call that was read; its parameters and buffers are put into ``weights``."""
    if isinstance(call.does, Merge):
        return call.does
    if isinstance(call.does, Reshaped):
        return Reshape(call.does.shape)
    if isinstance(call.does, Factor):
        value = torch.as_tensor(call.does.value).detach().cpu()
        plain: Any = value.item() if value.ndim == 0 else value.numpy()
        if not isinstance(call.does.value, nn.Parameter):
            return OneToOne(plain)
        weights["params"][f"{name}.V"] = call.does.value
        return OneToOne(learn(plain))
    if type(call.does) in WHOLE:
        raise NoCounterpart(f"from_torch: {call.place}: it takes whole sequences; put it into nn.Sequential")
    if call.called and type(call.does) not in _TO_LAYER:
        raise NoCounterpart(f"from_torch: {call.place}: there is no such layer; known are {_known(*_TO_LAYER)}")
    return _layer(call.does, call.path, name, weights["params"], weights["buffers"], owners)


def _layer(module: Any, where: str, name: str, params: Arrays, buffers: Arrays, owners: Dict[int, str]) -> Layer:
    """The layer of a module; its weights are put into ``params`` and ``buffers`` by their dotted names.

    ``owners`` has the places of the tensors and neurons that were met, by their ``id``.
    """
    if type(module) in (nn.Sequential, Residual, GraphModule):
        parts = {}
        children = [(key, child) for key, child in module._modules.items() if child is not None]
        for i, (key, child) in enumerate(children):  # named_children() leaves out a module that stands here twice
            own = {nn.Sequential: str(i)}.get(type(module), key)
            parts[own] = _layer(child, _join(where, key), _join(name, own), params, buffers, owners)
        if type(module) is GraphModule:
            return module.described(parts)
        if type(module) is Residual:
            return joins.Residual(**parts, join=module.join)
        return containers.Sequential(*parts.values())
    if type(module) is StatelessModule:
        return module.layer
    try:
        if type(module) in NEURONS:
            layer, arrays = module.described(), module.learned()
        elif type(module) in _TO_LAYER:
            layer, arrays = _TO_LAYER[type(module)].to_layer(module), _arrays(module)
        else:
            raise NoCounterpart(_unknown(module))
    except (ValueError, TypeError) as error:
        raise NoCounterpart(f"from_torch: {_place(where, type(module).__name__)}: {error}") from None
    _owned(module, where, owners)
    params.update({_join(name, key): value for key, value in arrays.items()})
    buffers.update({_join(name, key): value for key, value in module.named_buffers() if value is not None})
    return layer


def _owned(module: nn.Module, where: str, owners: Dict[int, str]) -> None:
    """Refuse a layer that shares a tensor, or a state, with one before it: those of a model are each layer's own."""
    parts = [*module.parameters(), *module.buffers(), *([module] if type(module) in NEURONS else [])]
    for before in (owners[id(part)] for part in parts if id(part) in owners):
        raise NoCounterpart(
            f"from_torch: {_place(where, type(module).__name__)} shares weights or a state with layer {before}, and "
            "each layer of a Model has its own: put a copy there, copy.deepcopy(layer)"
        )
    owners.update({id(part): where for part in parts})


def _arrays(module: nn.Module) -> Arrays:
    """The parameters of a module by name; of one that ``torch.nn.utils.prune`` masks, what the mask leaves."""
    arrays: Arrays = dict(module.named_parameters())
    for name, mask in module.named_buffers():
        owner = name[: -len("_mask")]
        if name.endswith("_mask") and f"{owner}_orig" in arrays:
            arrays[owner] = arrays.pop(f"{owner}_orig") * mask
    return arrays


def _unknown(module: Any) -> str:
    """The error message for a module without a counterpart: the reason, and what to write instead."""
    twin = namesake(module)
    if twin:
        return twin
    if isinstance(module, SpikingNeuron):
        return (
            "its class has code of torch's that no other engine reads: write the neuron for all engines, a class of "
            "sc.base.Neuron with a step, of which snn.module(neuron) is the module"
        )
    return f"there is no such layer; known are {_known(*_TO_LAYER, *STEPWISE, *WHOLE, DeltaLeaky)}"


def namesake(module: Any) -> str:
    """The remedy for another library's neuron that has the name of one of ours; "" for all other modules."""
    name, library = type(module).__name__, type(module).__module__.partition(".")[0]
    ours = isinstance(module, Faced) or library in ("spikecore", "torch")
    if ours or name not in {kind.__name__ for kind in NEURONS}:
        return ""
    return f"this is {library}'s {name}: import {name} from spikecore.nn instead"


def to_torch(model: Model) -> nn.Module:
    """The module of a model, with its weights: the inverse of ``from_torch``.

    Args:
        model: a ``spikecore.Model`` of neurons, the user's own included, and of layers that torch has.

    Returns:
        A module for one time step, for ``snn.run`` or a loop; its neurons keep their state (``init_hidden=True``). A
        neuron with all its options in a module of snnTorch's name is that module, others are as ``snn.module`` makes.

    Raises:
        ValueError: a layer without counterpart, named by its place in the network.
    """
    from spikecore.api.training.model import Model

    if not isinstance(model, Model):
        raise TypeError(f"model={shown(model)} must be a spikecore.Model: of a network make one, sc.Model(network)")
    state = model.state()
    assert model.input_shape is not None  # it has weights
    like = shapes_of(model.network, model.input_shape)
    params, buffers = (unflatten(state[kind], getattr(like, kind)) for kind in ("params", "buffers"))
    return _module(model.network, "", params, buffers)


def _module(layer: Any, name: str, params: Any, buffers: Any) -> nn.Module:
    children = layer.children() if isinstance(layer, containers.Container) and layer.lowers else ()
    parts = {key: _module(child, _join(name, key), params[key], buffers.get(key, EMPTY)) for key, child in children}
    if type(layer) is containers.Sequential:
        return nn.Sequential(*parts.values())
    if type(layer) is joins.Residual:
        return Residual(**parts, join=layer.join)
    if isinstance(layer, containers.Container) and layer.lowers:
        return GraphModule(layer, parts)
    if hasattr(layer, "as_module"):  # it wraps a module
        return layer.as_module({**flatten(params), **flatten(buffers)})
    try:
        if isinstance(layer, Stepper):
            return neuron_to_module(layer, params)
        if type(layer) in REMEMBERING:
            if buffers:
                raise NoCounterpart("its width is annealed: sc.compression.round_delays(model) ends that")
            return wrapped(layer, params, init_hidden=True)
        if type(layer) not in _TO_MODULE and isinstance(layer, Stateless) and not (params or buffers):
            return StatelessModule(layer)
        if type(layer) not in _TO_MODULE:
            raise NoCounterpart(
                f"there is no such module; known are {_known(*_TO_MODULE, *REMEMBERING)}, all neurons, and layers "
                "without parameters and statistics"
            )
        module = _TO_MODULE[type(layer)].to_module(layer)
    except (ValueError, TypeError) as error:
        raise NoCounterpart(f"to_torch: {_place(name, layer_name(layer))}: {error}") from None
    _copy({**flatten(params), **flatten(buffers)}, {**dict(module.named_parameters()), **dict(module.named_buffers())})
    return module


def neuron_to_module(layer: Any, params: Any) -> nn.Module:
    """The module of a neuron with these parameters: of snnTorch's name if that has all options, else a general one."""
    arrays, row = flatten(params), _ROWS.get(type(layer))
    module = None if row is None else _by_row(row, layer, arrays)
    if module is None:
        return wrapped(layer, params, init_hidden=True)
    _copy(arrays, module.learned())
    return module


def _by_row(row: Any, layer: Any, arrays: Mapping[str, Any]) -> Any:
    """The module of a row of the table with a neuron's options and values; None if it cannot have them."""
    known, options = row.face.signature.parameters, {"init_hidden": True, "spike_grad": layer.surrogate}
    for name in layer.parameter_names():
        value, flag = getattr(layer, name), "learn_recurrent" if name == "V" else f"learn_{name}"
        learned = isinstance(value, Learn)
        if name == "V" and layer.all_to_all:
            continue
        if learned and (value.dt is not None or flag not in known):
            return None
        if name in known:
            path = next((p for p in (name, f"neuron.{name}", f"connection.{name}") if p in arrays), None)
            value = np.array(arrays[path] if path else values_of(value))
            options[name] = torch.as_tensor(value).to(torch.get_default_dtype())
            options[flag] = learned
        elif value != getattr(type(layer), name):
            return None
    others = [f.name for f in fields(layer) if f.name not in (*layer.parameter_names(), "surrogate", "parallel")]
    options.update({n: getattr(layer, n) for n in others if n in known and getattr(layer, n) is not None})
    module = row(**{name: value for name, value in options.items() if name in known})
    return module if all(getattr(module._layer, n) == getattr(layer, n) for n in others) else None


def _copy(arrays: Mapping[str, Any], targets: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in arrays.items():
            targets[name].copy_(torch.as_tensor(np.array(value)).reshape(targets[name].shape))


def _place(where: str, name: str) -> str:
    return f"layer {where} ({name})" if where else name


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _known(*kinds: Any) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))

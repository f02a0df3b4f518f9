"""Weights of SpikingJelly's modules for networks of the zoo: by tables of names, which stand on the cards.

SpikingJelly's neurons fire at U >= threshold, ours above it. Of floating-point numbers, those that are at least a
threshold are those above the next lower number, so that with this one as threshold both fire alike.
"""

from __future__ import annotations

import re
import struct
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, NamedTuple, Tuple

from spikecore import Residual
from spikecore.api.core.host import to_numpy
from spikecore.api.core.parameters import values_of
from spikecore.api.layers.containers import Container, with_children
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.rebuilding import change_network
from spikecore.arguments import ArrayLike, checked
from spikecore.base import Layer
from spikecore.zoo.card import Names
from spikecore.zoo.catalogue import CARDS

if TYPE_CHECKING:
    from spikecore import Model

COUNTER = "num_batches_tracked"  # of batch norms; those here have a fixed momentum and count nothing
ENTRIES = {  # of a layer: theirs, ours
    **{name: name for name in ("weight", "bias", "running_mean", "running_var")},
    "w": "beta",  # of a PLIF: 1 - beta is the sigmoid of their parameter, beta that of ours
}
NEGATED = "w"
WRAPPERS = {  # what they put before each key, and the module that they wrap
    "module.": ("torch.nn.DataParallel", "module.module"),
    "_orig_mod.": ("torch.compile", "module._orig_mod"),
}


class StateDictKeys(NamedTuple):
    """The keys of a state dict by the names of a network."""

    keys: Dict[str, str]  # by our names
    parts: Dict[str, Tuple[int, int]]  # by our names: which of how many equal parts of an array; all of it otherwise
    unknown: List[str]  # those that the table does not have

    def read(self, own: str, arrays: Mapping[str, Any], axes: int) -> Any:
        """The array for a name of ours, with ``axes`` axes: theirs may lack an axis of a convolution of size 1."""
        key = self.keys[own]
        value = to_numpy(arrays[key])
        value = -value if key.rpartition(".")[2] == NEGATED else value
        if own in self.parts:
            part, parts = self.parts[own]
            size = len(value) // parts
            value = value[part * size : (part + 1) * size]
        return value.reshape(value.shape + (1,) * (axes - value.ndim))


@checked
def load_spikingjelly(model: Model, state_dict: Mapping[str, ArrayLike]) -> None:
    """Give a model the weights of the SpikingJelly module of the same architecture.

    A state dict has weights only: build the network with the options of the module (sizes, neuron, join) yourself. The
    architecture is recognised by its names. SpikingJelly's neurons fire at U >= threshold, ours above it, so each
    threshold of ``model.network`` becomes the next lower number of the engine's dtype; ``model.notes["thresholds"]``
    says so. Thresholds with this note are not changed again.

    Args:
        model: of a network of ``spikecore.zoo``, on any engine. It has weights, since it was given ``input_shape``.
        state_dict: ``module.state_dict()``: tensors or arrays by name.

    Raises:
        ValueError: a key has no place in the network, a weight of the network has no key, or a shape differs; names
            the key. Or ``state_dict`` is empty, a checkpoint with the state dict in it, or that of a wrapped module.
            Or the blocks of SpikingJelly's ``sew_resnet50`` compute something else ("iand"). The model stays as it was.
        RuntimeError: the model has no weights yet.
    """
    _check_module(state_dict)
    state = model.state()
    arrays = {**state["params"], **state["buffers"]}
    tables = {card.name: placed(card.spikingjelly, state_dict) for card in CARDS if card.spikingjelly}
    name = min(tables, key=lambda each: len(_amiss(tables[each], arrays)))
    amiss = _amiss(tables[name], arrays)
    if amiss:
        raise ValueError(f"load_spikingjelly: the network is not that of the state dict. As zoo.{name}, {amiss[0]}")
    if name == "sew_resnet50" and _joins(model.network, "iand"):
        raise ValueError(
            "load_spikingjelly: join='iand' inverts the body of a block, as in the paper, but the blocks of "
            "SpikingJelly's sew_resnet50 with cnf='IAND' invert the shortcut: outputs would differ. Use join='add' or "
            "'and'"
        )
    for part in ("params", "buffers"):
        for own, like in state[part].items():
            key, value = tables[name].keys[own], tables[name].read(own, state_dict, like.ndim)
            if value.shape != like.shape:
                raise ValueError(
                    f"load_spikingjelly: {key} has shape {value.shape}, {own} of the network has {like.shape}; build "
                    f"zoo.{name}(...) with the sizes of the module"
                )
            state[part][own] = value.astype(like.dtype)
    if "thresholds" in model.notes:
        model.load_state(state)
        return
    change_network(model, _firing_at(model.network, model.engine.dtype), state)
    model.notes["thresholds"] = "the next lower numbers: SpikingJelly's neurons fire at U >= threshold"


def _below(threshold: Any, dtype: str) -> Any:
    """The largest number of a dtype below a threshold; of a nested list, one for each."""
    if isinstance(threshold, list):
        return [_below(one, dtype) for one in threshold]
    number, integer = {"float32": ("<f", "<i"), "float64": ("<d", "<q")}[dtype]
    (bits,) = struct.unpack(integer, struct.pack(number, threshold))
    if bits == 0:
        (bits,) = struct.unpack(integer, struct.pack(number, -0.0))
    lower: float = struct.unpack(number, struct.pack(integer, bits + 1 if bits < 0 else bits - 1))[0]
    return lower  # as integers, numbers above 0 rise with their bits, those below 0 fall


def _firing_at(layer: Any, dtype: str) -> Any:
    """A layer whose neurons fire at their threshold, and those of the layers in it."""
    if isinstance(layer, Container):
        return with_children(layer, {name: _firing_at(child, dtype) for name, child in layer.children()})
    changed = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            changed[field.name] = _firing_at(value, dtype)
        elif field.name == "threshold" and isinstance(layer, Stepper):  # one that is learned has no key
            values = values_of(value)
            changed[field.name] = _below(values if isinstance(values, float) else values.tolist(), dtype)
    return replace(layer, **changed) if changed else layer


def _check_module(state_dict: Mapping[str, Any]) -> None:
    """Refuse what is no module's state dict, or that of a wrapper around the module."""
    if not state_dict:
        raise ValueError("load_spikingjelly: state_dict is empty; pass module.state_dict() of a SpikingJelly module")
    for key, value in state_dict.items():
        if not isinstance(key, str):
            raise ValueError(f"load_spikingjelly: state_dict has the key {key!r}; keys must be names of weights")
        if isinstance(value, Mapping):
            raise ValueError(
                f"load_spikingjelly: state_dict[{key!r}] is a dict, not an array; of a checkpoint pass the state dict "
                f"in it, e.g. checkpoint[{key!r}]"
            )
    for prefix, (wrapper, module) in WRAPPERS.items():
        if all(key.startswith(prefix) for key in state_dict):
            raise ValueError(
                f"load_spikingjelly: {next(iter(state_dict))} has no place: all keys begin with {prefix!r}, which "
                f"{wrapper} adds; pass {module}.state_dict(), or take {prefix!r} off the keys"
            )


def _joins(layer: Layer, join: str) -> bool:
    """Whether a network has residual connections that join in this way."""
    if isinstance(layer, Residual) and layer.join == join:
        return True
    return isinstance(layer, Container) and any(_joins(child, join) for _, child in layer.children())


def placed(table: Mapping[str, Names], keys: Iterable[str]) -> StateDictKeys:
    """The keys of a state dict by the names of a network.

    Args:
        table: names of layers, theirs and ours, see ``Card``.
        keys: of the state dict.
    """
    patterns = [(re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]+)", re.escape(theirs))), ours)
                for theirs, ours in table.items()]  # fmt: skip
    found: Dict[str, str] = {}
    parts: Dict[str, Tuple[int, int]] = {}
    unknown = []
    for key in keys:
        layer, _, entry = key.rpartition(".")
        if entry == COUNTER:
            continue
        matches = [(ours, match) for pattern, ours in patterns for match in [pattern.fullmatch(layer)] if match]
        if len(matches) == 1 and entry in ENTRIES:
            ours, match = matches[0]
            names = (ours,) if isinstance(ours, str) else ours
            for part, each in enumerate(names):
                own = f"{each.format(**match.groupdict())}.{ENTRIES[entry]}"
                found[own] = key
                if len(names) > 1:
                    parts[own] = part, len(names)
        else:
            unknown.append(key)
    return StateDictKeys(found, parts, unknown)


def _amiss(given: StateDictKeys, arrays: Mapping[str, Any]) -> List[str]:
    """The faults by which a state dict is not the network's, in words."""
    return [
        *(f"{key} has no place" for key in given.unknown),
        *(f"{key} has no place: the network has no {own}" for own, key in given.keys.items() if own not in arrays),
        *(f"{own} of the network has no key" for own in arrays if own not in given.keys),
    ]

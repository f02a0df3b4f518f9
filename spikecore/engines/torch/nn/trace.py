"""One step of a network as a graph, or the reason why a sequence has to run step by step.

``torch.fx`` runs ``forward`` once on stand-ins. What it cannot see would make the graph wrong: a tensor kept from one
step to the next, a look at a neuron's state, a random draw. So attributes, buffers and random generators are compared
before and after, states are hidden meanwhile, and whatever differs is put back and makes the network untraceable.
"""

from __future__ import annotations

import operator
import random
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from torch import fx, nn

from spikecore.engines.torch.nn.kinds import all_hooked, listened
from spikecore.engines.torch.nn.layers import GradedSpikes
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.state import neurons_of

CONTAINERS = (list, dict, set)


class Untraceable(Exception):
    """The network cannot be run layer by layer; the message says why."""


class _Unread:
    """Stands in for a state during tracing; reading it is what tracing cannot follow."""

    def __getattr__(self, name: str) -> Any:
        raise Untraceable("forward looks at the state of a neuron")

    def __bool__(self) -> bool:
        raise Untraceable("forward looks at the state of a neuron")


class _Proxy(fx.Proxy):
    """A stand-in whose ``y += x`` is in the graph as such: fx's would only give ``y`` a new value."""

    def __getattr__(self, name: str) -> Any:
        return _Attribute(self, name)


class _Attribute(fx.proxy.Attribute):
    """What a stand-in's attribute may be: its method, or ``y.T`` and the like."""


def _recorded(operation: Any) -> Any:
    return lambda proxy, other: proxy.tracer.create_proxy("call_function", operation, (proxy, other), {})


def _set(proxy: Any, name: str, value: Any) -> None:
    if name not in ("node", "tracer", "root", "attr", "_node"):  # fx's own
        raise Untraceable(f"forward sets {name!r} of a tensor")
    object.__setattr__(proxy, name, value)


for _kind in (_Proxy, _Attribute):
    setattr(_kind, "__setattr__", _set)  # noqa: B010  (mypy lets nobody assign a method)
    for _name in "iadd isub imul itruediv ifloordiv imod ipow imatmul iand ior ixor ilshift irshift".split():
        setattr(_kind, f"__{_name}__", _recorded(getattr(operator, _name)))


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_library_neuron(m) or isinstance(m, GradedSpikes) or super().is_leaf_module(m, module_qualified_name)


_LEAVES = _Tracer()  # only asked which modules are layers: to make one takes long


def is_library_neuron(module: Any) -> bool:
    """Whether the module is one of this library's, with its own ``forward``."""
    return isinstance(module, SpikingNeuron) and type(module).forward.__module__.startswith("spikecore.")


def trace(net: nn.Module) -> fx.Graph:
    """The graph of one step.

    Raises:
        Untraceable: fx cannot follow ``forward``, or would not see all it does.
    """
    _check_calls(net)
    if _LEAVES.is_leaf_module(net, ""):
        return _chain(("",))
    names = _links(net)
    if names is not None and set(names) <= set(dict(net.named_modules())):  # a module used twice has one name
        return _chain(tuple(names))
    before = _Snapshot(net)
    try:
        graph = _Tracer().trace(net)
    except Exception as error:  # fx raises what forward makes of its stand-ins: anything
        before.restore()
        reason = str(error).strip().splitlines()
        raise Untraceable(f"torch.fx cannot trace it: {reason[0] if reason else type(error).__name__}") from None
    changed = before.changes()
    before.restore()
    if changed:
        raise Untraceable(f"forward changes {changed[0]}")
    return graph


def _check_calls(net: nn.Module) -> None:
    """Refuse what would not be called: a graph knows what the class of a layer does, and hooks of layers alone."""
    if all_hooked():
        raise Untraceable("hooks listen to the calls of all modules")
    for name, module in net.named_modules():
        place = f"layer {name!r}" if name else "the network"
        if "forward" in vars(module):
            raise Untraceable(f"the forward of {place} was exchanged")
        if type(module).__call__ is not nn.Module.__call__:
            raise Untraceable(f"{place} has a __call__ of its own")
        if listened(module) and not _LEAVES.is_leaf_module(module, name):
            raise Untraceable(f"{place} has hooks and is no single layer")


def _links(net: nn.Module, prefix: str = "") -> Optional[List[str]]:
    """The names of the layers of a plain ``nn.Sequential``, which needs no look at ``forward``; None for all else."""
    if type(net) is not nn.Sequential:
        return None
    names: List[str] = []
    for name, module in net.named_children():
        inside = [prefix + name] if _LEAVES.is_leaf_module(module, name) else _links(module, f"{prefix}{name}.")
        if inside is None:
            return None
        names += inside
    return names if len(set(net)) == len(net) else None


@lru_cache(maxsize=256)
def _chain(names: Tuple[str, ...]) -> fx.Graph:
    """The graph of layers one after the other, for reading; a network that is one layer has the name ""."""
    graph = fx.Graph()
    value = graph.placeholder("x")
    for name in names:
        value = graph.create_node("call_module", name, (value,))
    graph.output(value)
    return graph


class _Snapshot:
    """What ``forward`` may change without a trace; neurons' states are hidden until it is restored."""

    def __init__(self, net: nn.Module) -> None:
        self.states = [(neuron, neuron.hidden()) for _, neuron in neurons_of(net)]
        for neuron, values in self.states:
            for name in values:
                neuron.__dict__[name] = _UNREAD
        self.modules = [(name, module, dict(vars(module))) for name, module in net.named_modules()]
        self.contents = [
            (f"{name}.{key}".lstrip("."), value, value.copy())
            for name, _, held in self.modules
            for key, value in held.items()
            if isinstance(value, CONTAINERS) and not _internal(key)
        ]
        self.buffers = [(name, buffer, buffer._version, buffer.clone()) for name, buffer in net.named_buffers()]
        self.random = _generators()

    def changes(self) -> List[str]:
        """Names of what has changed."""
        found = [
            f"the attribute {f'{name}.{key}'.lstrip('.')!r} from step to step"
            for name, module, held in self.modules
            for key, value in vars(module).items()
            if not key.startswith("_tensor_constant") and (key not in held or held[key] is not value)
        ]
        found += [f"what is in {name!r}" for name, value, copy in self.contents if not _same(value, copy)]
        found += [f"the buffer {name!r}" for name, buffer, version, _ in self.buffers if buffer._version != version]
        if not _equal_generators(self.random, _generators()):
            found.append("a random number generator outside of layers")
        return found

    def restore(self) -> None:
        """Put everything back."""
        for _, module, held in self.modules:
            module.__dict__.clear()
            module.__dict__.update(held)
        for _, value, copy in self.contents:
            value.clear()
            value.extend(copy) if isinstance(value, list) else value.update(copy)
        for _, buffer, version, clone in self.buffers:
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(clone)
        for neuron, values in self.states:
            neuron.__dict__.update(values)
        python, host, device = self.random
        random.setstate(python)
        np.random.set_state(host)  # noqa: NPY002  (the generator that forward may draw from)
        torch.set_rng_state(device)


_UNREAD = _Unread()
_INTERNAL = set(vars(nn.Module()))


def _internal(name: str) -> bool:
    """Whether an attribute is torch's own bookkeeping."""
    return name in _INTERNAL


def _same(a: Any, b: Any) -> bool:
    if len(a) != len(b):
        return False
    if isinstance(a, dict):
        return all(key in b and b[key] is value for key, value in a.items())
    return all(x is y for x, y in zip(a, b)) if isinstance(a, list) else a == b


def _generators() -> Tuple[Any, Dict[str, Any], Any]:
    host: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), host, torch.get_rng_state()


def _equal_generators(a: Any, b: Any) -> bool:
    host = (a[1]["state"], b[1]["state"])
    return bool(
        a[0] == b[0]
        and host[0]["pos"] == host[1]["pos"]
        and (host[0]["key"] == host[1]["key"]).all()
        and torch.equal(a[2], b[2])
    )

"""One step of a network as a graph, or the reason why a sequence has to run step by step.

``torch.fx`` runs ``forward`` once on stand-ins. What it cannot see would make the graph wrong: a value kept from one
step to the next, a look at a neuron's state, a random draw. So what hangs on the network and random generators are
compared before and after, states are hidden meanwhile, and whatever differs is put back and makes the network
untraceable.
"""

from __future__ import annotations

import operator
import sys
import threading
from functools import lru_cache
from typing import Any, List, Optional, Tuple

import torch
from torch import fx, nn

from spikecore.engines.torch.nn.kinds import all_hooked, listened
from spikecore.engines.torch.nn.layers import GradedSpikes
from spikecore.engines.torch.nn.leaky import DeltaLeaky
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.snapshot import Snapshot, Unedited, Untraceable


class _Typed:
    """What does not pretend to be a type: ``isinstance`` would answer for the stand-in, and ``forward`` go astray."""

    @property  # type: ignore[misc]  # that it can be read is enough
    def __class__(self) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("torch."):
            return type(self)
        return self._stands_for()

    def _stands_for(self) -> Any:
        raise Untraceable("forward asks for the type of a value")


class _Proxy(_Typed, fx.Proxy):
    """A stand-in whose ``y += x`` is in the graph as such: fx's would only give ``y`` a new value."""

    def __getattr__(self, name: str) -> Any:
        return _Attribute(self, name)


class _Tensor(_Proxy):
    """A stand-in for what a neuron returns, which is a tensor."""

    def _stands_for(self) -> Any:
        return torch.Tensor


class _Attribute(_Typed, fx.proxy.Attribute):
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
    """fx's, but for other threads: fx exchanges ``nn.Module.__call__``, which they go through as well."""

    def __init__(self) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]  # functions of ``math`` are for numbers
        self.thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        made = super().call_module(m, forward, args, kwargs)
        return _returned(m, made) if is_library_neuron(m) and m.states else made

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_library_neuron(m) or isinstance(m, GradedSpikes) or super().is_leaf_module(m, module_qualified_name)


def _returned(neuron: Any, made: Any) -> Any:
    """What a neuron returns, as the tensor or the tuple of tensors that it is."""
    if isinstance(neuron, DeltaLeaky):
        return _Tensor(made[0].node, made.tracer), tuple(_Tensor(made[1][i].node, made.tracer) for i in range(2))
    count = len(neuron.returned_states())
    if not count:
        return _Tensor(made.node, made.tracer)
    return tuple(_Tensor(made[i].node, made.tracer) for i in range(count + 1))


_ONE_AT_A_TIME = threading.RLock()
_LEAVES = _Tracer()  # only asked which modules are layers: to make one takes long


def is_library_neuron(module: Any) -> bool:
    """Whether the module is one of this library's, with its own ``forward``."""
    return isinstance(module, SpikingNeuron) and type(module).forward.__module__.startswith("spikecore.")


def trace(net: nn.Module) -> fx.Graph:
    """The graph of one step.

    Raises:
        Untraceable: fx cannot follow ``forward``, or would not see all it does.
    """
    return _apart(net) if "torch._dynamo" in sys.modules else _trace(net)


def _trace(net: nn.Module) -> fx.Graph:
    _check_calls(net)
    if _LEAVES.is_leaf_module(net, ""):
        return _chain(("",))
    names = _links(net)
    if names is not None and set(names) <= set(dict(net.named_modules())):  # a module used twice has one name
        return _chain(tuple(names))
    with _ONE_AT_A_TIME:
        return _followed(net)


_apart = getattr(torch, "_disable_dynamo", lambda function: function)(_trace)  # torch.compile is not to read this


def _followed(net: nn.Module) -> fx.Graph:
    """The graph that fx makes of ``forward``; whatever happens, the network is then as it was."""
    before, patched = Snapshot(net), (nn.Module.__call__, nn.Module.__getattr__)

    def undo() -> None:
        before.restore()
        if (nn.Module.__call__, nn.Module.__getattr__) != patched:  # fx was interrupted when it put them back
            nn.Module.__call__, nn.Module.__getattr__ = patched  # type: ignore[method-assign]  # as fx does

    unedited = Unedited()
    try:
        before.hide()
        with unedited:
            graph = _Tracer().trace(net)
        changed = before.changes()
    except Exception as error:  # fx raises what forward makes of its stand-ins: anything
        reason = str(error).strip().splitlines()
        raise Untraceable(f"torch.fx cannot trace it: {reason[0] if reason else type(error).__name__}") from None
    finally:
        unedited.on = False
        try:
            undo()
        except BaseException:  # Ctrl-C in the middle
            undo()
            raise
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
        if is_library_neuron(module) and module.overridden():
            raise Untraceable(f"{place} is made by snnTorch's protocol, for {module.overridden()}")
        if _has_own_call(type(module)):  # type: ignore[arg-type]  # classes can be hashed
            raise Untraceable(f"{place} has a __call__ of its own")
        if listened(module) and not _LEAVES.is_leaf_module(module, name):
            raise Untraceable(f"{place} has hooks and is no single layer")


@lru_cache(maxsize=1024)
def _has_own_call(kind: Any) -> bool:
    return any("__call__" in vars(base) for base in kind.__mro__[: kind.__mro__.index(nn.Module)])


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

"""Which graphs of a step may be run layer by layer: what feeds back from step to step must stay in its layer."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict

from torch import fx

from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.kinds import (
    FRESH,
    IN_PLACE,
    OTHER_IN_PLACE,
    draws,
    draws_in_function,
    function_name,
    learns_statistics,
)
from spikecore.engines.torch.nn.snapshot import Untraceable
from spikecore.engines.torch.nn.trace import is_library_neuron


def check(graph: fx.Graph, modules: Dict[str, Any]) -> None:
    """Refuse a graph whose layers cannot be taken out of the loop over time one after the other.

    Raises:
        Untraceable: why.
    """
    used = Counter(node.target for node in graph.nodes if node.op == "call_module")
    random = 0
    for node in graph.nodes:
        if node.op == "call_module":
            module = modules[node.target]
            _check_layer(node, modules, used[node.target])
            random += draws(module)
        elif node.op == "get_attr" and node.target.startswith("_tensor_constant"):
            raise Untraceable("forward uses a tensor that is neither parameter nor buffer and may change between steps")
        elif node.op in ("call_function", "call_method"):
            _check_function(node, modules)
            random += draws_in_function(node)
    if random > 1:
        raise Untraceable(f"{random} layers draw random numbers at every step, and their order would change")


def _check_layer(node: Any, modules: Dict[str, Any], count: int) -> None:
    module = modules[node.target]
    stateful = isinstance(module, Hidden) and module.states
    if not stateful and any(isinstance(part, Hidden) and part.states for part in module.modules()):
        raise Untraceable(f"layer {node.target!r} is torch's {type(module).__name__}, with neurons inside")
    if count > 1 and (stateful or learns_statistics(module)):
        raise Untraceable(f"layer {node.target!r} is used {count} times in one step")
    if stateful and (not is_library_neuron(module) or len(node.args) != 1 or node.kwargs):
        raise Untraceable(f"layer {node.target!r} is given its state by forward")
    if getattr(module, "inplace", False) and not _may_overwrite(node.args[0], modules):
        raise Untraceable(f"layer {node.target!r} works in place on a value that is used elsewhere")


def _check_function(node: Any, modules: Dict[str, Any]) -> None:
    name = function_name(node)
    inside = node.op == "call_method" and name.endswith("_") and not name.endswith("__")
    setitem = name in OTHER_IN_PLACE or node.kwargs.get("inplace") is True
    if node.target in IN_PLACE:
        if not _may_overwrite(node.args[0], modules):
            raise Untraceable(f"{name} works in place on a value that is used elsewhere")
    elif inside or setitem:
        raise Untraceable(f"{name} works in place")


def _may_overwrite(source: Any, modules: Dict[str, Any]) -> bool:
    """Whether a value is a layer's own memory and nobody else looks at it."""
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
        return False
    return type(modules[str(source.target)]) in FRESH

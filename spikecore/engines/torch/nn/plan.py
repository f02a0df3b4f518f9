"""Which graphs of a step may be run layer by layer: what feeds back from step to step must stay in its layer."""

from __future__ import annotations

import inspect
from collections import Counter
from functools import lru_cache
from typing import Any, Dict, Optional

from torch import fx, nn

from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.kinds import (
    BY_CHANNEL,
    FRESH,
    IN_PLACE,
    LEAVING,
    ORDERING,
    ORDERS,
    OTHER_IN_PLACE,
    REORDERS,
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


def draws_on_maps(graph: fx.Graph, modules: Dict[str, Any]) -> bool:
    """Whether random numbers are drawn for values that lie in memory as a convolution left them.

    Raises:
        Untraceable: they are drawn in another order than that of the axes.
    """
    todo = [node for node in graph.nodes if _draws_in_order_of_memory(node, modules)]
    seen, found = set(todo), False
    while todo:
        for source in todo.pop().all_input_nodes:
            if source in seen:
                continue
            seen.add(source)
            kind = type(modules[str(source.target)]) if source.op == "call_module" else None
            name = None
            if source.op in ("call_function", "call_method"):
                name = source.args[1] if source.target is getattr else function_name(source)
            if name in REORDERS:
                raise Untraceable(f"random numbers are drawn for what {name} has reordered")
            found |= kind is nn.Conv2d
            if kind not in ORDERING and name not in ORDERS:
                todo.append(source)
    return found


def _draws_in_order_of_memory(node: Any, modules: Dict[str, Any]) -> bool:
    if node.op == "call_module":
        return draws(modules[node.target]) and type(modules[node.target]) not in BY_CHANNEL
    return node.op in ("call_function", "call_method") and draws_in_function(node)


def _check_layer(node: Any, modules: Dict[str, Any], count: int) -> None:
    module = modules[node.target]
    stateful = isinstance(module, Hidden) and module.states
    if not stateful and any(isinstance(part, Hidden) and part.states for part in module.modules()):
        place = f"layer {node.target!r}" if node.target else "the network"
        raise Untraceable(f"{place} is torch's {type(module).__name__}, with neurons inside")
    if count > 1 and (stateful or learns_statistics(module)):
        raise Untraceable(f"layer {node.target!r} is used {count} times in one step")
    if stateful and (not is_library_neuron(module) or len(node.args) != 1 or node.kwargs):
        raise Untraceable(f"layer {node.target!r} is given its state by forward")
    if getattr(module, "inplace", False) and not (node.args and _may_overwrite(node.args[0], modules)):
        raise Untraceable(f"layer {node.target!r} works in place on a value that is used elsewhere")


def _check_function(node: Any, modules: Dict[str, Any]) -> None:
    name = function_name(node)
    if node.target in IN_PLACE:
        if not _may_overwrite(node.args[0], modules):
            raise Untraceable(f"{name} works in place on a value that is used elsewhere")
    elif _works_in_place(node, name):
        raise Untraceable(f"{name} works in place")
    elif name in LEAVING:
        raise Untraceable(f"{name} makes something that depends on the data and is no tensor, or none of a known shape")


def _works_in_place(node: Any, name: str) -> bool:
    operators = getattr(node.target, "__module__", "") == "_operator"  # and_, not_
    if name in OTHER_IN_PLACE or node.kwargs.get("out") is not None:
        return True
    if name.endswith("_") and not name.endswith("__") and not operators:
        return True
    place = None if operators or isinstance(node.target, str) else _place_of_inplace(node.target)
    given = node.args[place] if place is not None and place < len(node.args) else node.kwargs.get("inplace", False)
    return given is not False


@lru_cache(maxsize=1024)
def _place_of_inplace(function: Any) -> Optional[int]:
    """Which argument of a function says that it works in place."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # torch's functions in C
        return None
    return names.index("inplace") if "inplace" in names else None


def _may_overwrite(source: Any, modules: Dict[str, Any]) -> bool:
    """Whether a value is a layer's own memory and nobody else looks at it."""
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
        return False
    return type(modules[str(source.target)]) in FRESH

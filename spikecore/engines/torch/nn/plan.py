"""Which graphs of a step may be run layer by layer: what feeds back from step to step must stay in its layer."""

from __future__ import annotations

import inspect
from collections import Counter
from functools import lru_cache
from typing import Any, Dict, Optional

from torch import fx

from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.kinds import (
    FRESH,
    IN_PLACE,
    LEAVING,
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

"""Removal of the parts that a forward step does not need: derivatives' words, repeated views, unread values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from spikecore.export.step_graph import Argument, Node, StepGraph, Value, needed

VIEWS = "reshape", "expand_dims", "squeeze"


def simplified(graph: StepGraph) -> StepGraph:
    """The same step with fewer words; its values are the same to the bit.

    - ``stop_gradient`` is the identity, and so is ``astype`` to the type that a value has.
    - A straight-through estimator, ``stop(q) + (x - stop(x))``, is q (for finite x).
    - Views that keep the order of the numbers are one ``reshape``, and none where the shape is the same.
    - Words that are said twice are computed once; what nobody reads is left out.
    """
    same: Dict[Value, Value] = {}
    known: Dict[Any, Value] = {}
    made: Dict[Value, Node] = {}
    kept: List[Node] = []
    for node in graph.nodes:
        node = replace(node, arguments=tuple(_as(same, a) for a in node.arguments))
        alias = _alias(graph, made, node)
        if alias is None and _is_view(graph, node):
            node = _view(graph, made, node)
            alias = node.reads()[0] if graph.shapes[node.reads()[0]] == graph.shapes[node.out] else None
        if alias is None:
            alias = known.setdefault(_key(node), node.out)
        if alias != node.out:
            same[node.out] = alias
            continue
        made[node.out] = node
        kept.append(node)
    states = tuple(replace(state, after=_as(same, state.after)) for state in graph.states)
    graph = replace(graph, output=_as(same, graph.output), states=states)
    nodes = needed(kept, graph.ends())
    live = {graph.x, *(s.before for s in states), *(node.out for node in nodes)}
    return replace(
        graph,
        nodes=nodes,
        shapes={v: shape for v, shape in graph.shapes.items() if v in live},
        dtypes={v: dtype for v, dtype in graph.dtypes.items() if v in live},
    )


def _as(same: Dict[Value, Value], argument: Argument) -> Any:
    return same.get(argument, argument) if type(argument) is Value else argument


def _key(node: Node) -> Any:
    """Equal for nodes that compute the same."""

    def part(a: Argument) -> Any:
        if isinstance(a, np.ndarray):  # by identity: to print it would leave most numbers out
            return "array", id(a)
        return tuple(map(part, a)) if type(a) in (tuple, list) else (type(a).__name__, repr(a))

    return node.word, part(node.arguments), part(sorted(node.options.items()))


def _alias(graph: StepGraph, made: Dict[Value, Node], node: Node) -> Optional[Value]:
    """The value that the node repeats, if it does."""
    if node.word == "stop_gradient" or (
        node.word == "astype" and graph.dtypes[node.reads()[0]] == graph.dtypes[node.out]
    ):
        return node.reads()[0]
    if node.word == "add" and len(node.reads()) == 2:
        for value, other in (node.reads(), node.reads()[::-1]):
            zero = made.get(other)
            nothing = zero is not None and zero.word == "subtract" and len(set(zero.reads())) < len(zero.reads())
            if nothing and all(of[value] == of[node.out] for of in (graph.shapes, graph.dtypes)):
                return value
    return None


def _is_view(graph: StepGraph, node: Node) -> bool:
    """Whether a node gives the same numbers in the same order."""
    if len(node.reads()) != 1:
        return False
    before, after = graph.shapes[node.reads()[0]], graph.shapes[node.out]
    if math.prod(before) != math.prod(after):
        return False
    if node.word == "take_slice":  # e.g. x[0, ...] of a single row; a step of -1 would turn the order
        key = node.arguments[1] if isinstance(node.arguments[1], tuple) else (node.arguments[1],)
        return all(_keeps_order(k) for k in key)
    long = [n for n in before if n > 1]
    if node.word == "permute_dims":
        axes = node.arguments[1] if len(node.arguments) > 1 else node.options["axes"]
        return [a for a in axes if before[a] > 1] == sorted(a for a in axes if before[a] > 1)
    return node.word in VIEWS or (node.word == "broadcast_to" and long == [n for n in after if n > 1])


def _keeps_order(key: Any) -> bool:
    """Whether a part of a key leaves numbers in their order if it takes all of them."""
    if isinstance(key, slice):
        return (key.step or 1) == 1
    return key is None or key is Ellipsis or isinstance(key, (int, np.integer))


def _view(graph: StepGraph, made: Dict[Value, Node], node: Node) -> Node:
    """The view as one reshape of what the views before it read."""
    source = node.reads()[0]
    while source in made and made[source].word == "reshape":
        source = made[source].reads()[0]
    shape: Tuple[int, ...] = graph.shapes[node.out]
    return replace(node, word="reshape", arguments=(source, shape), options={})

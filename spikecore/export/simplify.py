"""Removal of the parts that a forward step does not need: derivatives' words, repeated views, unread values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Dict, Optional

import numpy as np

from spikecore.api.core.graph import Op, Type, Value, WordGraph
from spikecore.export.step_graph import StepGraph

VIEWS = "reshape", "expand_dims", "squeeze"


def simplified(graph: StepGraph) -> StepGraph:
    """The same step with fewer words; its values are the same to the bit.

    - ``stop_gradient`` is the identity, and so is ``astype`` to the type that a value has.
    - A straight-through estimator, ``stop(q) + (x - stop(x))``, is q (for finite x).
    - Views that keep the order of the numbers are one ``reshape``, and none where the shape is the same.
    - Words that are said twice are computed once; what nobody reads is left out.
    """
    new, same, made = WordGraph(), {}, {}  # type: WordGraph, Dict[Value, Value], Dict[Value, Op]
    for name, value in graph.graph.inputs.items():
        same[value] = new.input(name, graph.graph.type_of(value))
    for op in graph.ops:
        kind = graph.graph.type_of(op.out)
        op = op._replace(args=tuple(same[a] if type(a) is Value else a for a in op.args))
        alias = _alias(new, made, op, kind)
        if alias is None and _is_view(new, op, kind):
            op = _view(made, op, kind)
            alias = op.reads()[0] if new.type_of(op.reads()[0]).shape == kind.shape else None
        if alias is None:
            new.speaker = op.layer, op.kind
            alias = new.add(op.word, op.args, kind, op.options)
            made.setdefault(alias, op)
        same[op.out] = alias
    states = tuple(replace(s, before=same[s.before], after=same[s.after]) for s in graph.states)
    graph = replace(graph, graph=new, x=same[graph.x], output=same[graph.output], states=states)
    new.ops, _ = new.needed(graph.ends())
    return graph


def _alias(graph: WordGraph, made: Dict[Value, Op], op: Op, kind: Type) -> Optional[Value]:
    """The value that an operation gives back unchanged; None if it changes something."""
    reads = op.reads()
    if op.word == "stop_gradient" or (op.word == "astype" and graph.type_of(reads[0]).dtype == kind.dtype):
        return reads[0]
    if op.word == "add" and len(reads) == 2:
        for value, other in (reads, reads[::-1]):
            zero = made.get(other)
            nothing = zero is not None and zero.word == "subtract" and len(set(zero.reads())) < len(zero.reads())
            if nothing and graph.type_of(value) == kind:
                return value
    return None


def _is_view(graph: WordGraph, op: Op, kind: Type) -> bool:
    """Whether an operation gives the same numbers in the same order."""
    if len(op.reads()) != 1:
        return False
    before, after = graph.type_of(op.reads()[0]).shape or (), kind.shape or ()
    if math.prod(before) != math.prod(after):
        return False
    if op.word == "take_slice":  # e.g. x[0, ...] of a single row; a step of -1 would turn the order
        key = op.args[1] if isinstance(op.args[1], tuple) else (op.args[1],)
        return all(_keeps_order(k) for k in key)
    long = [n for n in before if n > 1]
    if op.word == "permute_dims":
        axes = op.args[1] if len(op.args) > 1 else op.options["axes"]
        return [a for a in axes if before[a] > 1] == sorted(a for a in axes if before[a] > 1)
    return op.word in VIEWS or (op.word == "broadcast_to" and long == [n for n in after if n > 1])


def _keeps_order(key: Any) -> bool:
    """Whether a part of a key leaves numbers in their order if it takes all of them."""
    if isinstance(key, slice):
        return (key.step or 1) == 1
    return key is None or key is Ellipsis or isinstance(key, (int, np.integer))


def _view(made: Dict[Value, Op], op: Op, kind: Type) -> Op:
    """The view as one reshape of what the views before it read."""
    source = op.reads()[0]
    while source in made and made[source].word == "reshape":
        source = made[source].reads()[0]
    return op._replace(word="reshape", args=(source, kind.shape), options={})

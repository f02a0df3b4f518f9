"""Less memory for more time: parts of a network, or of a batch, are computed once more on the way back.

Between the ways forward and back, autograd holds what each layer keeps. Here a group of layers, or of samples, holds
only its input; on the way back it runs a second time. Draws have names, so they are the same again, and what the second
run makes of running statistics is dropped, so these move once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch.utils.checkpoint import checkpoint

from spikecore.api.core.layer import Params, Pass, Result, Tree
from spikecore.api.core.lowering import Stage, Trees
from spikecore.api.core.tree import leaves, map_leaves, rebuild
from spikecore.api.functional.loss import scalar
from spikecore.api.layers.network import Output, RecordedStates, forward, objective
from spikecore.engines.torch.modes import compiling


def again(function: Any, *operands: Any) -> Any:
    """The result of a function; nothing between is kept, and the backward pass calls it once more."""
    if not torch.is_grad_enabled() or compiling():
        return function(*operands)
    return checkpoint(function, *operands, use_reentrant=False, preserve_rng_state=False)


@dataclass(frozen=True)
class Again(Stage):
    """Neighbouring stages that keep their input alone."""

    stages: Tuple[Stage, ...]

    @property
    def covers(self) -> Tuple[str, ...]:
        return tuple(name for stage in self.stages for name in stage.covers)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        inner = replace(run, engine=run.engine.keeping())  # a container within is not divided once more

        def through(x: Any) -> Result:
            trees = Trees()
            for stage in self.stages:
                x = trees.update(stage.run(inner, params, buffers, state, x))
            return trees.result(x)

        result: Result = again(through, x) if run.train else through(x)
        return result

    def explain(self, engine: Any) -> str:
        lines = [f"\n  {' + '.join(stage.covers)}: {stage.explain(engine)}" for stage in self.stages]
        return "computed once more on the way back" + "".join(lines)


def grouped(stages: Sequence[Stage], layers: int) -> Tuple[Stage, ...]:
    """Stages in groups of about so many layers. The last group keeps what it needs: it is the first on the way back."""
    groups: List[List[Stage]] = [[]]
    for stage in stages:
        if groups[-1] and sum(len(each.covers) for each in (*groups[-1], stage)) > layers:
            groups.append([])
        groups[-1].append(stage)
    return (*(Again(tuple(group)) for group in groups[:-1]), *groups[-1])


def by_parts(
    parts: int,
    network: Any,
    run: Pass,
    params: Params,
    buffers: Tree,
    x: Any,
    state: Optional[Tree],
    computed: Optional[int] = None,
) -> Tuple[Output, Tree]:
    """``forward`` of a training pass, some samples at a time, which keeps the outputs and the inputs alone.

    It is for networks that treat each sample by itself. Sample i draws what it draws in the whole batch. With
    ``computed``, so many parts are computed, and the others have any values: for when only shapes count.
    """
    pieces = pieces_of(x.shape[1], parts)
    outs, rest = [], pieces[computed:] if computed is not None else []
    for piece in pieces[:computed]:
        key = None if run.key is None else replace(run.key, first=run.key.first + piece.start)
        own = None if state is None else map_leaves(lambda s, piece=piece: s[piece], state)
        outs.append(again(forward, network, replace(run, key=key), params, buffers, x[:, piece], own)[0])
    missing, first = sum(piece.stop - piece.start for piece in rest), outs[0]

    def joined(trees: Sequence[Any], axis: int) -> Any:
        columns = zip(*([leaf for _, leaf in leaves(tree)] for tree in trees))
        return rebuild(trees[0], iter([_together(column, axis, missing) for column in columns]))

    states = {name: joined([out.states[name] for out in outs], 1) for name in first.states}
    spikes = _together([out.spikes for out in outs], 1, missing)
    return replace(
        first, spikes=spikes, states=RecordedStates(states), state=joined([out.state for out in outs], 0)
    ), buffers


def pieces_of(count: int, parts: int) -> List[slice]:
    """Slices that divide a batch of ``count`` samples into ``parts`` parts, the largest first."""
    size = -(-count // parts)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def _together(arrays: Sequence[Any], axis: int, missing: int) -> Any:
    """Arrays of parts of a batch as one, with so many undefined samples more."""
    shape = list(arrays[0].shape)
    shape[axis] = missing
    return torch.cat([*arrays, *([arrays[0].new_empty(shape)] if missing else [])], axis)


class TrainingStep(NamedTuple):
    """A training step on a batch: what ``objective`` takes."""

    network: Any
    loss: Any
    run: Pass
    params: Params
    buffers: Tree
    x: Any
    targets: Any
    state: Optional[Tree]
    lengths: Optional[Sequence[int]]


def objective_by_parts(
    step: TrainingStep, parts: int, computed: Optional[int] = None
) -> Tuple[Any, Tuple[Output, Tree]]:
    """``objective`` with a batch in parts. The loss is that of the whole batch, whatever it is."""
    if parts == 1:
        return objective(*step)
    network, loss, run, params, buffers, x, targets, state, lengths = step
    out, buffers = by_parts(parts, network, run, params, buffers, x, state, computed)
    return scalar(loss, run.engine, out, targets, lengths), (out, buffers)

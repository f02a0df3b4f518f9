"""Less memory for more time: parts of a network, or of a batch, are computed once more on the way back.

Between the ways forward and back, autograd holds what each layer keeps. Here a group of layers, or of samples, holds
only its input; on the way back it runs a second time. Draws have names, so they are the same again, and what the second
run makes of running statistics is dropped, so these move once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch.utils.checkpoint import checkpoint

from spikecore.api.core.layer import Params, Pass, Result, State, Tree
from spikecore.api.core.lowering import Stage, Trees
from spikecore.api.core.tree import leaves, map_leaves, rebuild
from spikecore.api.layers.network import Output, Recorded, forward
from spikecore.engines.torch.modes import compiling


def again(function: Any, *operands: Any) -> Any:
    """What a function gives; nothing between is kept, and the way back calls it once more."""
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
    parts: int, network: Any, run: Pass, params: Params, buffers: Tree, x: Any, state: Optional[Tree]
) -> Tuple[Output, Tree]:
    """``forward`` of a training pass, some samples at a time, which keeps the outputs and the inputs alone.

    It is for networks that treat each sample by itself. Sample i draws what it draws in the whole batch.
    """
    count = x.shape[1]
    pieces = [slice(i * count // parts, (i + 1) * count // parts) for i in range(min(parts, count))]
    outs = []
    for piece in pieces:
        key = None if run.key is None else replace(run.key, first=run.key.first + piece.start)
        own = None if state is None else map_leaves(lambda s, piece=piece: s[piece], state)
        outs.append(again(forward, network, replace(run, key=key), params, buffers, x[:, piece], own)[0])
    first = outs[0]
    states: Dict[str, State] = {
        name: rebuild(held, (torch.cat(each, 1) for each in _columns([out.states[name] for out in outs])))
        for name, held in first.states.items()
    }
    after = rebuild(first.state, (torch.cat(each) for each in _columns([out.state for out in outs])))
    spikes = torch.cat([out.spikes for out in outs], 1)
    return replace(first, spikes=spikes, states=Recorded(states), state=after), buffers


def _columns(trees: Sequence[Any]) -> Any:
    """The leaves of several trees of one structure, those of one place together."""
    return zip(*([leaf for _, leaf in leaves(tree)] for tree in trees))

"""The loop over time, differentiated by autograd. It runs where no kernel does; kernels are compared with it."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch.utils.checkpoint import checkpoint

from spikecore.api.core.tree import Params, State, leaves, map_leaves, rebuild
from spikecore.api.neurons.stepper import one_step, writes_into
from spikecore.engines.torch.modes import compiling, transformed


def loop(
    engine: Any,
    stepper: Any,
    params: Params,
    state: State,
    inputs: Any,
    steps: int,
    record: Tuple[str, ...],
    window: Optional[int],
) -> Tuple[Any, State, State]:
    """``Engine.scan``, step by step. With ``engine.checkpoint_every``, the backward pass computes segments again."""
    if not compiling():
        state = map_leaves(_in_memory, state)
    rows = inputs.unbind(0)  # not inputs[t], whose backward pass makes a whole array for each t
    rows = rows if len(rows) > 1 else rows * steps
    every = engine.checkpoint_every
    if every is None or not torch.is_grad_enabled():
        outputs, recorded, state = _segment(engine, stepper, params, state, rows, record, window, 0)
        return torch.stack(outputs), _stacked(recorded), state
    outputs, recorded = [], []
    for first in range(0, steps, every):
        part = stepper, params, state, rows[first : first + every], record, window, first
        part_outputs, states, state = checkpoint(_segment, engine, *part, use_reentrant=False, preserve_rng_state=False)
        outputs += part_outputs
        recorded += states
    return torch.stack(outputs), _stacked(recorded), state


def _in_memory(x: Any) -> Any:
    """A state to which a step may write: a single zero that is expanded, as at rest, becomes a full array."""
    return x.contiguous() if 0 in x.stride() else x


def _segment(
    engine: Any, stepper: Any, params: Any, state: Any, rows: Sequence[Any], record: Any, window: Any, first: int
) -> Tuple[List[Any], List[State], State]:
    """Run a segment of the steps that begins with step number ``first``."""
    outputs, recorded = [], []
    for t, x in enumerate(rows, first):
        if window and t and t % window == 0:
            state = map_leaves(torch.Tensor.detach, state)
        y, state = (first_step if t == first else one_step)(engine, stepper, params, state, x)
        outputs.append(y)
        if record:
            recorded.append(State({name: state[name] for name in record}))
    return outputs, recorded, state


def first_step(engine: Any, stepper: Any, params: Any, state: Any, x: Any) -> Tuple[Any, State]:
    """``one_step``, with a look at what a neuron of the user's own must not do.

    Raises:
        TypeError: the step writes into its input, a state or a parameter, which others have as well.
    """
    given = [("its input", x), *((f"the state {name!r}", value) for name, value in leaves(state))]
    given += [(f"the parameter {name!r}", value) for name, value in leaves(params) if isinstance(value, torch.Tensor)]
    if compiling() or transformed() or any(value.is_inference() for _, value in given):  # which count no changes
        return one_step(engine, stepper, params, state, x)
    before = [value._version for _, value in given]
    found = one_step(engine, stepper, params, state, x)
    for (what, value), version in zip(given, before):
        if value._version != version:
            raise TypeError(writes_into(stepper, what))
    return found


def _stacked(kept: Any) -> State:
    """A list of states over time as one state of arrays over time."""
    if not kept:
        return State()
    columns = zip(*([leaf for _, leaf in leaves(state)] for state in kept))
    return rebuild(kept[0], iter([torch.stack(column) for column in columns]))

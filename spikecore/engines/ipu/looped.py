"""The loop over time as ``poptorch.for_loop``, in inference.

PopTorch records the body of the loop once and the device repeats it, so the program does not grow with the number of
steps. The body takes a list of tensors, returns as many tensors of the same shapes, and gets no step number. Sequences
are therefore rotated: in each step the body reads the first row of the inputs and moves it to the end, drops the first
row of the outputs and appends the new one.
"""

from __future__ import annotations

from typing import Any, List, Tuple

import torch

from spikecore.api.core.tree import Params, State, leaves, rebuild
from spikecore.api.neurons.stepper import one_step


def looped_scan(
    for_loop: Any,
    engine: Any,
    stepper: Any,
    params: Params,
    state: State,
    inputs: Any,
    steps: int,
    record: Tuple[str, ...],
) -> Tuple[Any, State, State]:
    """``Engine.scan`` with the first step unrolled, which determines the shapes, and all others in one loop."""
    varies = inputs.shape[0] > 1
    first, state = one_step(engine, stepper, params, state, inputs[0])
    if steps == 1:
        return first[None], State({name: state[name][None] for name in record}), state
    count, rings = len(leaves(state)), [_ring(x, steps) for x in (first, *(state[name] for name in record))]
    source = [torch.roll(inputs, -1, 0)] if varies else []

    def body(*values: Any) -> List[Any]:
        before = rebuild(state, iter(values[:count]))
        rings_before, rows = values[count : count + len(rings)], values[count + len(rings) :]
        y, after = one_step(engine, stepper, params, before, rows[0][0] if varies else inputs[0])
        new_rows = (y, *(after[name] for name in record))
        rings_after = [torch.cat([ring[1:], new[None]]) for ring, new in zip(rings_before, new_rows)]
        return [*(leaf for _, leaf in leaves(after)), *rings_after, *(torch.roll(row, -1, 0) for row in rows)]

    results = for_loop(steps - 1, body, [*(leaf for _, leaf in leaves(state)), *rings, *source])
    outputs, *recorded = results[count : count + len(rings)]
    return outputs, State(dict(zip(record, recorded))), rebuild(state, iter(results[:count]))


def _ring(first: Any, steps: int) -> Any:
    """Outputs (time, ...) before the loop: zeros, then the first step's output as the last row."""
    return torch.cat([torch.zeros_like(first)[None].expand(steps - 1, *first.shape), first[None]])

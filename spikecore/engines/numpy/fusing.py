"""Compiled kernels in place of the loop, as one node on a tape."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from spikecore.api.tree import Params, State, flatten, leaves, map_leaves
from spikecore.engines.numpy.tape import Grads, Tape, Var, accumulate


def fused_scan(
    engine: Any, kernels: Any, params: Params, state: State, inputs: Any, steps: Optional[int], window: Optional[int]
) -> Tuple[Any, State, State]:
    """``Engine.scan`` through the kernels that ``spikecore.kernels.sequence.choose`` found."""
    steps = inputs.shape[0] if steps is None else steps
    operands = [inputs, *(leaf for _, leaf in (*leaves(params), *leaves(state)))]
    tape = next((x.tape for x in operands if type(x) is Var and x.slot is not None), None)
    held = {name: _value(x) for name, x in flatten(params).items()}
    first = [_value(state[name]) for name in kernels.states]
    made = kernels.forward(_value(inputs), first, held, steps, keep=tape is not None)
    results = made.outputs, State(zip(kernels.record, made.recorded)), State(zip(kernels.states, made.final))
    if tape is None:
        return results
    node = FusedScan(kernels, params, state, inputs, window, tape, results)
    node.saved = made.saved
    tape.nodes.append(node)
    return node.outputs, node.recorded, node.final


class FusedScan:
    """A whole run over time as one node: its backward pass is one kernel call."""

    saved: Tuple[Any, ...]

    def __init__(
        self, kernels: Any, params: Params, state: State, inputs: Any, window: Optional[int], tape: Tape, made: Any
    ) -> None:
        self.kernels, self.params, self.state, self.inputs, self.window = kernels, params, state, inputs, window
        self.outputs, self.recorded, self.final = (map_leaves(tape.variable, part) for part in made)

    def pull(self, xp: Any, grads: Grads) -> None:
        """From outputs, recorded and final states to inputs, parameters and first state."""
        parts = [self.outputs, *(v for _, v in leaves(self.recorded)), *(v for _, v in leaves(self.final))]
        found = [grads.pop(part.slot, None) for part in parts]
        if all(g is None for g in found):
            return
        count = len(self.kernels.record)
        rows = zip(parts[: 1 + count], found)
        g, *rest = (_zeros(xp, part.value) if one is None else one for part, one in rows)
        params = flatten(self.params)
        wanted = tuple(p for p in self.kernels.params if _slot(params[p]) is not None)
        first = [_value(self.state[name]) for name in self.kernels.states]
        held = {name: _value(x) for name, x in params.items()}
        made = self.kernels.backward(
            _value(self.inputs),
            first,
            held,
            g,
            rest,
            found[1 + count :],
            _slot(self.inputs) is not None,
            wanted,
            self.window,
            self.saved,
        )
        accumulate(grads, _slot(self.inputs), made.x)
        for name, share in zip(self.kernels.states, made.state):
            accumulate(grads, _slot(self.state[name]), share)
        for name, share in made.params.items():
            accumulate(grads, _slot(params[name]), share)


def _zeros(xp: Any, like: Any) -> Any:
    return xp.broadcast_to(xp.zeros_like(like[:1, ...]), like.shape)  # one row, which kernels read again and again


def _value(x: Any) -> Any:
    return x.value if type(x) is Var else x


def _slot(x: Any) -> Optional[int]:
    return x.slot if type(x) is Var else None

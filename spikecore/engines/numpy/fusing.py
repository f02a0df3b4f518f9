"""Compiled kernels in place of the loop, as one node on a tape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.pull import Grads, accumulate
from spikecore.api.core.tree import Params, State, flatten, leaves, map_leaves
from spikecore.engines.numpy.tape import Var
from spikecore.kernels.base import Kernels, Request, Upstream, Wanted


def fused_scan(
    kernels: Kernels, params: Params, state: State, inputs: Any, steps: Optional[int], window: Optional[int]
) -> Tuple[Any, State, State]:
    """``Engine.scan`` through the kernels that ``spikecore.kernels.select.choose`` gave."""
    steps = inputs.shape[0] if steps is None else steps
    operands = [inputs, *(leaf for _, leaf in (*leaves(params), *leaves(state)))]
    tape = next((x.tape for x in operands if type(x) is Var and x.slot is not None), None)
    values = {name: _value(x) for name, x in flatten(params).items()}
    request = Request(_value(inputs), [_value(state[name]) for name in kernels.states], values, steps)
    run = kernels.forward(request, keep=tape is not None)
    results = run.outputs, State(zip(kernels.record, run.recorded)), State(zip(kernels.states, run.final))
    if tape is None:
        return results
    lifted = (map_leaves(tape.variable, part) for part in results)
    node = FusedScan(kernels, request, params, state, inputs, window, run.saved, *lifted)
    tape.nodes.append(node)
    return node.outputs, node.recorded, node.final


def wanted_of(inputs: Any, params: Params, state: State) -> Optional[Wanted]:
    """The gradients that the tape will ask for; None if there will be no run backwards."""
    names = tuple(name for name, x in flatten(params).items() if _slot(x) is not None)
    by_input = _slot(inputs) is not None
    if not (by_input or names or any(_slot(x) is not None for _, x in leaves(state))):
        return None
    return Wanted(by_input, names)


@dataclass
class FusedScan:
    """A whole run over time as one node: its backward pass is one kernel call."""

    kernels: Kernels
    request: Request
    params: Params
    state: State
    inputs: Any
    window: Optional[int]
    saved: Tuple[Any, ...]
    outputs: Any
    recorded: State
    final: State

    def pull(self, xp: Any, grads: Grads) -> None:
        """Replace the cotangents of outputs and states by those of inputs, parameters and first state."""
        parts = [self.outputs, *(v for _, v in leaves(self.recorded)), *(v for _, v in leaves(self.final))]
        shares = [grads.pop(part.slot, None) for part in parts]
        if all(g is None for g in shares):
            return
        count = 1 + len(self.kernels.record)
        g, *rest = (_zeros(xp, x.value) if share is None else share for x, share in zip(parts[:count], shares))
        params = flatten(self.params)
        by_params = tuple(p for p in self.kernels.params if _slot(params[p]) is not None)
        wanted = Wanted(_slot(self.inputs) is not None, by_params, self.window or 0)
        gradients = self.kernels.backward(self.request, Upstream(g, rest, shares[count:], self.saved), wanted)
        accumulate(grads, _slot(self.inputs), gradients.inputs)
        for name, share in zip(self.kernels.states, gradients.state):
            accumulate(grads, _slot(self.state[name]), share)
        for name, share in gradients.params.items():
            accumulate(grads, _slot(params[name]), share)


def _zeros(xp: Any, like: Any) -> Any:
    return xp.broadcast_to(xp.zeros_like(like[:1, ...]), like.shape)  # one row, which kernels read again and again


def _value(x: Any) -> Any:
    return x.value if type(x) is Var else x


def _slot(x: Any) -> Optional[int]:
    return x.slot if type(x) is Var else None

"""Backpropagation through time (BPTT), by hand.

The forward pass stores only the states, one array (time + 1, ...) per state. With ``checkpoint_every=k`` it stores the
states of every k-th step, and the backward pass computes those between again when it needs them. The backward pass is
the textbook loop from the last step to the first. It computes step t once more from the state before it, this time on
a small tape, and pulls the cotangents (the gradients of the loss) of the output and of the new state through this tape.
The cotangent of the old state is carried on to step t - 1:

    for t = T-1 .. 0:   (dS[t], dU[t] + carry)  --step t backwards-->  dI[t],  dparams += ...,  carry

dS, dU and dI are the gradients of the loss by spikes, states and inputs; dU[t] is what a loss adds that reads states.

docs/bptt.md walks through it for the Leaky neuron.
"""

from __future__ import annotations

from functools import partial
from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np

from spikecore.api.core.pull import Grads, accumulate
from spikecore.api.core.tree import State, leaves, map_leaves, rebuild
from spikecore.api.neurons.stepper import one_step, writes_into
from spikecore.engines.numpy.tape import Tape, Var


class ForwardPass(NamedTuple):
    """The result of a forward pass over all steps."""

    outputs: Any  # (time, batch, ...)
    kept: Optional[List[Any]]  # per state (time / k + 1, batch, ...): before the first step, and after every k-th
    final: State


def sweep(engine: Any, stepper: Any, params: Any, state: Any, inputs: Any, steps: int, keep: int) -> ForwardPass:
    """Run all steps on plain arrays, and store the states after every ``keep``-th step; 0 stores none."""
    constant = inputs.shape[0] == 1
    outputs, kept = None, None
    if keep:
        kept = [engine.allocate((steps // keep + 1, *leaf.shape)) for _, leaf in leaves(state)]
        _write(kept, 0, state)
    for t in range(steps):
        step = engine.step if t else partial(_first_step, engine)
        y, state = step(stepper, params, state, inputs[0 if constant else t, ...])
        if outputs is None:
            outputs = engine.allocate((steps, *y.shape))
        outputs[t, ...] = y
        if kept is not None and (t + 1) % keep == 0:
            _write(kept, (t + 1) // keep, state)
    return ForwardPass(outputs, kept, state)


def _first_step(engine: Any, stepper: Any, params: Any, state: Any, x: Any) -> Tuple[Any, Any]:
    """Run ``engine.step`` on read-only views of its arrays, to catch a step that writes into them.

    Raises:
        TypeError: the step writes into its input, a state or a parameter; the backward pass needs them unchanged.
    """
    states = [leaf for _, leaf in leaves(state)]
    arguments = x, *states, *(leaf for _, leaf in leaves(params))
    views = [array.view() if isinstance(array, np.ndarray) else array for array in arguments]
    pairs = [(view, array) for view, array in zip(views, arguments) if isinstance(array, np.ndarray)]
    for view, _ in pairs:
        view.flags.writeable = False
    held = rebuild(state, iter(views[1 : 1 + len(states)]))
    own = rebuild(params, iter(views[1 + len(states) :]))
    try:
        return engine.step(stepper, own, held, views[0])  # type: ignore[no-any-return]
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise TypeError(writes_into(stepper, "its input, a state or a parameter")) from None
    finally:
        for view, array in pairs:  # a step may return them
            view.flags.writeable = array.flags.writeable


def _write(kept: List[Any], row: int, state: Any) -> None:
    for array, (_, leaf) in zip(kept, leaves(state)):
        array[row, ...] = leaf


def scan(
    engine: Any,
    stepper: Any,
    params: Any,
    state: Any,
    inputs: Any,
    steps: Optional[int],
    record: Tuple[str, ...],
    window: Optional[int],
) -> Tuple[Any, State, State]:
    """``Engine.scan`` on arrays; on ``Var``s, the whole run is one node of their tape."""
    if inputs.ndim == 1:  # (time,): a step's input would be a single number, with which NumPy 1 computes in float64
        with_axis = map_leaves(lambda x: engine.xp.expand_dims(x, axis=0), state), engine.xp.expand_dims(inputs, axis=1)
        results = scan(engine, stepper, params, *with_axis, steps, record, window)
        outputs, recorded, final = (map_leaves(lambda x: x[..., 0], part) for part in results)
        return outputs, recorded, final
    steps = inputs.shape[0] if steps is None else steps
    operands = [inputs, *(leaf for _, leaf in (*leaves(params), *leaves(state)))]
    tape = next((x.tape for x in operands if type(x) is Var), None)
    differentiated = any(_slot(x) is not None for x in operands)
    plain_params, plain_state = map_leaves(_value, params), map_leaves(_value, state)
    keep = 0  # the states are stored after every so many steps; 0: never
    if record:
        keep = 1
    elif differentiated:
        keep = engine.checkpoint_every or 1
    result = sweep(engine, stepper, plain_params, plain_state, _value(inputs), steps, keep)
    history = rebuild(state, iter([rows[1:, ...] for rows in result.kept or []])) if record else State()
    recorded = State({name: history[name] for name in record})
    if tape is None:
        return result.outputs, recorded, result.final
    lift = tape.variable if differentiated else tape.constant
    outputs, recorded, final = (map_leaves(lift, part) for part in (result.outputs, recorded, result.final))
    if differentiated:
        node = Scan(engine, stepper, params, state, inputs, steps, window, result.kept, keep)
        node.outputs, node.recorded, node.final = outputs, recorded, final
        tape.nodes.append(node)
    return outputs, recorded, final


class Scan:
    """A run over all time steps, as one node of a tape."""

    outputs: Var
    recorded: State
    final: State

    def __init__(
        self,
        engine: Any,
        stepper: Any,
        params: Any,
        state: Any,
        inputs: Any,
        steps: int,
        window: Any,
        kept: Any,
        every: int,
    ) -> None:
        self.engine, self.stepper, self.steps, self.window = engine, stepper, steps, window
        self.kept, self.every = kept, every
        # the first step of the segment whose states are in memory, and these states; none yet: every step is before it
        self.segment: Tuple[int, List[Any]] = (0, kept) if every == 1 else (steps, [])
        self.params, self.state, self.inputs = params, state, inputs

    def pull(self, xp: Any, grads: Grads) -> None:
        """The loop back in time: from cotangents of the results to those of inputs, parameters and first state."""
        g_outputs = grads.pop(self.outputs.slot, None)  # type: ignore[arg-type]
        g_recorded = map_leaves(lambda v: grads.pop(v.slot, None), self.recorded)
        carry = [grads.pop(leaf.slot, None) for _, leaf in leaves(self.final)]
        if g_outputs is None and all(g is None for g in (*carry, *(g for _, g in leaves(g_recorded)))):
            return
        sums = _GradientSums(self)
        for t in reversed(range(self.steps)):
            g_output = None if g_outputs is None else g_outputs[t, ...]
            carry = self._step_back(t, self._recorded_at(g_recorded, t), g_output, carry, sums)
            if self.window and t and t % self.window == 0:
                carry = [None] * len(carry)  # truncated BPTT: no gradient reaches the window before
        sums.finish(grads, carry)

    def _states_before(self, t: int) -> List[Any]:
        """The states before step t, from the current segment of steps; if t is before it, compute that segment."""
        first, kept = self.segment
        if t < first:
            first = t - t % self.every
            start = rebuild(self.state, iter([rows[first // self.every, ...] for rows in self.kept]))
            params, inputs = map_leaves(_value, self.params), _value(self.inputs)
            inputs = inputs if inputs.shape[0] == 1 else inputs[first : t + 1, ...]
            again = sweep(self.engine, self.stepper, params, start, inputs, t - first, keep=1)
            kept = again.kept or []
            self.segment = first, kept
        return [rows[t - first, ...] for rows in kept]

    def _recorded_at(self, g_recorded: State, t: int) -> List[Any]:
        """The cotangents of the recorded states at step t, one entry per state; None for one that is not recorded."""
        by_path = dict(leaves(g_recorded))
        rows = [by_path.get(path) for path, _ in leaves(self.final)]
        return [None if g is None else g[t, ...] for g in rows]

    def _step_back(
        self, t: int, g_recorded: List[Any], g_output: Any, carry: List[Any], sums: _GradientSums
    ) -> List[Any]:
        """Compute step t again on a tape of its own, and pull the cotangents through it: those of the inputs and
        parameters go into ``sums``, those of the states before the step are returned.
        """
        tape = Tape(self.engine)
        rows = iter(self._states_before(t))
        params = map_leaves(lambda leaf: _on(tape, leaf), self.params)
        before = map_leaves(lambda _: tape.variable(next(rows)), self.state)
        x = _on(tape, self.inputs, lambda value: value[0 if value.shape[0] == 1 else t, ...])
        y, after = one_step(self.engine, self.stepper, params, before, x)
        seeds: Grads = {}  # recorded states, output, new states: added up in autograd's order, so that the bits agree
        for (_, leaf), g in zip(leaves(after), g_recorded):
            accumulate(seeds, _slot(leaf), g)
        accumulate(seeds, _slot(y), g_output)
        for (_, leaf), g in zip(leaves(after), carry):
            accumulate(seeds, _slot(leaf), g)
        gradients = tape.backward(seeds)
        sums.add(t, gradients, params, x)
        return [gradients.get(leaf.slot) for _, leaf in leaves(before)]


class _GradientSums:
    """The gradients that a backward pass adds up: one row per step for the inputs, one sum per parameter."""

    def __init__(self, node: Scan) -> None:
        self.node = node
        self.inputs: Any = None
        self.params: List[Any] = [None for _ in leaves(node.params)]

    def add(self, t: int, gradients: Grads, params: Any, x: Any) -> None:
        """Add the gradients of step t, by slots of its tape, on which ``params`` and ``x`` lie."""
        for i, (_, leaf) in enumerate(leaves(params)):
            share = gradients.get(_slot(leaf))  # type: ignore[arg-type]
            if share is not None:
                self.params[i] = share if self.params[i] is None else self.params[i] + share
        share = gradients.get(_slot(x))  # type: ignore[arg-type]
        if share is None:
            return
        if self.inputs is None:
            self.inputs = self.node.engine.xp.zeros(self.node.inputs.shape)
        if self.node.inputs.shape[0] == 1:  # one input for all steps
            self.inputs[0, ...] = self.inputs[0, ...] + share
        else:
            self.inputs[t, ...] = share

    def finish(self, grads: Grads, carry: List[Any]) -> None:
        """Add the gradients to those of the tape that contains the scan."""
        accumulate(grads, _slot(self.node.inputs), self.inputs)
        for (_, leaf), g in zip(leaves(self.node.params), self.params):
            accumulate(grads, _slot(leaf), g)
        for (_, leaf), g in zip(leaves(self.node.state), carry):
            accumulate(grads, _slot(leaf), g)


def _value(x: Any) -> Any:
    return x.value if type(x) is Var else x


def _slot(x: Any) -> Optional[int]:
    return x.slot if type(x) is Var else None


def _on(tape: Tape, outer: Any, at_step: Any = lambda value: value) -> Any:
    """An operand of a step on the tape of this step: a variable if its gradient is wanted, else a constant.

    Args:
        tape: of the step.
        outer: the operand of the whole run.
        at_step: takes from its array what this step reads; default: all of it.
    """
    if _slot(outer) is not None:
        return tape.variable(at_step(outer.value))
    value = _value(outer)
    return value if type(value) in (int, float) else tape.constant(at_step(value))

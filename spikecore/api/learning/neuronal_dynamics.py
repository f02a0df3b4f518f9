"""NDOT: traces of inputs that decay as the membranes of the neurons that sent them, instead of by a constant leak.

For a layer of neurons with the membrane U, the current I, the spikes S and the leak lambda, and the weights W behind::

    c[t] = U[t] - I[t]                      what is left of the membrane; lambda (U[t-1] - theta S[t-1]) in the paper
    e[t-1] = c[t] / c[t-1]                  for dU[t]/dU[t-1], in [-lambda, lambda]; lambda where c[t-1] = 0
    a^[t] = e[t-1] a^[t-1] + S[t]           one per neuron and sample
    dL/dW += g[t] a^[t]^T                   g[t] = dl[t]/dI[t] of the neurons behind, all before t as constants

With e = lambda these are OTTT's traces, and for the inputs of the network, which are no neurons, they are: these decay
by the leak of the neurons that they feed. The paper's neuron is ``Leaky(reset_mechanism="subtract_decayed")``.
Source: Jiang, De Masi, Xiong & Gu, NDOT: Neuronal dynamics-based online training for spiking neural networks, ICML
2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, Tuple

from spikecore.api.core.layer import EMPTY, layer_name
from spikecore.api.core.tree import Params, State, Tree, at
from spikecore.api.learning.derivatives import OUT, Derivatives, Quiet, derivatives, largest
from spikecore.api.learning.eligibility import Sums
from spikecore.api.learning.factorised import Factorised, shared_leak
from spikecore.api.learning.online import Online
from spikecore.api.learning.stack import Block, BlockStack, Named

TRACES = "traces of inputs"  # the name of these traces among those of the layers
OTHERS = "use learning='ottt' or learning='eprop'"


@dataclass(frozen=True, eq=False)
class NeuronalDynamics(Online):
    """NDOT of a stack of layers; the neurons are leaky membranes with one state.

    Args:
        network, loss, targets, steps, way: see ``Online``.
    """

    trace: str = "factorised"

    def _traces(self, block: Block, ready: Params) -> ByDynamics:
        return ByDynamics(block, lambda path: at(ready, path))

    def _at_rest(self, engine: Any, stack: BlockStack, params: Params, seen: Dict[str, Any]) -> Dict[str, Any]:
        _check_between(engine, stack, params.ready, seen)
        zeros_like, traces = engine.xp.zeros_like, {}
        for block in stack.blocks:
            if block is stack.blocks[0]:
                traces.update({path: zeros_like(seen[path]) for path, _ in _weighted(block, params.ready)})
            zeros = zeros_like(seen[block.path])
            traces[block.path] = State(spikes=zeros, left=zeros)
        return {TRACES: Tree(traces), **super()._at_rest(engine, stack, params, seen)}

    def _inputs(
        self,
        engine: Any,
        stack: BlockStack,
        params: Params,
        state: State,
        seen: Dict[str, Any],
        outputs: Dict[str, Any],
    ) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """The traces of their inputs in place of the inputs of connections."""
        traced, before, after = dict(seen), state.traces[TRACES], {}
        spikes: Any = None  # the traces of the neurons before a block
        for block in stack.blocks:
            weighted = [path for path, _ in _weighted(block, params.ready)]
            if spikes is None:
                for path in weighted:
                    traced[path] = after[path] = _decay(params.leak[block.path]) * before[path] + seen[path]
            else:
                for path, layer in block.chain:
                    if path in weighted:
                        traced[path] = spikes
                        break
                    spikes = layer.step(engine, at(params.ready, path), EMPTY, spikes)[0]
            if block.back is not None:
                traced[block.back[0]] = before[block.path].spikes
            after[block.path] = self._followed(engine, block, params, state, before[block.path], outputs[block.path])
            spikes = after[block.path].spikes
        return traced, {TRACES: Tree(after)}

    def _followed(self, engine: Any, block: Block, params: Params, state: State, before: State, output: Any) -> State:
        """The traces of the spikes of a block's neurons after a step."""
        xp, leak = engine.xp, _decay(params.leak[block.path])
        quiet: Any = Silent(engine)
        (name,) = block.neuron.state
        current = xp.zeros_like(before.left)
        _, silent = block.neuron.step(quiet, at(params.ready, block.fields), block.states(state.net), current)
        return State(spikes=kept(xp, silent[name], before.left, leak) * before.spikes + output, left=silent[name])


def kept(xp: Any, left: Any, before: Any, leak: float) -> Any:
    """The ratio of what is left of a membrane to what was left one step earlier, bounded by the leak."""
    unknown = xp.equal(before, 0.0)
    ratio = xp.clip(left / xp.where(unknown, 1.0, before), -leak, leak)
    return xp.where(unknown, leak, ratio)


class Silent(Quiet):
    """An engine on which no neuron fires, so that a step without current gives what is left of a membrane."""

    def spike(self, u: Any, surrogate: Any) -> Any:
        """No spikes."""
        return self.engine.xp.zeros_like(u)


class Through(Quiet):
    """An engine on which a spike is its potential, so that derivatives say which states it depends on."""

    def spike(self, u: Any, surrogate: Any) -> Any:
        """The potential."""
        return u


class ByDynamics(Factorised):
    """The part of NDOT within a block: its connections get the traces of their inputs from ``NeuronalDynamics``.

    Args:
        block, ready: see ``Factorised``.
    """

    def leak(self, engine: Any, fields: Params, x: Any) -> Tree:
        """The neuron's leak.

        Raises:
            ValueError: it has several states, fires by something else than its membrane after the step, or its neurons
                do not share one linear leak.
        """
        states, where = tuple(self.block.neuron.state), f"layer {self.block.path} ({layer_name(self.block.neuron)})"
        if len(states) > 1:
            raise ValueError(
                f"{where} has the states {', '.join(states)}, but learning='ndot' is for membranes that are the only "
                f"state of a neuron: {OTHERS}"
            )
        state, current = (engine.uniform(("membrane", name), tuple(x.shape)) for name in ("state", "current"))
        rows = derivatives(Through(engine), self.block.neuron, fields, State({states[0]: state}), current).rows
        membrane, output = rows[states[0]], rows[OUT]
        by_state, by_current = membrane.x * output.state[states[0]], output.x * membrane.state[states[0]]
        if largest(engine, by_state - by_current) > 1e-4 * largest(engine, by_current):
            raise ValueError(
                f"{where} fires by its last membrane, too, but learning='ndot' is for neurons that fire by their "
                f"membrane alone: {OTHERS}"
            )
        return shared_leak(engine, self.block, fields, x, "use learning='eprop'")

    def rest(self, engine: Any, seen: Dict[str, Any]) -> Tree:
        return Tree(own=self.own.rest(engine, seen[self.block.path]), one=engine.asarray(0.0))

    def step(
        self, engine: Any, leak: Tree, traces: Tree, d: Derivatives, v: Tree, seen: Dict[str, Any]
    ) -> Tuple[Tree, Sums]:
        neuron_traces, sums = self.own.step(engine.xp, traces.own, d, v)
        one = _decay(leak) * traces.one + 1.0
        for connection in self._connections():
            self._add(engine, sums, connection, (v.x, seen[connection[0]], one), seen)
        return Tree(own=neuron_traces, one=one), sums


def _decay(leak: Tree) -> float:
    """The decay of the only state of a neuron."""
    ((name, row),) = leak.items()
    return float(row[name])


def _weighted(block: Block, ready: Params) -> Tuple[Named, ...]:
    """The layers with weights before a block's neuron."""
    return tuple(block.chain[place] for place in block.weighted(lambda path: at(ready, path)))


def _between(stack: BlockStack, ready: Params) -> Iterator[Named]:
    """The layers between a neuron and the connection behind it."""
    for block in stack.blocks[1:]:
        weighted = _weighted(block, ready)
        yield from block.chain[: block.chain.index(weighted[0])] if weighted else ()


def _check_between(engine: Any, stack: BlockStack, ready: Params, seen: Dict[str, Any]) -> None:
    """Refuse layers through which the trace of a neuron does not pass.

    Raises:
        ValueError: a layer that is not linear, or several with weights, follow a neuron.
    """
    for block in stack.blocks[1:]:
        for path, layer in _weighted(block, ready)[1:]:
            raise ValueError(
                f"layer {path} ({layer_name(layer)}) is the second with weights between two neurons, but for "
                f"learning='ndot' the inputs of weights are spikes: {OTHERS}"
            )
    for path, layer in _between(stack, ready):
        shape, params = tuple(seen[path].shape), at(ready, path)
        a, b = (engine.uniform(("between neurons", name), shape) - 0.5 for name in "ab")
        of_a, of_b, of_both = (layer.step(engine, params, EMPTY, x)[0] for x in (a, b, a + b))
        if largest(engine, of_both - of_a - of_b) > 1e-4 * largest(engine, of_both):
            raise ValueError(
                f"layer {path} ({layer_name(layer)}) between neurons is not linear, so the traces of their spikes do "
                "not pass through it: use average pooling, or learning='ottt'"
            )

"""Online learning: the gradient is made on the way, with memory that does not depend on the number of steps.

At every step the loss of that step is sent back through the layers, in space alone; what the neurons were before is a
constant. Each neuron meets the signal that arrives with its eligibility, which was carried forward. What is dropped is
how a layer's earlier spikes acted on the states of the layers above: nothing for the last layer of neurons, whose
gradient is exact. docs/learning.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from spikecore.api.core.layer import EMPTY, Layer
from spikecore.api.core.tree import Params, State, Tree, flatten, leaves, map_leaves, rebuild
from spikecore.api.learning.derivatives import OUT, arrays_of, check_elementwise, derivatives
from spikecore.api.learning.eligibility import Exact, pull
from spikecore.api.learning.factorised import Factorised
from spikecore.api.learning.rule import Rule
from spikecore.api.learning.stack import Block, Stack, at, stack_of
from spikecore.api.learning.steps import StepLoss, Targets

TRACES = {"exact": Exact, "factorised": Factorised}


@dataclass(frozen=True, eq=False)
class Online(Rule):
    """E-prop, OSTL and OTTT, derived from each neuron's ``step``.

    Args:
        network, loss, targets, steps: see ``Rule``; the network is a stack of layers (``Sequential``).
        trace: "exact", one eligibility per synapse and sample; "factorised", one trace per input and sample.

    Raises:
        ValueError: another trace.
    """

    trace: str = "exact"

    def __post_init__(self) -> None:
        if self.trace not in TRACES:
            raise ValueError(f"trace={self.trace!r} must be one of {', '.join(TRACES)}")

    # ---- before the first step ----

    def prepare(self, engine: Any, params: Params, x: Any) -> Params:
        ready = _constant(engine, self.network.prepare(engine, params))
        leaks = {}
        for block in stack_of(self.network).blocks:  # from the first to the last, so that every x has been checked
            fields = at(ready, block.path)
            for path, layer in block.chain:
                x, _ = layer.step(engine, at(ready, path), EMPTY, x)
            check_elementwise(engine, block.path, block.neuron, fields, x)
            leaks[block.path] = self._traces(block, ready).leak(engine, fields, x)
            x, _ = block.neuron.step(engine, fields, block.neuron.rest(engine, fields, x), x)
        return Params(ready=ready, leak=Tree(leaks))

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        ready, stack = params.ready, stack_of(self.network)
        net = self.network.rest(engine, ready, x)
        _, _, seen = _forward(engine, stack, ready, net, x, {})
        held = {block.path: self._traces(block, ready).rest(engine, seen) for block in stack.blocks}
        grads = Tree({name: engine.xp.zeros_like(a) for name, a in arrays_of(ready)})
        return self.fresh(engine, net, Tree(held), grads)

    def _traces(self, block: Block, ready: Params) -> Any:
        return TRACES[self.trace](block, lambda path: at(ready, path))

    # ---- a step ----

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        stack, ready = stack_of(self.network), params.ready
        value, (y, net, seen), signals, sums = self._signals(engine, stack, ready, state, x)
        held: Dict[str, Any] = {}
        for block in stack.blocks:
            path, before = block.path, at(state.net, block.path)
            d = derivatives(engine, block.neuron, at(ready, path), before, seen[path])
            arrived, traces = pull(d, signals[path]), self._traces(block, ready)
            held[path], shares = traces.step(
                engine, params.leak[path], state.traces[path], d, arrived, seen, lambda name: at(ready, name)
            )
            sums.update(shares)
        grads = Tree({name: g + sums[name] if name in sums else g for name, g in state.grads.items()})
        return y, self.counted(state, value, net=net, traces=Tree(held), grads=grads)

    def _signals(self, engine: Any, stack: Stack, ready: Params, state: State, x: Any) -> Any:
        """One step forward, and the step's loss sent back through the layers.

        Returns:
            loss; output, network's state and what entered each layer; what arrives at each neuron's output (and at the
            states of the last neuron); gradients of the layers behind the last neuron.
        """
        last = stack.blocks[-1].path if stack.blocks else None
        tail = Tree({path: at(ready, path) for path, _ in stack.tail if arrays_of(at(ready, path))})

        def function(held: Tree, ready: Params, net: Any, x: Any, targets: Any) -> Any:
            made = _forward(engine, stack, _replaced(ready, held.tail), net, x, held.taps)
            states = None if last is None else at(made[1], last)
            return self.cost(engine, made[0], made[1], states, targets), made

        held = Tree(taps=_taps(engine, stack, state.net, last), tail=tail)
        value, made, found = engine.value_and_grad(function, held, ready, state.net, x, self.due(engine, state))
        stop = engine.stop_gradient
        y, net, seen = stop(made[0]), map_leaves(stop, made[1]), {path: stop(a) for path, a in made[2].items()}
        return stop(value), (y, net, seen), found.taps, flatten(found.tail) if len(tail) else {}

    # ---- behind the last step ----

    def gradient(self, engine: Any, params: Params, state: State) -> Params:
        """From gradients by prepared parameters to those by parameters: one vector-Jacobian product of ``prepare``."""
        if not leaves(params):
            return params

        def function(raw: Params, sums: Tree) -> Tuple[Any, Any]:
            ready, total = flatten(self.network.prepare(engine, raw)), 0.0
            for name, g in sums.items():
                total = engine.xp.add(engine.xp.sum(engine.xp.multiply(ready[name], g)), total)
            return total, ()

        return engine.value_and_grad(function, params, state.grads)[2]


def online_rule(trace: str, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int]) -> Online:
    """``Online`` with its arguments in another order, for whoever chooses a rule first."""
    return Online(network, loss, targets, steps, trace)


def _constant(engine: Any, ready: Params) -> Params:
    return map_leaves(lambda a: engine.stop_gradient(a) if hasattr(a, "dtype") else a, ready)


def _forward(engine: Any, stack: Stack, ready: Params, net: Any, x: Any, taps: Any) -> Tuple[Any, Any, Dict[str, Any]]:
    """One step: output, the network's state, what entered each layer. ``taps`` are added to what the neurons give."""
    seen: Dict[str, Any] = {}
    after = []
    for block in stack.blocks:
        for path, layer in block.chain:
            seen[path] = x
            x, _ = layer.step(engine, at(ready, path), EMPTY, x)
        seen[block.path] = x
        x, own = block.neuron.step(engine, at(ready, block.path), at(net, block.path), x)
        tap = taps.get(block.path, EMPTY)
        x = x + tap[OUT] if OUT in tap else x
        after += [own[name] + tap[name] if name in tap else own[name] for name in block.neuron.state]
    for path, layer in stack.tail:
        seen[path] = x
        x, _ = layer.step(engine, at(ready, path), EMPTY, x)
    return x, rebuild(net, iter(after)), seen


def _taps(engine: Any, stack: Stack, net: Any, last: Any) -> Tree:
    """Zeros to be added to the outputs of all neurons and to the states of the last, where gradients are read off."""
    found = {}
    for block in stack.blocks:
        zeros = {name: engine.xp.zeros_like(at(net, block.path)[name]) for name in block.neuron.state}
        out = {OUT: next(iter(zeros.values()))}
        found[block.path] = Tree({**out, **zeros}) if block.path == last else Tree(out)
    return Tree(found)


def _replaced(ready: Params, changes: Tree) -> Params:
    """Prepared parameters with other values for some of them."""
    new = flatten(changes) if len(changes) else {}
    return rebuild(ready, iter([new.get(name, value) for name, value in leaves(ready)]))

"""Online learning: the gradient is computed during the forward run, with memory independent of the number of steps.

At every step, the gradient of that step's loss is propagated back through the layers, but not through time: earlier
states are constants. Each neuron multiplies the signal that arrives with its eligibility, which was carried forward.
The effect of a layer's earlier spikes on the states of later layers is left out, so the gradient is exact for the last
layer of neurons and an approximation before it. docs/learning.md has the equations.
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
        trace: "exact" (the default), one eligibility per synapse and sample; "factorised", one trace per input and
            sample.

    Raises:
        ValueError: ``trace`` is something else.
    """

    trace: str = "exact"

    def __post_init__(self) -> None:
        if self.trace not in TRACES:
            raise ValueError(f"trace={self.trace!r} must be one of {', '.join(TRACES)}")

    # ---- before the first step ----

    def prepare(self, engine: Any, params: Params, x: Any) -> Params:
        ready = _constant(engine, self.network.prepare(engine, params))
        leaks = {}
        for block in stack_of(self.network).blocks:  # in order, so that each block's input comes from checked neurons
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
        traces = {block.path: self._traces(block, ready).rest(engine, seen) for block in stack.blocks}
        grads = Tree({name: engine.xp.zeros_like(a) for name, a in arrays_of(ready)})
        return self.fresh(engine, net, Tree(traces), grads)

    def _traces(self, block: Block, ready: Params) -> Any:
        return TRACES[self.trace](block, lambda path: at(ready, path))

    # ---- a step ----

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        stack, ready = stack_of(self.network), params.ready
        value, (y, net, seen), signals, sums = self._signals(engine, stack, ready, state, x)
        after: Dict[str, Any] = {}
        for block in stack.blocks:
            path, before = block.path, at(state.net, block.path)
            d = derivatives(engine, block.neuron, at(ready, path), before, seen[path])
            arrived, traces = pull(d, signals[path]), self._traces(block, ready)
            after[path], shares = traces.step(
                engine, params.leak[path], state.traces[path], d, arrived, seen, lambda name: at(ready, name)
            )
            sums.update(shares)
        grads = Tree({name: g + sums[name] if name in sums else g for name, g in state.grads.items()})
        return y, self.counted(state, value, net=net, traces=Tree(after), grads=grads)

    def _signals(self, engine: Any, stack: Stack, ready: Params, state: State, x: Any) -> Any:
        """One step forward, and the gradient of the step's loss back through the layers.

        Returns:
            the loss; (the output, the network's state, the inputs of each layer); the gradients by each neuron's output
            and by the states of the last neuron; the gradients by the parameters of the layers after the last neuron.
        """
        last = stack.blocks[-1].path if stack.blocks else None
        tail = Tree({path: at(ready, path) for path, _ in stack.tail if arrays_of(at(ready, path))})

        def function(argument: Tree, ready: Params, net: Any, x: Any, targets: Any) -> Any:
            y, after, seen = _forward(engine, stack, _replaced(ready, argument.tail), net, x, argument.taps)
            states = None if last is None else at(after, last)
            return self.cost(engine, y, after, states, targets), (y, after, seen)

        argument = Tree(taps=_taps(engine, stack, state.net, last), tail=tail)
        inputs = ready, state.net, x, self.due(engine, state)
        value, (y, net, seen), grads = engine.value_and_grad(function, argument, *inputs)
        stop = engine.stop_gradient
        forward = stop(y), map_leaves(stop, net), {path: stop(a) for path, a in seen.items()}
        return stop(value), forward, grads.taps, flatten(grads.tail) if len(tail) else {}

    # ---- after the last step ----

    def gradient(self, engine: Any, params: Params, state: State) -> Params:
        """The gradients by parameters from those by prepared ones: one vector-Jacobian product of ``prepare``."""
        if not leaves(params):
            return params

        def function(raw: Params, sums: Tree) -> Tuple[Any, Any]:
            ready, total = flatten(self.network.prepare(engine, raw)), 0.0
            for name, g in sums.items():
                total = engine.xp.add(engine.xp.sum(engine.xp.multiply(ready[name], g)), total)
            return total, ()

        return engine.value_and_grad(function, params, state.grads)[2]


def online_rule(trace: str, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int]) -> Online:
    """``Online`` with ``trace`` as the first argument, for ``functools.partial``."""
    return Online(network, loss, targets, steps, trace)


def _constant(engine: Any, ready: Params) -> Params:
    return map_leaves(lambda a: engine.stop_gradient(a) if hasattr(a, "dtype") else a, ready)


def _forward(engine: Any, stack: Stack, ready: Params, net: Any, x: Any, taps: Any) -> Tuple[Any, Any, Dict[str, Any]]:
    """One step: the output, the network's state, the inputs of each layer. ``taps`` are added to neurons' outputs."""
    seen: Dict[str, Any] = {}
    after = []
    for block in stack.blocks:
        for path, layer in block.chain:
            seen[path] = x
            x, _ = layer.step(engine, at(ready, path), EMPTY, x)
        seen[block.path] = x
        x, state = block.neuron.step(engine, at(ready, block.path), at(net, block.path), x)
        tap = taps.get(block.path, EMPTY)
        x = x + tap[OUT] if OUT in tap else x
        after += [state[name] + tap[name] if name in tap else state[name] for name in block.neuron.state]
    for path, layer in stack.tail:
        seen[path] = x
        x, _ = layer.step(engine, at(ready, path), EMPTY, x)
    return x, rebuild(net, iter(after)), seen


def _taps(engine: Any, stack: Stack, net: Any, last: Any) -> Tree:
    """Zeros that are added to the outputs of all neurons and to the states of the last neuron.

    The gradients by these zeros are the gradients by the outputs and states.
    """
    taps = {}
    for block in stack.blocks:
        zeros = {name: engine.xp.zeros_like(at(net, block.path)[name]) for name in block.neuron.state}
        out = {OUT: next(iter(zeros.values()))}
        taps[block.path] = Tree({**out, **zeros}) if block.path == last else Tree(out)
    return Tree(taps)


def _replaced(ready: Params, changes: Tree) -> Params:
    """Prepared parameters, some of them replaced by ``changes``."""
    new = flatten(changes) if len(changes) else {}
    return rebuild(ready, iter([new.get(name, value) for name, value in leaves(ready)]))

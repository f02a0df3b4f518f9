"""Online learning: the gradient is computed during the forward run, with memory independent of the number of steps.

At every step, the gradient of that step's loss is propagated back through the layers, but not through time: earlier
states and spikes are constants. Each neuron multiplies the signal that arrives with its eligibility, which was carried
forward. The effect of a neuron's earlier spikes on the states of other neurons is left out: of later layers, and by
dense recurrence of its own, which OSTL alone carries. docs/learning_rules.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Callable, Dict, Tuple, Union

from spikecore.api.core.layer import EMPTY
from spikecore.api.core.tree import Params, State, Tree, at, flatten, leaves, map_leaves, replaced
from spikecore.api.learning.derivatives import OUT, arrays_of, check_elementwise, derivatives
from spikecore.api.learning.eligibility import Exact, Ready, pull
from spikecore.api.learning.factorised import Factorised, shared_leak
from spikecore.api.learning.filtered import FILTERED, Filtered
from spikecore.api.learning.influence import Influence, within_layer
from spikecore.api.learning.rule import READOUT, Rule
from spikecore.api.learning.signals import Symmetric, forward, unseen
from spikecore.api.learning.stack import Block, BlockStack, stack_of

Traces = Union[Exact, Factorised, Influence]
TRACES: Dict[str, Callable[[Block, Ready], Traces]] = {
    "exact": Exact,
    "factorised": Factorised,
    "layer": within_layer,
}


@dataclass(frozen=True, eq=False)
class Online(Rule):
    """E-prop, OSTL, OTTT and DECOLLE, derived from each neuron's ``step``.

    Args:
        network, loss, targets, steps: see ``Rule``; the network is a stack of layers (``Sequential``).
        trace: "exact" (the default), one eligibility per synapse and sample; "factorised", one trace per input and
            sample; "layer", as "exact", and of a recurrent layer one per synapse, sample and neuron.
        way: where learning signals come from; default: through the derivatives of the later layers.
        kappa: the decay of the filter of exact traces before the last connection; "readout": that of the last layer of
            neurons; 0, the default: no filter.

    Raises:
        ValueError: ``trace`` is something else.
    """

    trace: str = "exact"
    way: Symmetric = Symmetric()
    kappa: Union[float, str] = 0.0

    def __post_init__(self) -> None:
        if self.trace not in TRACES:
            raise ValueError(f"trace={self.trace!r} must be one of {', '.join(TRACES)}")

    @cached_property
    def stack(self) -> BlockStack:
        """The blocks of the network."""
        return stack_of(self.network)

    # ---- before the first step ----

    def prepare(self, engine: Any, params: Params, x: Any) -> Params:
        ready, stack = _constant(engine, self.network.prepare(engine, params)), self.stack
        leaks, seen = {}, {}
        for block in stack.blocks:  # in order, so that each block's input comes from checked neurons
            fields = at(ready, block.fields)
            for path, layer in block.chain:
                seen[path] = x
                x, _ = layer.step(engine, at(ready, path), EMPTY, x)
            if block.back is not None:
                x = x + block.back[1].step(engine, at(ready, block.back[0]), EMPTY, engine.xp.zeros_like(x))[0]
            seen[block.path] = x
            check_elementwise(engine, block.path, block.neuron, fields, x)
            leaks[block.path] = self._traces(block, ready).leak(engine, fields, x)
            x, _ = block.neuron.step(engine, fields, block.neuron.rest(engine, fields, x), x)
        for path, layer in stack.tail:
            seen[path] = x
            x, _ = layer.step(engine, at(ready, path), EMPTY, x)
        drawn = map_leaves(engine.stop_gradient, self.way.draw(engine, stack, ready, seen, x))
        kappa = self._decay(engine, stack, ready, seen)
        return Params(ready=ready, leak=Tree(leaks), drawn=drawn, kappa=kappa)

    def _decay(self, engine: Any, stack: BlockStack, ready: Params, seen: Dict[str, Any]) -> float:
        """``kappa`` as a number."""
        if self.kappa != READOUT:
            return float(self.kappa)
        last = stack.blocks[-1] if stack.blocks else None
        if last is None or last.path in stack.hidden:
            raise ValueError(
                "kappa='readout' takes the decay of the last layer of neurons, but behind it comes a connection, which "
                "has no memory: leave kappa out, or add sc.LI() at the end"
            )
        leak = shared_leak(engine, last, at(ready, last.fields), seen[last.path], "give kappa as a number")
        if len(leak) > 1:
            raise ValueError(
                f"kappa='readout': layer {last.path} ({type(last.neuron).__name__}) has the states {', '.join(leak)}, "
                "so its memory is not one decay: give kappa as a number, or end the network in sc.LI() or sc.Leaky()"
            )
        return next(float(row[name]) for name, row in leak.items())

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        ready, stack = params.ready, self.stack
        net = self.network.rest(engine, ready, x)
        seen = forward(engine, stack, self.way, params.drawn, ready, net, x, {})[2]
        traces = Tree(self._at_rest(engine, stack, params, seen))
        grads = Tree({name: engine.xp.zeros_like(a) for name, a in arrays_of(ready)})
        return self.fresh(engine, net, traces, grads)

    def _at_rest(self, engine: Any, stack: BlockStack, params: Params, seen: Dict[str, Any]) -> Dict[str, Any]:
        """The traces before the first step, by block; ``seen``: the inputs of each layer at that step."""
        blocks = self._eligible(stack, params)
        return {block.path: self._traces(block, params.ready).rest(engine, seen) for block in blocks}

    def _traces(self, block: Block, ready: Params) -> Traces:
        return TRACES[self.trace](block, lambda path: at(ready, path))

    @cached_property
    def _kept(self) -> Dict[str, Tuple[Params, Traces]]:
        return {}

    def _kept_traces(self, block: Block, ready: Params) -> Traces:
        """``_traces``, made once for the same prepared parameters."""
        kept = self._kept.get(block.path)
        if kept is None or kept[0] is not ready:
            kept = self._kept[block.path] = ready, self._traces(block, ready)
        return kept[1]

    def _eligible(self, stack: BlockStack, params: Params) -> Tuple[Block, ...]:
        """The blocks as their traces see them: the outputs of hidden neurons are filtered if there is a filter."""
        if not params.kappa:
            return stack.blocks
        if params.kappa not in self._filtered:  # the same neurons at each step, for engines that know them again
            self._filtered[params.kappa] = tuple(
                replace(block, neuron=Filtered(block.neuron, params.kappa)) if block.path in stack.hidden else block
                for block in stack.blocks
            )
        return self._filtered[params.kappa]

    @cached_property
    def _filtered(self) -> Dict[float, Tuple[Block, ...]]:
        return {}

    # ---- a step ----

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        stack, ready = self.stack, params.ready
        value, (y, net, seen, outputs), signals, sums = self._signals(engine, stack, params, state, x)
        seen, after = self._inputs(engine, stack, params, state, seen, outputs)
        for block in self._eligible(stack, params):
            path, current = block.path, seen[block.path]
            before = _before(engine, block, state.net, current)
            d = derivatives(engine, block.neuron, at(ready, block.fields), before, current)
            arrived, traces = pull(d, signals[path]), self._kept_traces(block, ready)
            after[path], shares = traces.step(engine, params.leak[path], state.traces[path], d, arrived, seen)
            sums.update(shares)
        grads = Tree({name: g + sums[name] if name in sums else g for name, g in state.grads.items()})
        return y, self.counted(state, value, net=net, traces=Tree(after), grads=grads)

    def _inputs(
        self,
        engine: Any,
        stack: BlockStack,
        params: Params,
        state: State,
        seen: Dict[str, Any],
        outputs: Dict[str, Any],
    ) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """The traces of blocks that replace the inputs of layers at a step, and further traces after the step.

        Args:
            engine, stack, params, state: the engine, the network, prepared parameters, the state before the step.
            seen: the inputs of each layer, by dotted name.
            outputs: the outputs of all neurons, by dotted name.
        """
        return seen, {}

    def _signals(self, engine: Any, stack: BlockStack, params: Params, state: State, x: Any) -> Any:
        """One step forward, and the gradient of the step's loss back through the layers.

        Returns:
            the loss; (the output, the network's state, the inputs of each layer, the outputs of all neurons); the
            gradients by each neuron's output and by the states of the last neuron; the gradients by the parameters of
            the layers after the last neuron.
        """
        ready, stop = params.ready, engine.stop_gradient
        last = stack.blocks[-1].path if stack.blocks else None
        tail = Tree({path: at(ready, path) for path, _ in stack.tail if arrays_of(at(ready, path))})

        def function(argument: Tree, ready: Params, drawn: Tree, net: Any, x: Any, targets: Any) -> Any:
            ready = _replaced(ready, argument.tail)
            y, after, seen, outputs = forward(engine, stack, self.way, drawn, ready, net, x, argument.taps)
            states = None if last is None else at(after, last)
            cost = partial(self._local, engine, after, targets)
            value = self.cost(engine, y, after, states, targets)
            for local in self.way.local(engine, drawn, y, outputs, cost):
                value = value + unseen(engine, local)
            return value, (y, after, seen, outputs)

        argument = Tree(taps=_taps(engine, stack, state.net, last), tail=tail)
        inputs = ready, params.drawn, state.net, x, self.due(engine, state)
        value, (y, net, *by_layer), grads = engine.value_and_grad(function, argument, *inputs)
        seen, outputs = ({path: stop(a) for path, a in arrays.items()} for arrays in by_layer)
        found = stop(y), map_leaves(stop, net), seen, outputs
        return stop(value), found, grads.taps, flatten(grads.tail) if len(tail) else {}

    def _local(self, engine: Any, after: Any, targets: Any, y: Any) -> Any:
        """The loss of one step of an output that is a membrane and spikes in one."""
        return self.cost(engine, y, after, State(mem=y), targets)

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


def _before(engine: Any, block: Block, net: Any, current: Any) -> State:
    """The states of a block's neuron before a step. What is filtered is zero: its derivatives do not depend on it."""
    if not isinstance(block.neuron, Filtered):
        return block.states(net)
    states = replace(block, neuron=block.neuron.neuron).states(net)
    return State({**states, FILTERED: engine.xp.zeros_like(current)})


def _constant(engine: Any, ready: Params) -> Params:
    return map_leaves(lambda a: engine.stop_gradient(a) if hasattr(a, "dtype") else a, ready)


def _taps(engine: Any, stack: BlockStack, net: Any, last: Any) -> Tree:
    """Zeros that are added to the outputs of all neurons and to the states of the last neuron.

    The gradients by these zeros are the gradients by the outputs and states.
    """
    taps = {}
    for block in stack.blocks:
        states = block.states(net)
        first = next(iter(states))  # the output is shaped like it
        names = tuple(states) if block.path == last else (first,)
        zeros = {name: engine.xp.zeros_like(states[name]) for name in names}
        taps[block.path] = Tree({OUT: zeros[first], **(zeros if block.path == last else {})})
    return Tree(taps)


def _replaced(ready: Params, changes: Tree) -> Params:
    """Prepared parameters, some of them replaced by ``changes``."""
    return replaced(ready, flatten(changes)) if len(changes) else ready

"""Eligibility: the derivative of a neuron's state by the weights of its inputs, carried forward in time.

With the states a of a neuron, its inputs z, and the derivatives v of one step's loss by a[t-1] and I[t]::

    e_w[t] = (da[t]/da[t-1]) e_w[t-1] + (da[t]/dI[t]) z[t]          one per synapse and sample
    dL/dw += v_a e_w[t-1] + v_I z[t]

The neuron's own parameters (decays, thresholds) have one trace e per neuron and sample. The cheaper traces
of OTTT are in ``factorised.py``, those that OSTL has for layers with dense recurrence in ``influence.py``. Sources:
Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020 (e-prop); Bohnstingl
et al., Online spatio-temporal learning in deep neural networks, 2022 (OSTL); Zenke & Neftci, Brain-inspired learning on
neuromorphic substrates, 2021.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

from spikecore.api.core.extras import StepwiseLearning, extra
from spikecore.api.core.layer import computes_as, layer_name
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.layers.linear import Flatten
from spikecore.api.learning.derivatives import (
    Derivatives,
    arrays_of,
    at_rest,
    derivatives,
    is_shared,
    is_zero,
    weighted,
)
from spikecore.api.learning.stack import Block, Named, under
from spikecore.api.learning.synapses import (
    CONNECTIONS,
    groups_and_rows,
    per_synapse,
    postsynaptic,
    presynaptic,
    summed_products,
)

Sums = Dict[str, Any]  # gradients by the dotted name of the prepared parameter
Bundle = Tuple[Named, ...]
Ready = Callable[[str], Params]  # prepared parameters of a layer by its dotted name


def pull(d: Derivatives, signals: Dict[str, Any]) -> Tree:
    """The vector-Jacobian product of one step: cotangents of the old states, the current and the parameters.

    Args:
        d: the derivatives of the step.
        signals: cotangents of the output and of new states, by name.
    """
    pairs = [(signal, d.rows[name]) for name, signal in signals.items()]

    def summed(entry: Callable[[Tree], Any]) -> Any:
        return weighted([(entry(row), signal) for signal, row in pairs])

    like = pairs[0][1]
    return Tree(
        state=State({name: summed(_entry("state", name)) for name in like.state}),
        x=summed(_entry("x")),
        params=Tree({name: summed(_entry("params", name)) for name in like.params}),
    )


def _entry(part: str, name: Optional[str] = None) -> Callable[[Tree], Any]:
    """A function that takes one derivative from a row of ``Derivatives.rows``."""
    return lambda row: row[part] if name is None else row[part][name]


def moved(d: Derivatives, traces: State, enter: Callable[[str], Any], shaped: Callable[[Any], Any]) -> State:
    """The next traces e[t] = (da[t]/da[t-1]) e[t-1] + enter; ``shaped`` gives derivatives the axes of the traces."""
    return State({n: _like(advanced(d, n, traces, enter(n), shaped), e) for n, e in traces.items()})


def advanced(d: Derivatives, name: str, traces: State, enter: Any, shaped: Callable[[Any], Any]) -> Any:
    """The next trace of one state, or of the output (``OUT``), from those of the states."""
    row = d.rows[name].state
    return weighted([(_shaped(row[n], shaped), e) for n, e in traces.items()], enter)


def _shaped(derivative: Any, shaped: Callable[[Any], Any]) -> Any:
    return derivative if is_shared(derivative) else shaped(derivative)


def _like(total: Any, trace: Any) -> Any:
    """A sum as an array like the trace: it may be a number."""
    return total + 0.0 * trace if is_shared(total) else total


def reduced(xp: Any, g: Any, shape: Tuple[int, ...]) -> Any:
    """Values per neuron and sample, summed to the ``shape`` of a parameter that broadcasts to the neurons."""
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1))
    return xp.reshape(xp.sum(g, axis=axes), shape)


def entered(d: Derivatives, entry: Callable[[Tree], Any], name: str) -> Any:
    """The term that enters the trace of one state: ``entry`` of its row of derivatives."""
    return entry(d.rows[name])


class NeuronTraces:
    """Eligibility of the neuron's own parameters, one trace per neuron and sample.

    Args:
        block: the block.
        fields: the neuron's prepared parameters.
    """

    def __init__(self, block: Block, fields: Params) -> None:
        self.path, self.neuron, self.fields = block.fields, block.neuron, fields
        self.shapes = {name: tuple(value.shape) for name, value in arrays_of(fields)}

    def rest(self, engine: Any, x: Any) -> Tree:
        """The traces before the first step, whose current is ``x``: the derivatives of the state at rest."""
        first = at_rest(engine, self.neuron, self.fields, x)
        return Tree({name: State({n: row[name] for n, row in first.items()}) for name in self.shapes})

    def step(self, xp: Any, traces: Tree, d: Derivatives, v: Tree) -> Tuple[Tree, Sums]:
        """The traces after the step, and the step's contribution to the gradients."""
        after, sums = {}, {}
        for name, e in traces.items():
            entry = _entry("params", name)
            share = weighted([(v.state[n], trace) for n, trace in e.items()], entry(v))
            after[name] = moved(d, e, partial(entered, d, entry), lambda x: x)
            if not is_zero(share):
                sums[under(self.path, name)] = reduced(xp, share, self.shapes[name])
        return Tree(after), sums


class Exact:
    """Exact traces of a block: one per synapse and sample, also of the synapses between the neurons of a layer.

    Args:
        block: the block; its neuron must follow a ``Linear`` or convolution directly or after ``Flatten``.
        ready: prepared parameters.

    Raises:
        ValueError: the block has other layers.
    """

    def __init__(self, block: Block, ready: Ready) -> None:
        self.block, self.ready, self.own = block, ready, NeuronTraces(block, ready(block.fields))
        self.bundles = _bundled(traced_connections(block, ready))

    def leak(self, engine: Any, fields: Params, x: Any) -> Tree:
        """An empty tree: these traces use the derivatives of each step and no constant leak."""
        return Tree()

    def rest(self, engine: Any, seen: Dict[str, Any]) -> Tree:
        """The traces before the first step; ``seen``: the inputs of each layer at that step, by dotted name."""
        neuron, fields, current = self.block.neuron, self.own.fields, seen[self.block.path]
        first = State(neuron.rest(engine, fields, current))
        d = derivatives(engine, neuron, fields, first, current)
        names, synapses = d.read(neuron.state), {}
        same = _same_for_all(d, names)
        for bundle in self.bundles:
            synapses[bundle[0][0]] = LayerSynapses(engine, bundle, seen, self.ready).rest(current, names, same)
        return Tree(own=self.own.rest(engine, current), synapses=Tree(synapses))

    def step(
        self, engine: Any, leak: Tree, traces: Tree, d: Derivatives, v: Tree, seen: Dict[str, Any]
    ) -> Tuple[Tree, Sums]:
        """The traces after the step, and the step's contribution to the gradients.

        Args:
            engine: the engine.
            leak: what ``leak`` returned.
            traces: the traces before the step.
            d: derivatives of the step.
            v: cotangents, see ``pull``.
            seen: the inputs of each layer, by dotted name.
        """
        xp, after = engine.xp, {}
        neuron_traces, sums = self.own.step(xp, traces.own, d, v)
        for bundle in self.bundles:
            path, synapses = bundle[0][0], LayerSynapses(engine, bundle, seen, self.ready)
            after[path], g = synapses.step(traces.synapses[path], d, v)
            if not is_zero(g):
                sums.update(synapses.by_parameter(g))
        return Tree(own=neuron_traces, synapses=Tree(after)), sums


class LayerSynapses:
    """The synapses of a layer of neurons at one step, with the axes (batch, groups, rows, synapses, positions).

    A bias is the weight of one more synapse, whose input is always one. Traces that are the same for all neurons of a
    layer have one row.

    Args:
        engine: the engine.
        bundle: the connections with these synapses, side by side.
        seen: the inputs of each layer, by dotted name.
        ready: prepared parameters.
    """

    def __init__(self, engine: Any, bundle: Bundle, seen: Dict[str, Any], ready: Ready) -> None:
        self.engine, self.xp, self.layer = engine, engine.xp, bundle[0][1]
        parts = [presynaptic(engine.xp, layer, seen[path]) for path, layer in bundle]
        self.params = [(path, ready(path), pre.shape[2]) for (path, _), pre in zip(bundle, parts)]
        if any("bias" in params for _, params, _ in self.params):
            parts.append(engine.xp.ones_like(parts[0][:, :, :1, :]))
        self.pre = parts[0] if len(parts) == 1 else engine.xp.concat(parts, axis=2)

    def rest(self, current: Any, names: Iterable[str], same: Set[str]) -> State:
        """Traces of zero for the states ``names``, those of ``same`` with one row; ``current`` is that of a step."""
        one = each = 0.0 * self.xp.expand_dims(self.pre, axis=2)
        if not same.issuperset(names):
            each = 0.0 * per_synapse(self.xp, postsynaptic(self.xp, self.layer, current), self.pre)
        return State({name: one if name in same else each for name in names})

    def step(self, traces: State, d: Derivatives, v: Tree) -> Tuple[State, Any]:
        """The traces after the step, and the gradient by the weights (groups, rows, synapses); the number 0.0 if no
        signal comes.
        """
        each, same = (State({n: e for n, e in traces.items() if (e.shape[2] == 1) == one}) for one in (False, True))
        found = each, same, self.pre, d.rows, v
        carried = extra(self.engine, StepwiseLearning).advance_traces(self.engine, *found) if len(each) else None
        if carried is None:
            return moved(d, traces, partial(self.entered, d), self.shaped), self.gradient(traces, v)
        after = {**moved(d, same, partial(self.entered, d), self.shaped), **carried[0]}
        return State({n: after[n] for n in traces}), self.gradient(same, v) + carried[1]

    def by_parameter(self, g: Any) -> Sums:
        """The gradient by each weight and bias, from that by all synapses."""
        sums, start = {}, 0
        for path, params, count in self.params:
            weight = g[:, :, start : start + count]
            sums[under(path, "weight")] = self.xp.reshape(weight, tuple(params.weight.shape))
            if "bias" in params:
                sums[under(path, "bias")] = self.xp.reshape(g[:, :, -1:], tuple(params.bias.shape))
            start += count
        return sums

    def shaped(self, derivative: Any) -> Any:
        """Derivatives, one per neuron, with an axis for its synapses."""
        return self.xp.expand_dims(postsynaptic(self.xp, self.layer, derivative), axis=3)

    def entered(self, d: Derivatives, name: str) -> Any:
        """The term that the inputs of the step add to the trace of one state."""
        by_current = d.rows[name].x
        if is_zero(by_current):
            return by_current
        return _shaped(by_current, self.shaped) * self.xp.expand_dims(self.pre, axis=2)

    def gradient(self, traces: State, v: Tree) -> Any:
        """The gradient by the weights (groups, rows, synapses); the number 0.0 if no signal comes."""
        pairs = [(v.x, self.pre), *((v.state[n], e[:, :, 0, ...]) for n, e in traces.items() if e.shape[2] == 1)]
        g: Any = 0.0
        for cotangent, values in pairs:
            if not is_zero(cotangent):
                product = summed_products(self.xp, postsynaptic(self.xp, self.layer, cotangent), values)
                g = product if is_zero(g) else g + product
        each = weighted([(_shaped(v.state[n], self.shaped), e) for n, e in traces.items() if e.shape[2] != 1])
        return g if is_zero(each) else self.xp.sum(each, axis=(0, 4)) + g


def _same_for_all(d: Derivatives, names: Tuple[str, ...]) -> Set[str]:
    """The states whose traces are the same for all neurons of a layer, one per input: their derivatives are, and those
    of the states that they depend on.
    """
    same = {n for n in names if is_shared(d.rows[n].x)}
    for _ in names:  # each time, those go that depend on one that has gone
        same = {
            n
            for n in same
            if all(is_zero(a) or (is_shared(a) and m in same) for m, a in d.rows[n].state.items() if m in names)
        }
    return same


def _bundled(connections: List[Named]) -> List[Bundle]:
    """Connections whose neurons have the same groups and rows, together."""
    bundles: Dict[Tuple[int, int], List[Named]] = {}
    for path, layer in connections:
        bundles.setdefault(groups_and_rows(layer), []).append((path, layer))
    return [tuple(bundle) for bundle in bundles.values()]


def traced_connections(block: Block, ready: Ready) -> List[Named]:
    """The connections of a block for traces per synapse: the one before its neuron and the recurrent one, if any."""
    back = [] if block.back is None else [block.back]
    places = block.weighted(ready)
    if not places:
        return back
    path, layer = block.chain[places[-1]]
    behind = [other for _, other in block.chain[places[-1] + 1 :]]
    if len(places) > 1 or not computes_as(layer, CONNECTIONS) or any(not isinstance(b, Flatten) for b in behind):
        names = ", ".join(f"{path} ({layer_name(layer)})" for path, layer in block.chain)
        raise ValueError(
            f"layers {names} before neuron {block.path}: a trace per synapse needs one Linear or convolution that the "
            "neuron follows at once; use trace='factorised' (learning='ottt'), learning='rtrl', or BPTT"
        )
    return [(path, layer), *back]

"""Eligibility: the derivative of a neuron's state by the weights of its inputs, carried forward in time.

With the states a of a neuron, its inputs z, and the derivatives v of one step's loss by a[t-1] and I[t]::

    e_w[t] = (da[t]/da[t-1]) e_w[t-1] + (da[t]/dI[t]) z[t]          one per synapse and sample
    dL/dw += v_a e_w[t-1] + v_I z[t]

The neuron's own parameters (decays, thresholds) and the bias have one trace e per neuron and sample. The cheaper traces
of OTTT are in ``factorised.py``, those that OSTL has for layers with dense recurrence in ``influence.py``. Sources:
Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020 (e-prop); Bohnstingl
et al., Online spatio-temporal learning in deep neural networks, 2022 (OSTL); Zenke & Neftci, Brain-inspired learning on
neuromorphic substrates, 2021.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from spikecore.api.core.layer import Layer, computes_as, layer_name
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.layers.linear import Flatten
from spikecore.api.learning.derivatives import Derivatives, arrays_of, at_rest
from spikecore.api.learning.stack import Block, Named, under
from spikecore.api.learning.synapses import CONNECTIONS, per_synapse, postsynaptic, presynaptic

Sums = Dict[str, Any]  # gradients by the dotted name of the prepared parameter
Ready = Callable[[str], Params]  # prepared parameters of a layer by its dotted name
BIAS = "biases of connections"  # the trace that all biases of a neuron share: each is added to its current


def pull(d: Derivatives, signals: Dict[str, Any]) -> Tree:
    """The vector-Jacobian product of one step: cotangents of the old states, the current and the parameters.

    Args:
        d: the derivatives of the step.
        signals: cotangents of the output and of new states, by name.
    """
    pairs = [(signal, d.rows[name]) for name, signal in signals.items()]

    def summed(entry: Callable[[Tree], Any]) -> Any:
        total = pairs[0][0] * entry(pairs[0][1])
        for signal, row in pairs[1:]:
            total = total + signal * entry(row)
        return total

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
    return State({name: advanced(d, name, traces, enter(name), shaped) for name in traces})


def advanced(d: Derivatives, name: str, traces: State, enter: Any, shaped: Callable[[Any], Any]) -> Any:
    """The next trace of one state, or of the output (``OUT``), from those of the states."""
    for before, e in traces.items():
        enter = enter + shaped(d.rows[name].state[before]) * e
    return enter


def reduced(xp: Any, g: Any, shape: Tuple[int, ...]) -> Any:
    """Values per neuron and sample, summed to the ``shape`` of a parameter that broadcasts to the neurons."""
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1))
    return xp.reshape(xp.sum(g, axis=axes), shape)


def entered(d: Derivatives, entry: Callable[[Tree], Any], name: str) -> Any:
    """What enters the trace of one state: ``entry`` of its row of derivatives."""
    return entry(d.rows[name])


class Own:
    """Eligibility of parameters with one value per neuron: the neuron's own, and the biases of its connections.

    Args:
        block: the block.
        fields: the neuron's prepared parameters.
        biased: dotted names and layers of the connections that have a bias; default: none.
    """

    def __init__(self, block: Block, fields: Params, biased: Tuple[Named, ...] = ()) -> None:
        self.path, self.neuron, self.fields, self.biased = block.fields, block.neuron, fields, biased
        self.shapes = {name: tuple(value.shape) for name, value in arrays_of(fields)}

    def rest(self, engine: Any, x: Any) -> Tree:
        """The traces before the first step, whose current is ``x``: the derivatives of the state at rest."""
        first = at_rest(engine, self.neuron, self.fields, x)
        traces = {name: State({n: row[name] for n, row in first.items()}) for name in self.shapes}
        if self.biased:
            traces[BIAS] = State({n: engine.xp.zeros_like(x) for n in first})
        return Tree(traces)

    def step(self, xp: Any, traces: Tree, d: Derivatives, v: Tree) -> Tuple[Tree, Sums]:
        """The traces after the step, and the step's contribution to the gradients."""
        after, sums = {}, {}
        for name, e in traces.items():
            entry = _entry("x") if name == BIAS else _entry("params", name)
            share = entry(v)
            for n, trace in e.items():
                share = share + v.state[n] * trace
            after[name] = moved(d, e, partial(entered, d, entry), lambda x: x)
            sums.update(self._summed(xp, name, share))
        return Tree(after), sums

    def _summed(self, xp: Any, name: str, share: Any) -> Sums:
        if name != BIAS:
            return {under(self.path, name): reduced(xp, share, self.shapes[name])}
        return {
            under(path, "bias"): xp.reshape(xp.sum(postsynaptic(xp, layer, share), axis=(0, 3)), (-1,))
            for path, layer in self.biased
        }


class Exact:
    """Exact traces of a block: one per synapse and sample, also of the synapses between the neurons of a layer.

    Args:
        block: the block; its neuron must follow a ``Linear`` or convolution directly or after ``Flatten``.
        ready: prepared parameters.

    Raises:
        ValueError: the block has other layers.
    """

    def __init__(self, block: Block, ready: Ready) -> None:
        self.block, self.connections = block, traced_connections(block, ready)
        biased = tuple((path, layer) for path, layer in self.connections if "bias" in ready(path))
        self.own = Own(block, ready(block.fields), biased)

    def leak(self, engine: Any, fields: Params, x: Any) -> Tree:
        """An empty tree: these traces use the derivatives of each step and no constant leak."""
        return Tree()

    def rest(self, engine: Any, seen: Dict[str, Any]) -> Tree:
        """The traces before the first step; ``seen``: the inputs of each layer at that step, by dotted name."""
        synapses, current = {}, seen[self.block.path]
        for path, layer in self.connections:
            zeros = 0.0 * _product(engine.xp, layer, current, seen[path])
            synapses[path] = State({name: zeros for name in self.block.neuron.state})
        return Tree(own=self.own.rest(engine, current), synapses=Tree(synapses))

    def step(
        self, engine: Any, leak: Tree, traces: Tree, d: Derivatives, v: Tree, seen: Dict[str, Any], ready: Ready
    ) -> Tuple[Tree, Sums]:
        """The traces after the step, and the step's contribution to the gradients.

        Args:
            engine: the engine.
            leak: what ``leak`` returned.
            traces: the traces before the step.
            d: derivatives of the step.
            v: cotangents, see ``pull``.
            seen: the inputs of each layer, by dotted name.
            ready: prepared parameters.
        """
        xp, after = engine.xp, {}
        neuron_traces, sums = self.own.step(xp, traces.own, d, v)
        for path, layer in self.connections:
            product = partial(_product, xp, layer, pre=seen[path])
            post = partial(_per_neuron, xp, layer)
            share = product(v.x)
            for name, e in traces.synapses[path].items():
                share = share + post(v.state[name]) * e
            sums[under(path, "weight")] = xp.reshape(xp.sum(share, axis=(0, 4)), tuple(ready(path).weight.shape))
            after[path] = moved(d, traces.synapses[path], partial(_into, d, product), post)
        return Tree(own=neuron_traces, synapses=Tree(after)), sums


def _product(xp: Any, layer: Layer, post: Any, pre: Any) -> Any:
    """The product of each neuron's value and each of its inputs."""
    return per_synapse(xp, postsynaptic(xp, layer, post), presynaptic(xp, layer, pre))


def _per_neuron(xp: Any, layer: Layer, y: Any) -> Any:
    """Values per neuron, with an axis for its synapses."""
    return xp.expand_dims(postsynaptic(xp, layer, y), axis=3)


def _into(d: Derivatives, product: Callable[[Any], Any], name: str) -> Any:
    """What the inputs of a step add to the trace of one state."""
    return product(d.rows[name].x)


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

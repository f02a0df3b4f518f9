"""OTTT's traces: one per input instead of one per synapse, for layers whose neurons all have the same leak.

    z^[t] = A z^[t-1] + B z[t]                 A = da[t]/da[t-1], B = da[t]/dI[t], both of the leak alone
    dL/dw += (v_a z^[t-1] + v_I z[t]) / dw     through the layer that w belongs to, at one step

A and B are those of a neuron that does not fire, so the derivative of the reset is left out. For a detached reset by
subtraction this derivative is zero, and nothing is left out. The traces pass through the connection in place of its
input. So every layer that is linear in its input can be used: dense or convolution, followed by pooling (max pooling
takes the maxima of the current step).
Source: Xiao et al., Online training through time for spiking neural networks, 2022.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Tuple

from spikecore.api.core.layer import EMPTY, Layer, computes_as, layer_name
from spikecore.api.core.rules import rule_of
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.layers.linear import GradedSpikes, Linear
from spikecore.api.layers.sample_normalisation import SampleNorm
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.learning.derivatives import Derivatives, Quiet, derivatives, is_zero
from spikecore.api.learning.eligibility import NeuronTraces, Ready, Sums
from spikecore.api.learning.stack import Block, Named, under
from spikecore.api.neurons.recurrent import OneToOne

Connection = Tuple[str, Layer, Tuple[Named, ...]]  # dotted name, layer, the layers between it and the neuron
Part = Tuple[Any, Any, Any]  # a cotangent of the current, an input or its trace, and that of the bias
LINEAR = (Linear, *KERNELS, GradedSpikes, OneToOne)


class Factorised:
    """OTTT's traces of a block: one per input and sample.

    Args:
        block: the block; its layers with weights must be linear in their input, and no normalisation may follow them.
        ready: prepared parameters.

    Raises:
        ValueError: the block has another layer with weights, or such a normalisation.
    """

    def __init__(self, block: Block, ready: Ready) -> None:
        self.block, self.ready, self.places = block, ready, block.weighted(ready)
        self.own = NeuronTraces(block, ready(block.fields))
        for i, (path, layer) in enumerate(block.chain):
            curved = isinstance(layer, SampleNorm) and i > min(self.places, default=i)  # behind weights
            if curved or (i in self.places and not computes_as(layer, LINEAR)):
                raise ValueError(
                    f"layer {path} ({layer_name(layer)}) is not linear in its input, as far as is known, so a trace "
                    f"cannot replace it; known are {', '.join(kind.__name__ for kind in LINEAR)}: use learning='rtrl' "
                    "(backprop.rtrl), or BPTT"
                )

    def leak(self, engine: Any, fields: Params, x: Any) -> Tree:
        """A and B of the neuron; see ``shared_leak``."""
        return shared_leak(engine, self.block, fields, x, "use trace='exact' (learning='eprop')")

    def rest(self, engine: Any, seen: Dict[str, Any]) -> Tree:
        """The traces before the first step; ``seen``: the inputs of each layer at that step, by dotted name."""
        names, layers = self.block.neuron.state, {}
        for path, _, _ in self._connections():
            zeros, zero = engine.xp.zeros_like(seen[path]), engine.asarray(0.0)
            layers[path] = Tree(inputs=State({n: zeros for n in names}), one=State({n: zero for n in names}))
        return Tree(own=self.own.rest(engine, seen[self.block.path]), layers=Tree(layers))

    def step(
        self, engine: Any, leak: Tree, traces: Tree, d: Derivatives, v: Tree, seen: Dict[str, Any]
    ) -> Tuple[Tree, Sums]:
        """The traces after the step, and the step's contribution to the gradients; see ``Exact.step``."""
        neuron_traces, sums = self.own.step(engine.xp, traces.own, d, v)
        after = {}
        for connection in self._connections():
            path = connection[0]
            before = traces.layers[path]
            parts = [(v.x, seen[path], 1.0), *((v.state[n], before.inputs[n], before.one[n]) for n in before.inputs)]
            for part in parts:
                self._add(engine, sums, connection, part, seen)
            after[path] = Tree(inputs=_leaked(leak, before.inputs, seen[path]), one=_leaked(leak, before.one, 1.0))
        return Tree(own=neuron_traces, layers=Tree(after)), sums

    def _add(self, engine: Any, sums: Sums, connection: Connection, part: Part, seen: Dict[str, Any]) -> None:
        """Add the gradients of one connection's parameters, by one term of the trace, to ``sums``."""
        (path, layer, behind), (cotangent, z, bias_trace) = connection, part
        if is_zero(cotangent):
            return
        g = _back_through(engine, behind, cotangent, seen, self.ready)
        for name, share in _by_params(engine, layer, self.ready(path), z, g).items():
            share, key = (bias_trace * share if name == "bias" else share), under(path, name)
            sums[key] = sums[key] + share if key in sums else share

    def _connections(self) -> List[Connection]:
        """The connections of the block."""
        chain = self.block.chain
        back = [] if self.block.back is None else [(*self.block.back, ())]
        return [(*chain[i], chain[i + 1 :]) for i in self.places] + back


def shared_leak(engine: Any, block: Block, fields: Params, x: Any, remedy: str) -> Tree:
    """A and B of a block's neuron as numbers, from one step without spikes near rest.

    Args:
        engine: the engine.
        block: the block.
        fields: the neuron's prepared parameters.
        x: its current at the first step (batch, *neurons); only the shape is used.
        remedy: what to do instead, for the message.

    Raises:
        ValueError: the neurons of the layer have different leaks, or the leak is not linear.
    """
    zero = engine.xp.zeros_like(x)
    rest = block.neuron.rest(engine, fields, zero)
    jacobians = []
    for size in (0.0, 0.1):
        near = State({n: a + size * engine.uniform(("leak", n), tuple(x.shape)) for n, a in rest.items()})
        rows = derivatives(Quiet(engine), block.neuron, fields, near, zero).rows
        jacobians.append([(name, *entry) for name in block.neuron.state for entry in _by_state(rows[name])])
    leak: Dict[str, Dict[str, float]] = {}
    for (name, source, a), (_, _, b) in zip(*jacobians):
        low, high = (float(engine.to_numpy(f(engine.xp.stack([a, b], axis=0)))) for f in _range(engine))
        if high - low > 1e-5:
            raise ValueError(
                f"layer {block.path} ({layer_name(block.neuron)}): its neurons do not share one linear leak "
                f"(d{name}/d{source} is between {low:g} and {high:g}), so they cannot share traces; {remedy}"
            )
        leak.setdefault(name, {})[source] = 0.5 * (low + high)
    return Tree({name: Tree(entries) for name, entries in leak.items()})


def _back_through(engine: Any, layers: Tuple[Named, ...], cotangent: Any, seen: Dict[str, Any], ready: Ready) -> Any:
    """The cotangent of what enters ``layers``, from that of the neuron's current, which leaves them."""
    if not layers:
        return cotangent

    def function(y: Any, cotangent: Any, *params: Params) -> Tuple[Any, Any]:
        for (_, layer), layer_params in zip(layers, params):
            y, _ = layer.step(engine, layer_params, EMPTY, y)
        return engine.xp.sum(y * cotangent), ()

    return engine.value_and_grad(function, seen[layers[0][0]], cotangent, *[ready(path) for path, _ in layers])[2]


def _by_params(engine: Any, layer: Layer, params: Params, z: Any, g: Any) -> Tree:
    """The gradient of the sum of g times what a layer makes of z, by its parameters."""
    if computes_as(layer, (Linear,)):  # by the rule of its word, without its output
        _, by_weight, by_bias = rule_of("linear")
        shares = {"weight": by_weight, "bias": by_bias}
        return Tree({name: shares[name](engine.xp, g, None, z, params.weight) for name in params})
    return engine.value_and_grad(partial(_contracted, engine, layer), params, z, g)[2]  # type: ignore[no-any-return]


def _contracted(engine: Any, layer: Any, params: Params, z: Any, g: Any) -> Tuple[Any, Any]:
    y, _ = layer.step(engine, params, EMPTY, z)
    return engine.xp.sum(y * g), ()


def _leaked(leak: Tree, traces: State, enters: Any) -> State:
    """The next traces A z^ + B z."""
    return State(
        {name: sum((leak[name][n] * e for n, e in traces.items()), leak[name]["x"] * enters) for name in traces}
    )


def _by_state(row: Tree) -> List[Tuple[str, Any]]:
    return [*row.state.items(), ("x", row.x)]


def _range(engine: Any) -> Tuple[Any, Any]:
    return engine.xp.min, engine.xp.max

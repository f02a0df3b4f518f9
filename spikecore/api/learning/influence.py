"""OSTL's traces of a layer with dense recurrence: the derivative of all its neurons by all its parameters.

With the states a and spikes S of the neurons of a layer, and I[t] = W z[t] + b + V S[t-1], for each parameter theta::

    dI[t]/dtheta = V dS[t-1]/dtheta + direct term       z[t] for W, S[t-1] for V, one for b; zero for the neuron's own
    da[t]/dtheta = J[t] da[t-1]/dtheta + B[t] dI[t]/dtheta + direct term of the neuron's own parameters
    dL/dtheta += v_a da[t-1]/dtheta + v_I dI[t]/dtheta + ...                              v: see ``eligibility.py``

J and B are the derivatives of an elementwise step, as for every eligibility; V alone leads from neuron to neuron. So a
step is one product with V, which takes the parameters for samples, and products per neuron. The traces are real-time
recurrent learning within the layer: neurons x parameters numbers per sample and state.
Source: Bohnstingl et al., Online spatio-temporal learning in deep neural networks, 2022.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Callable, Dict, Tuple, Union

from spikecore.api.core.layer import EMPTY, Shape
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.learning.derivatives import OUT, Derivatives, arrays_of, at_rest, is_shared, weighted
from spikecore.api.learning.eligibility import Exact, Ready, Sums, advanced, entered, moved, traced_connections
from spikecore.api.learning.filtered import FILTERED
from spikecore.api.learning.stack import Block, Named, under
from spikecore.api.learning.synapses import per_synapse, postsynaptic, presynaptic

Enter = Callable[[Tree], Any]  # what a parameter adds to the trace of a state, from that state's row of derivatives


def within_layer(block: Block, ready: Ready) -> Union[Exact, Influence]:
    """The traces of a block that leave nothing out within it; without dense recurrence they are those of e-prop."""
    return Exact(block, ready) if block.back is None else Influence(block, block.back, ready)


class Influence:
    """Traces of a recurrent block: (batch, entries of the parameter, *neurons) for each state and for the spikes.

    Args:
        block: the block; if there is a connection before its neuron, the neuron must follow it at once.
        back: its recurrent connection.
        ready: prepared parameters.

    Raises:
        ValueError: the block has other layers.
    """

    def __init__(self, block: Block, back: Named, ready: Ready) -> None:
        self.neuron, self.path, self.back, self.ready = block.neuron, block.path, back, ready
        self.connections, self.fields = traced_connections(block, ready), ready(block.fields)
        self.own = {under(block.fields, name): name for name, _ in arrays_of(self.fields)}

    def leak(self, engine: Any, fields: Params, x: Any) -> Tree:
        """An empty tree: these traces use the derivatives of each step and no constant leak."""
        return Tree()

    def rest(self, engine: Any, seen: Dict[str, Any]) -> Tree:
        """The traces before the first step; ``seen``: the inputs of each layer at that step, by dotted name."""
        current, traces = seen[self.path], {}
        zero = 0.0 * _wide(engine, current)
        for key, direct in self._direct(engine, seen).items():
            zeros = zero * direct
            traces[key] = State({**{name: zeros for name in self.neuron.state}, OUT: zeros})
        first = at_rest(engine, self.neuron, self.fields, current)
        for key, name in self.own.items():
            uses = self._uses(engine, name, current.shape[1:])
            states = {state: _wide(engine, row[name]) * uses for state, row in first.items()}
            traces[key] = State({**states, OUT: zero * uses})
        return Tree(traces)

    def step(
        self, engine: Any, leak: Tree, traces: Tree, d: Derivatives, v: Tree, seen: Dict[str, Any]
    ) -> Tuple[Tree, Sums]:
        """The traces after the step, and the step's contribution to the gradients; see ``Exact.step``."""
        xp, wide, after, sums = engine.xp, partial(_wide, engine), {}, {}
        direct, shapes = self._direct(engine, seen), self._shapes()
        for key, trace in traces.items():
            states = State({name: trace[name] for name in self.neuron.state})
            enter = self._enter(engine, key, self._fed_back(engine, trace[OUT]) + direct.get(key, 0.0))
            share = weighted([(wide(v.state[name]), e) for name, e in states.items()], enter(v))
            sums[key] = xp.reshape(xp.sum(share, axis=(0, *range(2, share.ndim))), shapes[key])
            moved_on = moved(d, states, partial(entered, d, enter), wide)
            fires = State({name: e for name, e in states.items() if name != FILTERED})  # V gets spikes unfiltered
            after[key] = State({**moved_on, OUT: advanced(d, OUT, fires, enter(d.rows[OUT]), wide)})
        return Tree(after), sums

    def _enter(self, engine: Any, key: str, current: Any) -> Enter:
        """A parameter's effect at a step, from the derivative of the current and, for the neuron's own, of its step."""
        wide = partial(_wide, engine)
        if key not in self.own:
            return lambda row: wide(row.x) * current
        name = self.own[key]
        uses = self._uses(engine, name, current.shape[2:])
        return lambda row: wide(row.x) * current + wide(row.params[name]) * uses

    def _fed_back(self, engine: Any, spikes: Any) -> Any:
        """V dS[t-1]/dtheta: the recurrent connection without its bias, for all entries of a parameter at once."""
        path, layer = self.back
        params = self.ready(path)
        if "bias" in params:
            params = params.replace(bias=0.0 * params.bias)
        rows = engine.xp.reshape(spikes, (-1, *spikes.shape[2:]))
        return engine.xp.reshape(layer.step(engine, params, EMPTY, rows)[0], tuple(spikes.shape))

    def _direct(self, engine: Any, seen: Dict[str, Any]) -> Dict[str, Any]:
        """The derivatives of the current by weights and biases at one step, by the parameter's dotted name."""
        xp, current, found = engine.xp, seen[self.path], {}
        for path, layer in self.connections:
            ones = postsynaptic(xp, layer, 0.0 * current + 1.0)
            inputs = per_synapse(xp, ones, presynaptic(xp, layer, seen[path]))
            found[under(path, "weight")] = _by_row(engine, inputs, current)
            if "bias" in self.ready(path):
                found[under(path, "bias")] = _by_row(engine, xp.expand_dims(ones, axis=3), current)
        return found

    def _uses(self, engine: Any, name: str, neurons: Shape) -> Any:
        """A mask (1, entries, *neurons): one where a neuron uses this entry of its parameter ``name``, else zero."""
        shape = dict(arrays_of(self.fields))[name].shape
        entries = math.prod(shape)
        aligned = (entries, *(1,) * (len(neurons) - len(shape)), *shape)
        unit = engine.xp.reshape(_identity(engine, entries), aligned)
        return engine.xp.expand_dims(engine.xp.broadcast_to(unit, (entries, *neurons)), axis=0)

    def _shapes(self) -> Dict[str, Tuple[int, ...]]:
        """The shape of each parameter, by its dotted name."""
        paths = [path for path, _ in self.connections]
        found = {under(path, name): a for path in paths for name, a in arrays_of(self.ready(path))}
        found.update({key: dict(arrays_of(self.fields))[name] for key, name in self.own.items()})
        return {key: tuple(a.shape) for key, a in found.items()}


def _by_row(engine: Any, inputs: Any, current: Any) -> Any:
    """Inputs (batch, groups, rows, synapses, positions) as derivatives of the current (batch, entries, *neurons).

    An entry of a weight is a row and a synapse; the current of other rows does not depend on it.
    """
    xp = engine.xp
    batch, groups, rows, synapses, positions = inputs.shape
    rows = groups * rows
    own = xp.reshape(_identity(engine, rows), (1, rows, 1, rows, 1))
    inputs = xp.reshape(inputs, (batch, rows, synapses, 1, positions))
    return xp.reshape(inputs * own, (batch, rows * synapses, *current.shape[1:]))


def _wide(engine: Any, y: Any) -> Any:
    """Values per neuron, with an axis for the entries of a parameter; a value for all neurons as it is."""
    return y if is_shared(y) else engine.xp.expand_dims(y, axis=1)


def _identity(engine: Any, n: int) -> Any:
    """The identity matrix."""
    xp, places = engine.xp, engine.xp.arange(n)
    return xp.astype(xp.equal(xp.expand_dims(places, axis=0), xp.expand_dims(places, axis=1)), engine.dtype)

"""Real-time recurrent learning: the derivative of the network's whole state by all parameters, carried forward.

    P[t] = (dh[t]/dh[t-1]) P[t-1] + dh[t]/dtheta                        h: all states of the network; one P per sample
    dL/dtheta += (dl[t]/dh[t-1]) P[t-1] + dl[t]/dtheta

The gradient is exact. Vector-Jacobian products of one ``step`` of the network give both Jacobians row by row. The cost
is states x parameters numbers per sample, and states x samples products per step. So it is for small networks, and for
checks of other rules.
Source: Williams & Zipser, A learning algorithm for continually running fully recurrent neural networks, 1989.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, List, Tuple

from spikecore.api.core.tree import Params, State, Tree, at, leaves, map_leaves, rebuild
from spikecore.api.layers.containers import readout
from spikecore.api.learning.rule import Rule


@dataclass(frozen=True, eq=False)
class ForwardMode(Rule):
    """Real-time recurrent learning of any network that has a ``step``, also recurrent, gated and branching ones.

    Args:
        network, loss, targets, steps: see ``Rule``.
    """

    def prepare(self, engine: Any, params: Params, x: Any) -> Params:
        return params  # the step itself prepares parameters, so that it is differentiated by the raw ones

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        xp, net = engine.xp, map_leaves(engine.stop_gradient, self._rest(engine, params, x))
        function = lambda argument, x: self._rest(engine, argument.params, x)  # noqa: E731
        samples = range(x.shape[0] if leaves(net) else 0)
        rows = [_rows(engine, function, Tree(params=params), x[b : b + 1, ...], _sample(net, b)) for b in samples]
        first = xp.stack([by.params for by in rows], axis=0) if rows else xp.zeros((1,))
        return self.fresh(engine, net, Tree(sensitivity=first), Tree(all=xp.zeros((_width(params),))))

    def _rest(self, engine: Any, params: Params, x: Any) -> Any:
        prepared = self.network.prepare(engine, params)
        return self.network.rest(engine, prepared, self.network.entering(engine, prepared, x))

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        value, y, net, g = self._cost(engine, params, state, x)
        xp, before = engine.xp, state.traces.sensitivity
        function = lambda argument, x: self._advance(engine, argument.params, argument.net, x)[1]  # noqa: E731
        total, after = _flat(xp, g.params), []
        for b in range(x.shape[0] if leaves(net) else 0):
            total = total + _times(xp, _flat(xp, _sample(g.net, b)), before[b, ...])
            argument = Tree(params=params, net=_sample(state.net, b))
            by = _rows(engine, function, argument, x[b : b + 1, ...], argument.net)
            after.append(by.params + by.net @ before[b, ...])
        traces = Tree(sensitivity=xp.stack(after, axis=0) if after else before)
        return y, self.counted(state, value, net=net, traces=traces, grads=Tree(all=state.grads.all + total))

    def _advance(self, engine: Any, params: Params, net: Any, x: Any) -> Tuple[Any, Any]:
        prepared = self.network.prepare(engine, params)
        return self.network.step(engine, prepared, net, self.network.entering(engine, prepared, x))

    def _cost(self, engine: Any, params: Params, state: State, x: Any) -> Any:
        """The step's loss, output and next state, and the gradients of the loss by parameters and old state."""
        last = readout(self.network)

        def function(argument: Tree, x: Any, targets: Any) -> Any:
            y, after = self._advance(engine, argument.params, argument.net, x)
            states = None if last is None else at(after, last)
            return self.cost(engine, y, after, states, targets), (y, after)

        argument = Tree(params=params, net=state.net)
        value, (y, after), g = engine.value_and_grad(function, argument, x, self.due(engine, state))
        stop = engine.stop_gradient
        return stop(value), stop(y), map_leaves(stop, after), g

    def gradient(self, engine: Any, params: Params, state: State) -> Params:
        grads, start = [], 0
        for _, leaf in leaves(params):
            stop = start + math.prod(leaf.shape)
            grads.append(engine.xp.reshape(state.grads.all[start:stop], tuple(leaf.shape)))
            start = stop
        return rebuild(params, iter(grads))


@dataclass(frozen=True, eq=False)
class SpatialGradient(ForwardMode):
    """The gradient of each step's loss with all earlier states as constants: real-time learning without its P (SLTT).

    Args:
        network, loss, targets, steps: see ``Rule``.
    """

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        net = map_leaves(engine.stop_gradient, self._rest(engine, params, x))
        return self.fresh(engine, net, Tree(), Tree(all=engine.xp.zeros((_width(params),))))

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        value, y, net, g = self._cost(engine, params, state, x)
        total = state.grads.all + _flat(engine.xp, g.params)
        return y, self.counted(state, value, net=net, grads=Tree(all=total))


def _rows(engine: Any, function: Callable[..., Any], held: Tree, x: Any, like: Any) -> Tree:
    """The Jacobian of ``function(held, x)``, a state like ``like``, by each entry of ``held``: one row per number."""
    xp, rows = engine.xp, []

    def picked(number: int, held: Tree, x: Any, cotangent: Any) -> Tuple[Any, Any]:
        return xp.sum(xp.multiply(leaves(function(held, x))[number][1], cotangent)), ()

    for number, (_, leaf) in enumerate(leaves(like)):
        for cotangent in _units(engine, tuple(leaf.shape)):
            rows.append(engine.value_and_grad(partial(picked, number), held, x, cotangent)[2])
    return Tree({part: xp.stack([_flat(xp, row[part]) for row in rows], axis=0) for part in held})


def _width(tree: Any) -> int:
    """The number of entries of all arrays in a tree."""
    return sum(math.prod(leaf.shape) for _, leaf in leaves(tree))


def _flat(xp: Any, tree: Any) -> Any:
    """All entries of a tree as one flat array."""
    return xp.concat([xp.reshape(leaf, (-1,)) for _, leaf in leaves(tree)], axis=0)


def _sample(net: Any, b: int) -> Any:
    """The states of one sample, with a batch axis of 1."""
    return map_leaves(lambda a: a[b : b + 1, ...], net)


def _times(xp: Any, row: Any, matrix: Any) -> Any:
    """The product of a row vector and a matrix."""
    return xp.reshape(xp.reshape(row, (1, -1)) @ matrix, (-1,))


def _units(engine: Any, shape: Tuple[int, ...]) -> List[Any]:
    """All unit arrays of a shape: 1 at one position and 0 elsewhere."""
    size = math.prod(shape)
    places = engine.xp.arange(size)
    return [engine.xp.reshape(engine.xp.astype(places == i, engine.dtype), shape) for i in range(size)]

"""Learning signals: what each neuron is told, at every step, about the loss of that step.

Each way is one forward step of the network whose derivative differs from that of the network, and whose values are the
same: a path that shall carry a signal is added as y + (p - stop_gradient(p)), and a path that shall carry none goes
through ``stop_gradient``. The signals are then the derivatives by the outputs of the neurons.

Sources: Lillicrap et al., Random synaptic feedback weights support error backpropagation for deep learning, Nature
Communications 2016 (feedback alignment); Nøkland, Direct feedback alignment provides learning in deep neural networks,
NeurIPS 2016; Bellec et al. 2020 (random and adaptive e-prop); Kolen & Pollack, Backpropagation without weight
transport, 1994; Kaiser, Mostafa & Neftci, Synaptic plasticity dynamics for deep continuous local learning (DECOLLE),
Frontiers in Neuroscience 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, List, Tuple

from spikecore.api.core.layer import EMPTY, Key, Layer, Params, layer_name
from spikecore.api.core.tree import Tree, at, map_leaves, rebuild
from spikecore.api.layers.linear import Linear
from spikecore.api.learning.derivatives import OUT, largest
from spikecore.api.learning.stack import BlockStack, Named

Arrays = Dict[str, Any]  # by dotted name of a layer


@dataclass(frozen=True)
class Symmetric:
    """Signals through the true derivatives of the later layers, at the same step: those of backpropagation.

    The other ways are subclasses, which change what they do otherwise.
    """

    cuts: ClassVar[bool] = False  # whether signals of the layers behind do not reach a hidden layer of neurons

    def draw(self, engine: Any, stack: BlockStack, ready: Params, inputs: Arrays, y: Any) -> Tree:
        """Random weights on which the signals travel, by the dotted name of their layer; none for backpropagation.

        Args:
            engine: the engine.
            stack: the network.
            ready: its prepared parameters.
            inputs: an input (batch, *features) of each layer, of which shapes are taken.
            y: an output of the network, likewise.
        """
        return Tree()

    def through(self, engine: Any, named: Named, params: Params, drawn: Tree, x: Any) -> Any:
        """The output of a stateless layer ``named`` (dotted name, layer) with prepared ``params`` for the input x."""
        return named[1].step(engine, params, EMPTY, x)[0]

    def error(self, engine: Any, drawn: Tree, y: Any, outputs: Arrays) -> Any:
        """The output y of the last connection, with paths to the ``outputs`` of the neurons before it."""
        return y

    def local(self, engine: Any, drawn: Tree, y: Any, outputs: Arrays, cost: Callable[[Any], Any]) -> List[Any]:
        """Costs of single layers, which give signals and are no part of the loss.

        Args:
            engine: the engine.
            drawn: what ``draw`` returned.
            y: the network's output.
            outputs: the outputs of all neurons.
            cost: the loss of a step as a function of an output like y.
        """
        return []


@dataclass(frozen=True)
class Aligned(Symmetric):
    """Feedback alignment: signals go back through the weights own W + random D instead of W; D is random and fixed.

    Args:
        seed: names D, which each layer draws as it draws its own weights.
        own, random: the two factors; (0, 1), the default, is feedback through random weights alone.
    """

    seed: int = 0
    own: float = 0.0
    random: float = 1.0

    def draw(self, engine: Any, stack: BlockStack, ready: Params, inputs: Arrays, y: Any) -> Tree:
        behind = [named for block in stack.blocks[1:] for named in block.chain] + list(stack.tail)
        drawn = {}
        for path, layer in behind:
            if layer.connections:
                params, first = at(ready, path), _first_weights(engine, self.seed, path, layer, inputs[path])
                if not any(largest(engine, first[name]) for name in layer.connections):
                    raise ValueError(
                        f"layer {path} ({layer_name(layer)}): its weight_init draws zeros, and random feedback weights "
                        "are drawn alike, so no signal would go back: give another weight_init, or feedback='direct'"
                    )
                mixed = {name: self.own * params[name] + self.random * first[name] for name in layer.connections}
                drawn[path] = params.replace(**mixed)
        return Tree(drawn)

    def through(self, engine: Any, named: Named, params: Params, drawn: Tree, x: Any) -> Any:
        path, layer = named
        if path not in drawn:
            return super().through(engine, named, params, drawn, x)
        y = layer.step(engine, params, EMPTY, engine.stop_gradient(x))[0]
        return y + unseen(engine, layer.step(engine, drawn[path], EMPTY, x)[0])


@dataclass(frozen=True)
class Direct(Symmetric):
    """Direct feedback alignment: the error of the last connection goes to each layer of neurons by a random matrix.

    Args:
        seed: names the matrices, each drawn as a ``Linear`` from the layer to the outputs draws its weight.
    """

    seed: int = 0

    cuts: ClassVar[bool] = True

    def draw(self, engine: Any, stack: BlockStack, ready: Params, inputs: Arrays, y: Any) -> Tree:
        if stack.last_connection is None:
            return Tree()
        path, layer = stack.last_connection
        y = layer.step(engine, at(ready, path), EMPTY, inputs[path])[0]
        return Tree({path: _readout(engine, self.seed, path, inputs[path], y) for path in stack.hidden})

    def error(self, engine: Any, drawn: Tree, y: Any, outputs: Arrays) -> Any:
        for path, weight in drawn.items():
            y = y + unseen(engine, _read(engine, weight, outputs[path], y))
        return y


@dataclass(frozen=True)
class Local(Symmetric):
    """Local losses: each hidden layer has a fixed random readout, and learns by the loss of what that reads.

    Args:
        seed: names the readouts, each drawn as a ``Linear`` from the layer to the outputs draws its weight.
    """

    seed: int = 0

    cuts: ClassVar[bool] = True

    def draw(self, engine: Any, stack: BlockStack, ready: Params, inputs: Arrays, y: Any) -> Tree:
        return Tree({path: _readout(engine, self.seed, path, inputs[path], y) for path in stack.hidden})

    def local(self, engine: Any, drawn: Tree, y: Any, outputs: Arrays, cost: Callable[[Any], Any]) -> List[Any]:
        return [cost(_read(engine, weight, outputs[path], y)) for path, weight in drawn.items()]


def forward(
    engine: Any, stack: BlockStack, way: Symmetric, drawn: Tree, ready: Params, net: Any, x: Any, taps: Any
) -> Tuple[Any, Any, Arrays, Arrays]:
    """One step of the network.

    Args:
        engine: the engine.
        stack: the network.
        way: the way of the signals.
        drawn: what its ``draw`` returned.
        ready: prepared parameters.
        net: the network's state.
        x: the input (batch, *features).
        taps: by dotted name of a neuron, what is added to its output and its states.

    Returns:
        the output; the state; the inputs of all layers (of neurons: the current); the outputs of all neurons.
    """
    seen: Arrays = {}
    outputs: Arrays = {}
    after = []

    def apply(named: Named, x: Any) -> Any:
        path = named[0]
        seen[path] = x
        y = way.through(engine, named, at(ready, path), drawn, x)
        return way.error(engine, drawn, y, outputs) if named == stack.last_connection else y

    for block in stack.blocks:
        for named in block.chain:
            x = apply(named, x)
        if block.back is not None:
            path, connection = block.back
            seen[path] = at(net, block.path).spk
            x = x + connection.step(engine, at(ready, path), EMPTY, seen[path])[0]
        seen[block.path] = x
        x, state = block.neuron.step(engine, at(ready, block.fields), block.states(net), x)
        tap = taps.get(block.path, EMPTY)
        x = x + tap[OUT] if OUT in tap else x
        after += [] if block.back is None else [x]  # the state "spk" comes first
        after += [state[name] + tap[name] if name in tap else state[name] for name in block.neuron.state]
        outputs[block.path] = x
        x = engine.stop_gradient(x) if way.cuts and block.path in stack.hidden else x
    for named in stack.tail:
        x = apply(named, x)
    return x, rebuild(net, iter(after)), seen, outputs


def unseen(engine: Any, y: Any) -> Any:
    """Zero, with the derivative of y."""
    return y - engine.stop_gradient(y)


def _first_weights(engine: Any, seed: int, path: str, layer: Layer, x: Any) -> Params:
    """Prepared weights as the layer draws them when it is new, for an input like x (batch, *features)."""
    first = layer.init(Key((seed, "feedback", path)), tuple(x.shape[1:])).params
    return layer.prepare(engine, map_leaves(engine.asarray, first))


def _readout(engine: Any, seed: int, path: str, x: Any, y: Any) -> Any:
    """A random weight (outputs, neurons) from a layer of neurons like x to an output like y."""
    inputs, outputs = (math.prod(int(n) for n in a.shape[1:]) for a in (x, y))
    layer = Linear(inputs, outputs, bias=False)
    return _first_weights(engine, seed, path, layer, engine.xp.zeros((1, inputs))).weight


def _read(engine: Any, weight: Any, spikes: Any, y: Any) -> Any:
    """The output of a readout for the spikes of a layer; shaped like y."""
    xp = engine.xp
    flat = xp.reshape(spikes, (spikes.shape[0], -1))
    return xp.reshape(xp.linear(flat, weight), tuple(y.shape))

"""Divides a network into blocks for online learning: stateless layers, then a neuron, which may feed itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Tuple

from spikecore.api.core.layer import Layer, Stateless, computes_as, layer_name
from spikecore.api.core.tree import Params, State, Tree, at, leaves
from spikecore.api.layers.containers import Container, walk
from spikecore.api.learning.derivatives import arrays_of
from spikecore.api.learning.synapses import CONNECTIONS
from spikecore.api.neurons.recurrent import Recurrent, RLeaky, RSynaptic
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.surrogate.special import custom_surrogate

Named = Tuple[str, Layer]
SHORT = (RLeaky, RSynaptic)  # short for a ``Recurrent``


@dataclass(frozen=True)
class Block:
    """Stateless layers, and the neuron that they feed.

    With the last output z[t-1] as one more input, one step of a recurrent layer is that of the neuron inside, whose
    current is I[t] + V z[t-1]. So V is a connection like the one before the layer.

    Args:
        chain: the stateless layers in order, with dotted names.
        path: the dotted name of the layer with the neuron, under which its states are.
        neuron: the neuron; of a recurrent layer the one inside.
        fields: the dotted name of the neuron's parameters.
        back: the connection from the layer's output to its input, one step later; None: there is none.
    """

    chain: Tuple[Named, ...]
    path: str
    neuron: Stepper
    fields: str
    back: Optional[Named] = None

    def weighted(self, ready: Callable[[str], Params]) -> List[int]:
        """The positions in the chain of layers with parameters; ``ready`` gives prepared parameters by dotted name."""
        return [i for i, (path, _) in enumerate(self.chain) if arrays_of(ready(path))]

    def states(self, net: Any) -> State:
        """The neuron's states, out of the network's."""
        found = at(net, self.path)
        return State({name: found[name] for name in self.neuron.state})


@dataclass(frozen=True)
class BlockStack:
    """The blocks of a network, and the stateless layers after its last neuron."""

    blocks: Tuple[Block, ...]
    tail: Tuple[Named, ...]

    @property
    def last_connection(self) -> Optional[Named]:
        """The last layer with weights between neurons, or between neurons and outputs; None if there is none."""
        layers = [named for block in self.blocks for named in block.chain] + list(self.tail)
        return next((named for named in reversed(layers) if named[1].connections), None)

    @property
    def hidden(self) -> Tuple[str, ...]:
        """The dotted names of the neurons before the last connection."""
        last = self.last_connection
        if last in self.tail:
            return tuple(block.path for block in self.blocks)
        holds = [last in block.chain for block in self.blocks]
        return tuple(block.path for block in self.blocks[: holds.index(True) if any(holds) else 0])


def stack_of(network: Layer) -> BlockStack:
    """Divide a network into blocks.

    Raises:
        ValueError: the network has a container whose layers are not one behind the other.
    """
    chain: List[Named] = []
    blocks: List[Block] = []
    remedy = "use learning='rtrl' (backprop.rtrl), or BPTT"
    for path, layer in in_order(network, "online learning", remedy):
        if isinstance(layer, Stepper):
            blocks.append(block_of(tuple(chain), path, layer))
            chain = []
        else:
            chain.append((path, layer))
    return BlockStack(tuple(blocks), tuple(chain))


def block_of(chain: Tuple[Named, ...], path: str, layer: Stepper) -> Block:
    """The block of a neuron; a recurrent layer is taken apart if its connection is dense or a convolution.

    With one to one feedback, a layer is elementwise as it is: its states are the neuron's and its last spike. A
    subclass with a step of its own is no such layer.
    """
    whole = layer.recurrent if isinstance(layer, SHORT) and computes_as(layer, SHORT) else layer
    if isinstance(whole, Recurrent) and computes_as(whole, (Recurrent,)) and computes_as(whole.connection, CONNECTIONS):
        return Block(chain, path, whole.neuron, under(path, "neuron"), (under(path, "connection"), whole.connection))
    return Block(chain, path, layer, path)


def in_order(layer: Layer, way: str, remedy: str, path: str = "") -> Iterator[Named]:
    """The layers of a stack in order, with dotted names.

    Args:
        layer: the network.
        way: what takes stacks alone, for the message.
        remedy: what to do instead, for the message.
        path: its dotted name; default: it is the whole network.

    Raises:
        ValueError: the network has a container whose layers are not one behind the other.
    """
    if isinstance(layer, Container) and not layer.in_a_row:
        raise ValueError(
            f"layer {path or layer_name(layer)} is a {layer_name(layer)}: {way} takes stacks of layers (Sequential, "
            f"nested or not); {remedy}"
        )
    if isinstance(layer, Container):
        for name, child in layer.children():
            yield from in_order(child, way, remedy, under(path, name))
        return
    yield path, layer


def check_stepwise(network: Layer, buffers: Tree, engine: Any) -> None:
    """Refuse networks that cannot be trained step by step.

    Raises:
        ValueError: the network has running statistics, dropout, a stochastic surrogate or noise.
        TypeError: a surrogate has no derivative.
    """
    if len(buffers):
        where = leaves(buffers)[0][0].rpartition(".")[0]
        raise ValueError(f"layer {where} has running statistics, which need whole sequences: train by BPTT")
    for path, layer in walk(network):
        where = f"layer {path} ({layer_name(layer)})"
        if getattr(layer, "drops", False) and getattr(layer, "p", 0.0) > 0:
            raise ValueError(
                f"{where}: learning forward in time does not apply dropout; leave the layer out, or train by BPTT"
            )
        if isinstance(layer, Stepper) and layer.core[0].surrogate.stochastic:
            raise ValueError(f"{where}: a stochastic surrogate draws noise for whole sequences: train by BPTT")
        if "draw_1" in layer.state:
            raise ValueError(f"{where}: forward in time, each batch would have the same noise: train by BPTT")
        if isinstance(layer, Stepper) and isinstance(layer.core[0].surrogate, custom_surrogate):
            layer.core[0].surrogate.check_linear(engine, f"learning forward in time, {where},")
        if not isinstance(layer, (Stateless, Stepper)):
            raise ValueError(f"{where} is neither a stateless layer nor a neuron")


def under(path: str, name: str) -> str:
    """The dotted name of the entry ``name`` of the layer ``path``."""
    return f"{path}.{name}" if path else name

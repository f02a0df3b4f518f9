"""Divides a feed-forward network into blocks for online learning: stateless layers, followed by a neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Tuple

from spikecore.api.core.layer import EMPTY, Layer, Stateless, layer_name
from spikecore.api.core.tree import Params, Tree, leaves
from spikecore.api.layers.containers import Container, Sequential, walk
from spikecore.api.layers.linear import Dropout
from spikecore.api.learning.derivatives import arrays_of
from spikecore.api.neurons.stepper import Stepper

Named = Tuple[str, Layer]


@dataclass(frozen=True)
class Block:
    """Stateless layers, and the neuron that they feed.

    Args:
        chain: the stateless layers in order, with dotted names.
        path, neuron: the neuron and its dotted name.
    """

    chain: Tuple[Named, ...]
    path: str
    neuron: Stepper

    def weighted(self, ready: Callable[[str], Params]) -> List[int]:
        """The positions in the chain of layers with parameters; ``ready`` gives prepared parameters by dotted name."""
        return [i for i, (path, _) in enumerate(self.chain) if arrays_of(ready(path))]


@dataclass(frozen=True)
class Stack:
    """The blocks of a network, and the stateless layers after its last neuron."""

    blocks: Tuple[Block, ...]
    tail: Tuple[Named, ...]


def stack_of(network: Layer) -> Stack:
    """Divide a network into blocks.

    Raises:
        ValueError: the network has a container other than ``Sequential``.
    """
    chain: List[Named] = []
    blocks: List[Block] = []
    for path, layer in _flat(network, ""):
        if isinstance(layer, Stepper):
            blocks.append(Block(tuple(chain), path, layer))
            chain = []
        else:
            chain.append((path, layer))
    return Stack(tuple(blocks), tuple(chain))


def _flat(layer: Layer, path: str) -> Iterator[Named]:
    if isinstance(layer, Sequential):
        for name, child in layer.children():
            yield from _flat(child, f"{path}.{name}" if path else name)
        return
    if isinstance(layer, Container):
        raise ValueError(
            f"layer {path or layer_name(layer)} is a {layer_name(layer)}: online learning takes stacks of layers "
            "(Sequential, nested or not); use learning='rtrl' (backprop.rtrl), or BPTT"
        )
    yield path, layer


def check_stepwise(network: Layer, buffers: Tree) -> None:
    """Refuse networks that cannot be trained step by step.

    Raises:
        ValueError: the network has running statistics, dropout or a stochastic surrogate.
    """
    if len(buffers):
        where = leaves(buffers)[0][0].rpartition(".")[0]
        raise ValueError(f"layer {where} has running statistics, which need whole sequences: train by BPTT")
    for path, layer in walk(network):
        where = f"layer {path} ({layer_name(layer)})"
        if isinstance(layer, Dropout) and layer.p > 0:
            raise ValueError(
                f"{where}: learning forward in time does not apply dropout; leave the layer out, or train by BPTT"
            )
        if isinstance(layer, Stepper) and layer.core[0].surrogate.stochastic:
            raise ValueError(f"{where}: a stochastic surrogate draws noise for whole sequences: train by BPTT")
        if not isinstance(layer, (Stateless, Stepper)):
            raise ValueError(f"{where} is neither a stateless layer nor a neuron")


def at(tree: Any, path: str) -> Any:
    """The subtree at a dotted name; EMPTY if there is none."""
    for name in path.split(".") if path else ():
        tree = tree.get(name, EMPTY)
    return tree


def under(path: str, name: str) -> str:
    """The dotted name of the entry ``name`` of the layer ``path``."""
    return f"{path}.{name}" if path else name

"""Builds the spiking network of a graph: folds batch norms, and scales weights.

A signal x of the ANN is scale * (mean of the spikes over time) in the SNN, with one scale per channel. A neuron of
threshold theta fires with the rate x / theta, so its scale is theta, and the weights behind it are multiplied by it.
The currents of a connection are divided by the threshold of the neurons that they reach, which becomes 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np

from spikecore import IF, Conv1d, Conv2d, Flatten, OneToOne, Sequential
from spikecore import Graph as Network
from spikecore.api.layers.nodes import INPUT, SUM
from spikecore.base import Concatenation, Layer
from spikecore.convert.errors import ConversionError
from spikecore.convert.graph import (
    Activation,
    Addition,
    Affine,
    ChannelConcat,
    Connection,
    Input,
    Operation,
    OperationGraph,
    PassedThrough,
)
from spikecore.surrogate import Surrogate

#: A membrane that reaches the threshold exactly fires in the theory, and ours has to exceed it. Neurons therefore begin
#: with a little more than half the threshold; 2^-16 of it is more than rounding and less than any level counts.
TIE = 2.0**-16


@dataclass(frozen=True)
class Built:
    """A network and its weights.

    Args:
        network: the layers.
        params: weights by dotted name, float64.
        names: the layer of each activation, by the name of its node.
    """

    network: Layer
    params: Dict[str, Any]
    names: Dict[str, str]


def folded(graph: OperationGraph) -> OperationGraph:
    """The graph with batch norms as part of the connection before them, others as a convolution of 1 x 1.

    Raises:
        ConversionError: a batch norm of vectors that does not follow a connection.
    """
    users, nodes = graph.users(), dict(graph.nodes)
    moved: Dict[str, str] = {}
    for node in graph.nodes.values():
        node = replace(node, inputs=tuple(moved.get(name, name) for name in node.inputs))
        nodes[node.name] = node
        if not isinstance(node.does, Affine):
            continue
        before = nodes[node.inputs[0]]
        if isinstance(before.does, Connection) and users[node.inputs[0]] == [node.name]:
            nodes[before.name] = replace(before, does=_scaled(before.does, node.does))
            users[before.name] = users[node.name]
            moved[node.name] = before.name
            del nodes[node.name]
        else:
            nodes[node.name] = replace(node, does=_alone(node))
    return OperationGraph(nodes, moved.get(graph.output, graph.output))


def _scaled(connection: Connection, norm: Affine) -> Connection:
    """The connection with what follows it folded in: its weights and bias times ``scale``, plus ``shift``."""
    weight = connection.weight * norm.scale.reshape(-1, *(1,) * (connection.weight.ndim - 1))
    bias = norm.shift if connection.bias is None else connection.bias * norm.scale + norm.shift
    return replace(connection, weight=weight, bias=bias)


def _alone(node: Operation) -> Connection:
    channels, space = node.shape[0], len(node.shape) - 1
    if space not in (1, 2):
        raise ConversionError(
            f"{node.place}: does not follow a layer of weights directly, so that it cannot become a part of one; put "
            "it behind nn.Linear, or train without it"
        )
    layer = (Conv1d, Conv2d)[space - 1](channels, channels, 1, groups=channels)
    return Connection(layer, node.does.scale.reshape(-1, 1, *(1,) * space), node.does.shift)


def build(graph: OperationGraph, thresholds: Dict[str, Any], charge: float, surrogate: Surrogate) -> Built:
    """The spiking network of a folded graph.

    Args:
        graph: the graph.
        thresholds: of each activation, per channel, by the name of its node.
        charge: the membrane before the first step as a share of the threshold.
        surrogate: the neurons' surrogate.
    """
    return _Builder(graph, thresholds, charge, surrogate).built()


class _Builder:
    def __init__(self, graph: OperationGraph, thresholds: Dict[str, Any], charge: float, surrogate: Surrogate) -> None:
        self.graph, self.nodes, self.users = graph, graph.nodes, graph.users()
        self.thresholds, self.charge, self.surrogate = thresholds, charge, surrogate
        self.scale: Dict[str, Any] = {}
        self.layers: Dict[str, Any] = {}
        self.weights: Dict[str, Dict[str, Any]] = {}
        self.wires: List[Tuple[str, str, Any, Tuple[str, ...]]] = []  # name of the node, of the layer, it, its sources
        self.named: Dict[str, str] = {}  # the layers whose outputs are those of nodes

    def built(self) -> Built:
        for node in self.nodes.values():
            self._convert(node)
            self._wire(node)
        output = self._rescaled(self.graph.output, np.ones_like(self.scale[self.graph.output]))
        names, layers = tuple(row[1] for row in self.wires), tuple(row[2] for row in self.wires)
        sources = tuple(row[3] for row in self.wires)
        chain = (*sources, (output,)) == tuple((name,) for name in (INPUT, *names))
        network = Sequential(*layers) if chain else Network(names, layers, sources, (output,))
        places = {row[0]: str(i) if chain else row[1] for i, row in enumerate(self.wires)}
        params = {f"{places[node]}.{key}": x for node, own in self.weights.items() for key, x in own.items()}
        return Built(network, params, {node.name: places[node.name] for node in self.graph.activations()})

    def _wire(self, node: Operation) -> None:
        """Put a node's layer behind those of its sources."""
        if isinstance(node.does, Input):
            self.named[node.name] = INPUT
        elif isinstance(node.does, Addition):
            scale = self.scale[node.name]
            self._put(node.name, SUM, tuple(self._rescaled(name, scale) for name in node.inputs))
        else:
            does = Concatenation() if isinstance(node.does, ChannelConcat) else self.layers[node.name]
            self._put(node.name, does, tuple(self.named[name] for name in node.inputs))

    def _put(self, node: str, does: Any, sources: Tuple[str, ...]) -> str:
        """The name of a layer, in which "_" stands for dots: these separate the names of nested layers."""
        name = node.replace(".", "_")
        while name == INPUT or any(name == other for _, other, _, _ in self.wires):
            name += "_"
        self.wires.append((node, name, does, sources))
        self.named[node] = name
        return name

    # ---- weights and scales ----

    def _convert(self, node: Operation) -> None:
        """Note a node's layer with its weights, and the scale of its output."""
        does, channels = node.does, node.shape[0]
        inputs = [self.scale[name] for name in node.inputs]
        scale = np.ones(channels) if not inputs else inputs[0]
        if isinstance(does, Connection):
            scale = self._wanted(node)
            self._connect(node, inputs[0], scale)
        elif isinstance(does, Activation):
            scale = np.broadcast_to(self.thresholds[node.name], (channels,))
            threshold = _compact(scale / inputs[0], node.shape)
            charge = (self.charge + TIE) * threshold
            self.layers[node.name] = IF(threshold=threshold, initial_mem=charge, surrogate=self.surrogate)
        elif isinstance(does, PassedThrough):
            self.layers[node.name] = does.layer
            if isinstance(does.layer, Flatten):
                before = self.nodes[node.inputs[0]].shape
                scale = np.repeat(scale, int(np.prod(before[1:])))
        elif isinstance(does, Addition):
            scale = self._wanted(node)
        elif isinstance(does, ChannelConcat):
            scale = np.concatenate(inputs)
        elif not isinstance(does, Input):
            raise TypeError(f"{node.place}: {type(does).__name__} was not folded")
        self.scale[node.name] = scale

    def _connect(self, node: Operation, before: Any, after: Any) -> None:
        does: Connection = node.does
        space = (1,) * (does.weight.ndim - 2)
        groups = getattr(does.layer, "groups", 1)
        outs, ins = does.weight.shape[:2]
        grouped = does.weight.reshape(groups, outs // groups, ins, *does.weight.shape[2:])
        weight = (grouped * before.reshape(groups, 1, ins, *space)).reshape(does.weight.shape)
        self.layers[node.name] = replace(does.layer, bias=does.bias is not None)
        self.weights[node.name] = {"weight": weight / after.reshape(outs, 1, *space)}
        if does.bias is not None:
            self.weights[node.name]["bias"] = does.bias / after

    def _wanted(self, node: Operation) -> Any:
        """The scale in which a node is to give its currents.

        It is the threshold of the neurons that they reach, if all have the same, which then becomes 1; else 1.
        """
        reached = self._reached(node)
        (only,) = reached if len(reached) == 1 else (None,)
        return np.ones(node.shape[0]) if only is None else np.broadcast_to(self.thresholds[only], (node.shape[0],))

    def _reached(self, node: Operation) -> Set[Optional[str]]:
        """The activations that a node's output reaches without a connection in between; None for anything else."""
        found: Set[Optional[str]] = {None} if node.name == self.graph.output else set()
        for name in self.users[node.name]:
            user = self.nodes[name]
            if isinstance(user.does, Activation):
                found.add(name)
            elif isinstance(user.does, Addition) or _keeps_channels(user.does):
                found |= self._reached(user)
            elif not isinstance(user.does, Connection):
                found.add(None)
        return found

    def _rescaled(self, name: str, wanted: Any) -> str:
        """The layer that gives a node's output in the scale ``wanted``."""
        factor = self.scale[name] / wanted
        if np.allclose(factor, 1.0, rtol=1e-12, atol=0.0):
            return self.named[name]
        layer = OneToOne(_compact(factor, self.nodes[name].shape))
        return self._put(f"{name}.scaled", layer, (self.named[name],))


def _keeps_channels(does: Any) -> bool:
    return isinstance(does, PassedThrough) and not isinstance(does.layer, Flatten)


def _compact(values: Any, shape: Tuple[int, ...]) -> Any:
    """One number if all channels have the same, else an array that broadcasts to the neurons."""
    if np.allclose(values, values[0], rtol=1e-12, atol=0.0):
        return 1.0 if np.isclose(values[0], 1.0, rtol=1e-12, atol=0.0) else float(values[0])
    return np.array(values).reshape(-1, *(1,) * (len(shape) - 1))

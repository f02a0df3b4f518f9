"""A NIR graph in the making: nodes, edges, and what was lost on the way."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import nir
import numpy as np

from spikecore.api.core.layer import Layer, Shape, ShapeError, layer_name, shapes_of
from spikecore.api.layers import containers
from spikecore.api.layers import linear as layers
from spikecore.api.neurons.recurrent import OneToOne, Recurrent, RLeaky, RSynaptic
from spikecore.nir.gains import folded
from spikecore.nir.graph import INPUT, Graph
from spikecore.nir.notes import NirError, note, noted
from spikecore.nir.units import Units
from spikecore.nir.write_layers import WRITERS, no_such_node, typed
from spikecore.nir.write_neurons import is_neuron, losses_of, neuron_nodes

OUTPUT = "output"


class Signal(NamedTuple):
    """What flows at a place of the network: the sum of what some nodes send.

    Args:
        sources: names of the nodes.
        shape: shape of one sample.
    """

    sources: Tuple[str, ...]
    shape: Shape


class Draft:
    """Collects the nodes of a network.

    Args:
        units: how decays become time constants.
        shape: shape of one sample.
        subgraphs: whether a recurrent layer becomes a graph of its own, or two nodes among the others.
    """

    def __init__(self, units: Units, shape: Shape, subgraphs: bool = False) -> None:
        self.units, self.subgraphs = units, subgraphs
        self.nodes: Dict[str, Any] = {INPUT: nir.Input(input_type=np.array(shape))}
        self.edges: List[Tuple[str, str]] = []
        self.losses: List[str] = []
        self.start = Signal((INPUT,), shape)

    def put(self, layer: Layer, name: str, params: Any, signal: Signal) -> Signal:
        """Add a layer that is fed by ``signal``; returns what it sends.

        Raises:
            NirError: NIR cannot say the layer.
            ShapeError: the layer does not take what comes.
        """
        if type(layer) is containers.Sequential:
            for key, child in layer.children():
                signal = self.put(child, _join(name, key), params[key], signal)
            return signal
        if type(layer) is containers.Residual:
            sent = [self.put(child, _join(name, key), params[key], signal) for key, child in layer.children()]
            return self.add(name, *sent, *([signal] if layer.shortcut is None else []))
        if isinstance(layer, Graph):
            return self._graph(layer, name, params, signal)
        if isinstance(layer, layers.Dropout):
            self.losses.append(f"layer {name} (Dropout): left out; it acts in training only")
            return signal
        return self._leaf(layer, name or layer_name(layer).lower(), params, signal)

    def add(self, name: str, *signals: Signal) -> Signal:
        """The sum of signals."""
        shape = signals[0].shape
        sources: List[str] = []
        for signal in signals:
            if signal.shape != shape:
                raise NirError(f"layer {name}: shapes {shape} and {signal.shape} are added; NIR does not broadcast")
            for source in signal.sources:
                if source in sources:  # an edge can be there once only
                    source = self.link(
                        f"{name}.again", nir.Scale(scale=np.ones(shape)), Signal((source,), shape), shape
                    )
                sources.append(source)
        return Signal(tuple(sources), shape)

    def link(self, name: str, node: Any, signal: Signal, out: Shape) -> str:
        """Add one node; returns the name it got."""
        unique, count = name, 1
        while unique in self.nodes or unique == OUTPUT:
            count += 1
            unique = f"{name}_{count}"
        self.nodes[unique] = typed(node, signal.shape, out)
        self.edges += [(source, unique) for source in signal.sources]
        return unique

    def _graph(self, graph: Graph, name: str, params: Any, signal: Signal) -> Signal:
        sent = {INPUT: signal}
        for key, layer, sources in graph.wired():
            given = self.add(key, *(sent[source] for source in sources))
            sent[key] = self.put(layer, _join(name, key), params[key], given)
        return self.add(name, *(sent[source] for source in graph.outputs))

    def _leaf(self, layer: Any, name: str, params: Any, signal: Signal) -> Signal:
        try:
            out = shapes_of(layer, signal.shape).shape
        except (ShapeError, ValueError) as error:
            raise ShapeError(f"layer {name}: {error}") from None
        if isinstance(layer, (RLeaky, RSynaptic, Recurrent)):
            return self._recurrent(layer, name, params, signal)
        if is_neuron(layer):
            self.losses += losses_of(f"layer {name} ({layer_name(layer)})", layer)
            chain = neuron_nodes(name, layer, params, signal.shape, self.units)
        elif type(layer) in WRITERS:
            chain = [("", WRITERS[type(layer)](layer, params, signal.shape, self.units))]
        else:
            raise no_such_node(name, layer)
        for suffix, node in chain:
            signal = Signal((self.link(name + suffix, node, signal, out),), out)
        return signal

    def _recurrent(self, layer: Any, name: str, params: Any, signal: Signal) -> Signal:
        """The neuron, and its spikes back to itself through the connection."""
        inner = layer if isinstance(layer, Recurrent) else layer.recurrent
        if not is_neuron(inner.neuron):
            raise no_such_node(f"{name}.neuron", inner.neuron)
        if type(inner.connection) not in WRITERS:
            raise no_such_node(f"{name}.connection", inner.connection)
        self.losses += losses_of(f"layer {name} ({layer_name(layer)})", inner.neuron)
        chain = neuron_nodes(name, inner.neuron, params["neuron"], signal.shape, self.units)
        weights = _connection(inner.connection, params["connection"], signal.shape, self.units)
        weights.metadata = note(**noted(weights), layer=type(layer).__name__)
        if not self.subgraphs:
            return self._loop(f"{name}.", chain, weights, signal)
        inside = Draft(self.units, signal.shape)
        made = inside.finished(inside._loop("", chain, weights, inside.start))
        return Signal((self.link(name, made, signal, signal.shape),), signal.shape)

    def _loop(self, path: str, chain: List[Tuple[str, Any]], weights: Any, signal: Signal) -> Signal:
        """Nodes one behind the other, and the last one's spikes through ``weights`` to the first."""
        names: List[str] = []
        for suffix, node in chain:
            names.append(self.link(f"{path}lif{suffix}", node, signal, signal.shape))
            signal = Signal((names[-1],), signal.shape)
        self.edges.append((self.link(f"{path}w_rec", weights, signal, signal.shape), names[0]))
        return signal

    def finished(self, signal: Signal, metadata: Optional[Dict[str, Any]] = None) -> Any:
        """The graph, with ``signal`` as its output."""
        self.nodes[OUTPUT] = nir.Output(output_type=np.array(signal.shape))
        self.edges += [(source, OUTPUT) for source in signal.sources]
        nodes, edges = folded(self.nodes, self.edges)
        return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata or {}, type_check=False)


def _connection(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    """The node of a recurrent connection; one to one between vectors is a diagonal matrix, as snnTorch writes it."""
    node = WRITERS[type(layer)](layer, params, shape, units)
    if isinstance(layer, OneToOne) and len(shape) == 1:
        return nir.Linear(weight=np.diag(node.scale), metadata=node.metadata)
    return node


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

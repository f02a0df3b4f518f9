"""The nodes and edges of a NIR graph while it is built, and the losses: options that NIR cannot express."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import nir
import numpy as np

import spikecore as sc
from spikecore import OneToOne, Quantized, Recurrent, RLeaky, RSynaptic, get_engine
from spikecore.api.core.layer import Shape, computes_as, layer_name, shapes_of
from spikecore.api.layers.containers import Container
from spikecore.api.layers.nodes import INPUT, flow
from spikecore.base import Layer, Merge, Sum
from spikecore.errors import ShapeError
from spikecore.nir.gains import folded
from spikecore.nir.notes import NirError, note, noted
from spikecore.nir.units import Units
from spikecore.nir.write_layers import WRITERS, no_such_node, typed
from spikecore.nir.write_neurons import is_neuron, losses_of, neuron_nodes

OUTPUT = "output"


class NodeSum(NamedTuple):
    """A signal in the network: the sum of the outputs of some nodes.

    Args:
        sources: names of the nodes.
        shape: shape of one sample.
    """

    sources: Tuple[str, ...]
    shape: Shape


class GraphDraft:
    """Collects the nodes, edges and losses of a network.

    Args:
        units: how decays become time constants.
        shape: shape of one sample.
        subgraphs: write a recurrent layer as a subgraph, instead of as two nodes among the others.
    """

    def __init__(self, units: Units, shape: Shape, subgraphs: bool = False) -> None:
        self.units, self.subgraphs = units, subgraphs
        self.nodes: Dict[str, Any] = {INPUT: nir.Input(input_type=np.array(shape))}
        self.edges: List[Tuple[str, str]] = []
        self.losses: List[str] = []
        self.start = NodeSum((INPUT,), shape)

    def put(self, layer: Layer, name: str, params: Any, signal: NodeSum) -> NodeSum:
        """Add a layer whose input is ``signal``; returns its output.

        Raises:
            NirError: NIR has no node for the layer.
            ShapeError: the layer does not take samples of the signal's shape.
        """
        if isinstance(layer, Container) and computes_as(layer, (Container,)):

            def through(key: str, child: Layer, signal: NodeSum) -> NodeSum:
                return self.put(child, _join(name, key), params[key], signal)

            def merged(merge: Merge, signals: List[NodeSum], _: Tuple[str, ...]) -> NodeSum:
                if type(merge) is not Sum:
                    raise no_such_node(name, layer)
                return self.add(name, *signals)

            return flow(layer.flow_nodes, signal, through, merged)
        if type(layer) is sc.Identity:
            return signal
        if isinstance(layer, sc.Dropout):
            self.losses.append(f"layer {name} (Dropout): left out; it acts in training only")
            return signal
        return self._leaf(layer, name or layer_name(layer).lower(), params, signal)

    def add(self, name: str, *signals: NodeSum) -> NodeSum:
        """The sum of signals."""
        shape = signals[0].shape
        sources: List[str] = []
        for signal in signals:
            if signal.shape != shape:
                raise NirError(f"layer {name}: shapes {shape} and {signal.shape} are added; NIR does not broadcast")
            for source in signal.sources:
                if source in sources:  # a graph cannot have the same edge twice: a Scale by 1 makes a second node
                    source = self.link(
                        f"{name}.again", nir.Scale(scale=np.ones(shape)), NodeSum((source,), shape), shape
                    )
                sources.append(source)
        return NodeSum(tuple(sources), shape)

    def link(self, name: str, node: Any, signal: NodeSum, out: Shape) -> str:
        """Add one node; returns its name, which is unique."""
        unique, count = name, 1
        while unique in self.nodes or unique == OUTPUT:
            count += 1
            unique = f"{name}_{count}"
        self.nodes[unique] = typed(node, signal.shape, out)
        self.edges += [(source, unique) for source in signal.sources]
        return unique

    def _leaf(self, layer: Any, name: str, params: Any, signal: NodeSum) -> NodeSum:
        try:
            out = shapes_of(layer, signal.shape).shape
        except (ShapeError, ValueError) as error:
            raise ShapeError(f"layer {name}: {error}") from None
        layer, params = self._plain(layer, name, params)
        if isinstance(layer, (RLeaky, RSynaptic, Recurrent)):
            return self._recurrent(layer, name, params, signal)
        if is_neuron(layer):
            self.losses += losses_of(f"layer {name} ({layer_name(layer)})", layer)
            chain = neuron_nodes(name, layer, params, signal.shape, self.units)
        elif type(layer) in WRITERS:
            try:
                chain = [("", WRITERS[type(layer)](layer, params, signal.shape, self.units))]
            except NirError as error:
                raise NirError(f"layer {name} ({layer_name(layer)}): {error}") from None
        else:
            raise no_such_node(name, layer)
        for suffix, node in chain:
            signal = NodeSum((self.link(name + suffix, node, signal, out),), out)
        return signal

    def _plain(self, layer: Any, name: str, params: Any) -> Tuple[Any, Any]:
        """The layer inside of a ``Quantized`` with the weights that it computes with; others as they are."""
        if type(layer) is not Quantized:
            return layer, params
        if layer.input_quant is not None or layer.output_quant is not None:
            raise NirError(
                f"layer {name} (Quantized): input_quant, output_quant: NIR's signals are real numbers; leave them out"
            )
        self.losses.append(f"layer {name} (Quantized): its weights are written as they are rounded, their grid is not")
        dtype = str(next(iter(params.values())).dtype)
        return layer.layer, layer.prepare(get_engine("numpy", dtype=dtype), params)

    def _recurrent(self, layer: Any, name: str, params: Any, signal: NodeSum) -> NodeSum:
        """Add a neuron whose spikes return to its input through a connection."""
        inner = layer if isinstance(layer, Recurrent) else layer.recurrent
        if not is_neuron(inner.neuron):
            raise no_such_node(f"{name}.neuron", inner.neuron)
        connection, weights_of = self._plain(inner.connection, f"{name}.connection", params["connection"])
        if type(connection) not in WRITERS:
            raise no_such_node(f"{name}.connection", connection)
        self.losses += losses_of(f"layer {name} ({layer_name(layer)})", inner.neuron)
        chain = neuron_nodes(name, inner.neuron, params["neuron"], signal.shape, self.units)
        weights = _connection(connection, weights_of, signal.shape, self.units)
        weights.metadata = note(**noted(weights), layer=type(layer).__name__)
        if not self.subgraphs:
            return self._loop(f"{name}.", chain, weights, signal)
        inside = GraphDraft(self.units, signal.shape)
        subgraph = inside.finished(inside._loop("", chain, weights, inside.start))
        return NodeSum((self.link(name, subgraph, signal, signal.shape),), signal.shape)

    def _loop(self, path: str, chain: List[Tuple[str, Any]], weights: Any, signal: NodeSum) -> NodeSum:
        """Add a chain of nodes, and lead the spikes of the last node through ``weights`` to the first."""
        names: List[str] = []
        for suffix, node in chain:
            names.append(self.link(f"{path}lif{suffix}", node, signal, signal.shape))
            signal = NodeSum((names[-1],), signal.shape)
        self.edges.append((self.link(f"{path}w_rec", weights, signal, signal.shape), names[0]))
        return signal

    def finished(self, signal: NodeSum, metadata: Optional[Dict[str, Any]] = None) -> Any:
        """The finished graph, whose output is ``signal``."""
        self.nodes[OUTPUT] = nir.Output(output_type=np.array(signal.shape))
        self.edges += [(source, OUTPUT) for source in signal.sources]
        nodes, edges = folded(self.nodes, self.edges)
        return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata or {}, type_check=False)


def _connection(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    """The node of a recurrent connection. One-to-one between vectors is a diagonal matrix, as in snnTorch."""
    node = WRITERS[type(layer)](layer, params, shape, units)
    if isinstance(layer, OneToOne) and len(shape) == 1:
        return nir.Linear(weight=np.diag(node.scale), metadata=node.metadata)
    return node


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

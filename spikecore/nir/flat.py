"""A NIR graph without subgraphs: all nodes are on one level, without the Input and Output nodes of subgraphs."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import nir

from spikecore.nir.notes import NirError

Edge = Tuple[str, str]


class Flat:
    """A graph without subgraphs: nodes and edges, and the nodes before and after each node.

    Args:
        graph: a ``nir.NIRGraph``.

    Raises:
        NirError: an edge names an unknown node, or a subgraph has not exactly one Input and one Output node.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes, edges = self._flattened(graph, "")
        self.edges = list(dict.fromkeys(edges))  # some libraries write an edge twice
        self.after: Dict[str, List[str]] = {name: [] for name in self.nodes}
        self.before: Dict[str, List[str]] = {name: [] for name in self.nodes}
        for source, target in self.edges:
            self.after[source].append(target)
            self.before[target].append(source)

    def _flattened(self, graph: Any, path: str) -> Tuple[Dict[str, Any], List[Edge]]:
        nodes: Dict[str, Any] = {}
        edges: List[Edge] = []
        ports: Dict[str, Edge] = {}  # by node: the node at which its incoming edges end, and its outgoing edges begin
        for name, node in graph.nodes.items():
            full = path + name
            if isinstance(node, nir.NIRGraph):
                inside, wires = self._flattened(node, f"{full}.")
                ports[name] = (border(inside, nir.Input, full), border(inside, nir.Output, full))
                nodes.update(inside)
                edges += wires
            else:
                ports[name] = (full, full)
                nodes[full] = node
        for source, target in graph.edges:
            if source not in ports or target not in ports:
                raise NirError(f"edge {(source, target)!r} names a node that does not exist; nodes: {', '.join(ports)}")
            edges.append((ports[source][1], ports[target][0]))
        for start, end in ports.values():
            if start != end:
                edges = _without(start, _without(end, edges))
                del nodes[start], nodes[end]
        return nodes, edges


def border(nodes: Dict[str, Any], kind: Any, subgraph: str = "") -> str:
    """The name of the only Input or Output node.

    Raises:
        NirError: there is none, or there are several.
    """
    names = [name for name, node in nodes.items() if isinstance(node, kind)]
    if len(names) != 1:
        where, listed = f"subgraph {subgraph}" if subgraph else "the graph", f": {', '.join(names)}" if names else ""
        raise NirError(f"{where} has {len(names)} {kind.__name__} nodes; it must have exactly one{listed}")
    return names[0]


def _without(name: str, edges: List[Edge]) -> List[Edge]:
    """The edges without a node; each of its sources is connected with each of its targets."""
    sources = [s for s, t in edges if t == name]
    targets = [t for s, t in edges if s == name]
    return [e for e in edges if name not in e] + [(s, t) for s in sources for t in targets]

"""Scales before neurons. A constant Scale before a neuron becomes the neuron's r or w_in, as in other libraries."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import nir

from spikecore.nir.notes import noted

_FIELD = {nir.LIF: "r", nir.LI: "r", nir.IF: "r", nir.I: "r", nir.CubaLIF: "w_in", nir.CubaLI: "w_in"}


def folded(nodes: Dict[str, Any], edges: List[Tuple[str, str]]) -> Tuple[Dict[str, Any], List[Tuple[str, str]]]:
    """The graph without constant scales before neurons; ``import_from_nir`` makes a scale from r or w_in again."""
    nodes, edges = dict(nodes), list(edges)
    for name, node in list(nodes.items()):
        after = [target for source, target in edges if source == name]
        if not _constant(node) or len(after) != 1:
            continue
        neuron = nodes[after[0]]
        alone = [source for source, target in edges if target == after[0]] == [name]
        if not alone or type(neuron) not in _FIELD or noted(neuron).get("kind") == "Lapicque":
            continue
        field = _FIELD[type(neuron)]
        setattr(neuron, field, getattr(neuron, field) * node.scale)
        edges = [(source, after[0] if target == name else target) for source, target in edges if source != name]
        del nodes[name]
    return nodes, edges


def _constant(node: Any) -> bool:
    about = noted(node)
    return isinstance(node, nir.Scale) and about.get("kind") == "OneToOne" and "learn" not in about

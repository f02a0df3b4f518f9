"""A network as a table: layers, shapes of their outputs, numbers of parameters."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from spikecore.api.core.layer import Layer, Shape, layer_name, shapes_of
from spikecore.api.layers.containers import Container, flow, walk


def rows_of(
    network: Layer, shape: Shape, counts: Dict[str, int], zeros: Optional[Dict[str, int]] = None
) -> Tuple[List[Tuple[str, ...]], Tuple[str, ...]]:
    """Describe a network as a table, a row per layer: the rows, and the names of the columns.

    Args:
        network: the layer.
        shape: shape of one sample.
        counts: number of entries of each parameter, by dotted name.
        zeros: number of connections that do not exist, by dotted name of their weight; if there are some, the table has
            a column "sparsity", the fraction of a layer's connections that do not exist.
    """
    shapes: Dict[str, Shape] = {}
    _note_shapes(network, shape, "", shapes)
    rows: List[Tuple[str, ...]] = [("", "input", str(shape), "", "")]
    for name, layer in walk(network):
        owned = sum(n for key, n in counts.items() if _inside(key, name))
        rows.append((name, layer_name(layer), str(shapes.get(name, "")), f"{owned:,}", ", ".join(layer.state)))
    rows.append(("", "total", "", f"{sum(counts.values()):,}", ""))
    head = ("layer", "kind", "output", "parameters", "states")
    if not any((zeros or {}).values()):
        return rows, head
    shares = [_share(name, counts, zeros or {}) for name, *_ in rows[1:-1]]
    shares = ["", *shares, _share("", counts, zeros or {})]
    return [(*row, share) for row, share in zip(rows, shares)], (*head, "sparsity")


def _share(layer: str, counts: Dict[str, int], zeros: Dict[str, int]) -> str:
    """The fraction of the connections of a layer, or of the network, that do not exist, as text; "" without any."""
    names = [name for name in zeros if _inside(name, layer)]
    return f"{sum(zeros[name] for name in names) / sum(counts[name] for name in names):.1%}" if names else ""


def _inside(name: str, layer: str) -> bool:
    """Whether a parameter is one of a layer, or of the network, which is called ""."""
    return not layer or name.startswith(f"{layer}.")


def _note_shapes(layer: Layer, shape: Shape, path: str, shapes: Dict[str, Shape]) -> Shape:
    """Enter the output shapes of ``layer`` and all layers inside it into ``shapes``; return the shape of its output."""
    out = shapes_of(layer, shape).shape
    if isinstance(layer, Container):

        def through(name: str, child: Layer, shape: Shape) -> Shape:
            return _note_shapes(child, shape, f"{path}.{name}" if path else name, shapes)

        flow(layer.flow_nodes, shape, through, lambda merge, given, names: merge.shape(given, names))
    shapes[path] = out
    return out

"""A network as a table: layers, shapes of their outputs, numbers of parameters."""

from __future__ import annotations

from typing import Dict, List, Tuple

from spikecore.api.core.layer import Layer, Shape, layer_name, shapes_of
from spikecore.api.layers.containers import Container, Sequential, walk


def rows_of(network: Layer, shape: Shape, counts: Dict[str, int]) -> Tuple[List[Tuple[str, ...]], Tuple[str, ...]]:
    """Describe a network as a table, a row per layer: the rows, and the names of the columns.

    Args:
        network: the layer.
        shape: shape of one sample.
        counts: number of entries of each parameter, by dotted name.
    """
    shapes: Dict[str, Shape] = {}
    _note_shapes(network, shape, "", shapes)
    rows: List[Tuple[str, ...]] = [("", "input", str(shape), "", "")]
    for name, layer in walk(network):
        owned = sum(n for key, n in counts.items() if key.rpartition(".")[0] == name)
        rows.append((name, layer_name(layer), str(shapes.get(name, "")), f"{owned:,}", ", ".join(layer.state)))
    rows.append(("", "total", "", f"{sum(counts.values()):,}", ""))
    return rows, ("layer", "kind", "output", "parameters", "states")


def _note_shapes(layer: Layer, shape: Shape, path: str, shapes: Dict[str, Shape]) -> Shape:
    """Enter the output shapes of ``layer`` and all layers inside it into ``shapes``; return the shape of its output."""
    out = shapes_of(layer, shape).shape
    if isinstance(layer, Container):
        for name, child in layer.children():
            below = _note_shapes(child, shape, f"{path}.{name}" if path else name, shapes)
            shape = below if isinstance(layer, Sequential) else shape
    shapes[path] = out
    return out

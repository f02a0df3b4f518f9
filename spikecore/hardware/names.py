"""The names that chip files use: classes of layers and neurons, reset mechanisms."""

from __future__ import annotations

from typing import Any, FrozenSet, Tuple

import spikecore.base
from spikecore import Graph
from spikecore.api.layers.containers import Container
from spikecore.api.layers.nodes import LayerNode
from spikecore.api.neurons.stepper import Stepper
from spikecore.base import Concatenation, Layer, Membrane, Merge, Product, Stateless, Sum

WRAPPERS = ("Quantized", "QuantizedNeuron", "Recurrent", "RLeaky", "RSynaptic", "Sequential", "Graph")


def known_names(kind: str) -> FrozenSet[str]:
    """The names of all "layers", "neurons" or "resets" that a chip file may name.

    Wrappers are not among them: what counts is the neuron or layer inside, and of a graph how it merges.
    """
    if kind == "resets":
        return frozenset(Membrane.resets)
    wanted: Any = Stepper if kind == "neurons" else (Stateless, Container)
    public = ((name, getattr(place, name)) for place in (spikecore, spikecore.base) for name in _capitalised(place))
    classes = frozenset(name for name, thing in public if isinstance(thing, type) and issubclass(thing, wanted))
    return classes - {*WRAPPERS}


def _container_of(node: LayerNode) -> str:
    """The container that merges as a node of a graph does; "" if there is none."""
    merges = {Sum: "Add", Product: "Multiply", Concatenation: "Concat"}
    return merges.get(type(node.does), "") if isinstance(node.does, Merge) else "Add"


def _capitalised(place: Any) -> Tuple[str, ...]:
    """Public names of classes; those that need torch are no layers of a chip."""
    return tuple(name for name in dir(place) if name[:1].isupper() and name != "Torch")


def name_among(layer: Layer, names: Tuple[str, ...]) -> str:
    """The name in ``names`` of a layer's class, or of a base of it whose step it has; "" if there is none.

    A subclass of a neuron with a step of its own computes something else. A subclass of a layer without state, such as
    a quantised one, needs what its base needs.
    """
    if isinstance(layer, Graph):
        kinds = {_container_of(node) for node in layer.nodes() if len(node.sources) > 1}
        return ", ".join(sorted(kinds)) if kinds and kinds <= {*names} else ""
    own: Any = type(layer)
    for base in own.__mro__:
        known = base.__name__ in names and base.__module__.startswith("spikecore.")
        if known and (isinstance(layer, (Stateless, Container)) or own.step is base.step):
            return str(base.__name__)
    return ""

"""Containers whose layers lie side by side: all receive the same input, and their outputs are joined."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Literal, Optional, Tuple, get_args

from spikecore.api.core.foreign import no_layer, shown
from spikecore.api.core.layer import Layer, layer_name
from spikecore.api.core.messages import unknown
from spikecore.api.layers.containers import INPUT, SUM, Container, LayerNode, Listed
from spikecore.api.layers.merges import Concatenation, Merge, Product, Without
from spikecore.printing import call

Join = Literal["add", "and", "iand"]
JOINS: Dict[Join, Merge] = {"add": SUM, "and": Product(), "iand": Without()}


class Branches(Container):
    """Children that all receive the same input, and whose outputs are merged."""

    @abc.abstractmethod
    def merge(self) -> Merge:
        """The merge of their outputs, in the order of the children."""

    def nodes(self) -> Tuple[LayerNode, ...]:
        children = tuple(self.children())
        sides = tuple(LayerNode(name, layer, (INPUT,)) for name, layer in children)
        return (*sides, LayerNode("", self.merge(), tuple(name for name, _ in children)))


@dataclass(frozen=True)
class Residual(Container):
    """Residual connection: two ways for the same input, whose outputs are joined element by element.

        y = shortcut(x) + body(x)            join "add"
        y = shortcut(x) body(x)              "and": of spikes, both
        y = shortcut(x) (1 - body(x))        "iand": of spikes, the shortcut and not the body

    Args:
        body: a layer, often a Sequential; its parameters are named "body.…".
        shortcut: a layer in parallel to the body, with the same output shape; its parameters are named "shortcut.…".
            None, the default, is the identity.
        join: "add" (the default), "and" or "iand". The last two are for ways that end in neurons.

    Raises:
        TypeError: body or shortcut is not a layer.
        ValueError: ``join`` is something else.
        ShapeError: body and shortcut give different shapes.

    Source: He et al., Deep residual learning for image recognition, 2016; "and" and "iand", Fang et al., Deep residual
    learning in spiking neural networks, 2021.
    """

    body: Layer
    shortcut: Optional[Layer] = None
    join: Join = "add"

    _remedy: ClassVar[str] = "; pass a shortcut that gives what the body does"

    def __post_init__(self) -> None:
        check_join(self.join)
        for name, layer in (("body", self.body), ("shortcut", self.shortcut)):
            if not isinstance(layer, Layer) and not (name == "shortcut" and layer is None):
                raise TypeError(f"Residual: {name}={shown(layer)} is not a spikecore layer{no_layer(layer)}")

    def nodes(self) -> Tuple[LayerNode, ...]:
        body = LayerNode("body", self.body, (INPUT,))
        if self.shortcut is None:
            return body, LayerNode("", JOINS[self.join], (INPUT, "body"))
        return (
            body,
            LayerNode("shortcut", self.shortcut, (INPUT,)),
            LayerNode("", JOINS[self.join], ("shortcut", "body")),
        )


def check_join(join: Any) -> None:
    """Refuse what is no way to join two branches."""
    if join not in get_args(Join):
        raise ValueError(f"Residual: {unknown('join', join, get_args(Join))}")


class ListedBranches(Listed, Branches):
    """Layers in parallel, at least one; layer i is named ``str(i)``."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        if not layers:
            raise ValueError(f"{layer_name(self)}: needs at least one layer")


@dataclass(frozen=True, init=False)
class Concat(ListedBranches):
    """Layers in parallel: all receive the same input, and their outputs are concatenated; layer i is named ``str(i)``.

    Args:
        *layers: the layers, at least one.
        axis: axis of a sample along which the outputs are concatenated: 0, the default, is the axis of channels (or
            features of a dense layer), -1 the last one. All other axes must have equal sizes.

    Raises:
        TypeError: an entry is not a layer, or the axis is not an int.
        ValueError: there is no layer.
        ShapeError: the outputs differ in another axis.
    """

    axis: int = 0

    def __init__(self, *layers: Layer, axis: int = 0) -> None:
        super().__init__(*layers)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(f"Concat: axis={axis!r} must be an int, an axis of a sample")
        object.__setattr__(self, "axis", axis)

    def __repr__(self) -> str:
        axis = [f"axis={self.axis}"] if self.axis else []
        return call(layer_name(self), [*map(repr, self.layers), *axis])

    def merge(self) -> Merge:
        return Concatenation(self.axis)


@dataclass(frozen=True, init=False)
class Add(ListedBranches):
    """Layers in parallel: all receive the same input, and their outputs are added; layer i is named ``str(i)``.

    ``sc.Sequential()``, without layers, passes the input on. A sum of two is also a ``Residual``, which names them.

    Args:
        *layers: the layers, at least one; all give the same shape.

    Raises:
        TypeError: an entry is not a layer.
        ValueError: there is no layer.
        ShapeError: the outputs differ in shape.
    """

    def merge(self) -> Merge:
        return JOINS["add"]


@dataclass(frozen=True, init=False)
class Multiply(ListedBranches):
    """Layers in parallel: all receive the same input, and their outputs are multiplied; layer i is named ``str(i)``.

    A product of spikes is a spike where all layers fire; a product with other numbers scales spikes.

    Args:
        *layers: the layers, at least one; all give the same shape.

    Raises:
        TypeError: an entry is not a layer.
        ValueError: there is no layer.
        ShapeError: the outputs differ in shape.
    """

    def merge(self) -> Merge:
        return JOINS["and"]

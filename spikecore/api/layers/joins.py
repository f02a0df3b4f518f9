"""Joins: layers in parallel whose outputs are added or multiplied element by element."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict

from spikecore.api.core.layer import Shape, ShapeError, layer_name
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.containers import ListedBranches


class _Join(ListedBranches):
    """Base of ``Add`` and ``Multiply``."""

    operation: ClassVar[Callable[[Any, Any], Any]]

    def merged_shape(self, shape: Shape, shapes: Dict[str, Shape]) -> Shape:
        first, *others = shapes.values()
        if any(other != first for other in others):
            listed = ", ".join(map(str, shapes.values()))
            raise ShapeError(f"{layer_name(self)}: outputs of shape {listed}; all layers must give the same shape")
        return first

    def merge(self, xp: Vocabulary, x: Array, parts: Dict[str, Any], before: int) -> Any:
        return functools.reduce(type(self).operation, parts.values())


@dataclass(frozen=True, init=False)
class Add(_Join):
    """Layers in parallel: all receive the same input, and their outputs are added; layer i is named ``str(i)``.

    ``sc.Sequential()``, without layers, passes the input on. A sum of two is also a ``Residual``, which names them.

    Args:
        *layers: the layers, at least one; all give the same shape.

    Raises:
        TypeError: an entry is not a layer.
        ValueError: there is no layer.
        ShapeError: the outputs differ in shape.
    """

    operation: ClassVar[Callable[[Any, Any], Any]] = operator.add


@dataclass(frozen=True, init=False)
class Multiply(_Join):
    """Layers in parallel: all receive the same input, and their outputs are multiplied; layer i is named ``str(i)``.

    A product of spikes is a spike where all layers fire; a product with other numbers scales spikes.

    Args:
        *layers: the layers, at least one; all give the same shape.

    Raises:
        TypeError: an entry is not a layer.
        ValueError: there is no layer.
        ShapeError: the outputs differ in shape.
    """

    operation: ClassVar[Callable[[Any, Any], Any]] = operator.mul

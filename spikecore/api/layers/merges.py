"""Merges: how several signals of a network become one, element by element or side by side."""

from __future__ import annotations

import abc
import functools
import operator
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, List, Sequence, Tuple

from spikecore.api.core.layer import Shape, ShapeError
from spikecore.api.core.words import Vocabulary
from spikecore.arguments import Checked
from spikecore.printing import Concise


class Merge(Concise, Checked, abc.ABC):
    """Makes one signal of several. Without parameters and state; a container says which signals it gets."""

    @abc.abstractmethod
    def shape(self, shapes: Sequence[Shape], names: Sequence[str]) -> Shape:
        """Shape of one sample of the result.

        Args:
            shapes: shapes of one sample of each signal.
            names: the names of the layers that they come from, for messages.

        Raises:
            ShapeError: they do not fit.
        """

    @abc.abstractmethod
    def merge(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Any:
        """The result; ``before`` axes (time, batch) precede the sample's."""

    def products(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> List[Tuple[Any, Any]]:
        """The factors of the matrix products that ``merge`` computes; reports on activity count their operations."""
        return []


class _Elementwise(Merge):
    """Base of merges of signals of the same shape, entry by entry: ((a op b) op c) ..."""

    operation: ClassVar[Callable[[Any, Any], Any]]
    participle: ClassVar[str]

    def shape(self, shapes: Sequence[Shape], names: Sequence[str]) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            listed = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes))
            raise ShapeError(f"outputs that differ in shape cannot be {self.participle}: {listed}")
        return shapes[0]

    def merge(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Any:
        return functools.reduce(type(self).operation, signals)


@dataclass(frozen=True)
class Sum(_Elementwise):
    """The sum of signals of the same shape."""

    operation: ClassVar[Callable[[Any, Any], Any]] = operator.add
    participle: ClassVar[str] = "added"


@dataclass(frozen=True)
class Product(_Elementwise):
    """The product of signals of the same shape, element by element: of spikes, whether all fire."""

    operation: ClassVar[Callable[[Any, Any], Any]] = operator.mul
    participle: ClassVar[str] = "multiplied"


@dataclass(frozen=True)
class Without(_Elementwise):
    """x (1 - y) of two signals: of spikes, whether the first fires and the second does not."""

    operation: ClassVar[Callable[[Any, Any], Any]] = lambda first, second: first * (1.0 - second)  # noqa: E731
    participle: ClassVar[str] = "multiplied"


@dataclass(frozen=True)
class Concatenation(Merge):
    """Signals side by side along an axis.

    Args:
        axis: axis of a sample: 0, the default, is the axis of channels (or features of a vector), -1 the last one. All
            other axes must have equal sizes.
    """

    axis: int = 0

    def shape(self, shapes: Sequence[Shape], names: Sequence[str]) -> Shape:
        first, *others = shapes
        if not -len(first) <= self.axis < len(first):
            raise ShapeError(f"axis={self.axis} is no axis of samples of shape {first}")
        axis = self.axis % len(first)
        if any((*s[:axis], *s[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for s in others):
            listed = ", ".join(str(s) for s in shapes)
            raise ShapeError(f"outputs of shape {listed} differ in more than axis {self.axis}")
        return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])

    def merge(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Any:
        axis = self.axis + before if self.axis >= 0 else self.axis
        steps = max(y.shape[0] for y in signals)  # a branch without neurons keeps a constant sequence at one step
        ys = [y if y.shape[0] == steps else xp.broadcast_to(y, (steps, *y.shape[1:])) for y in signals]
        return xp.concat(ys, axis=axis)

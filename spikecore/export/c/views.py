"""Views: which numbers of an array an operation reads or writes. Shape words become views and cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.step_graph import Shape


@dataclass(frozen=True, eq=False)
class View:
    """Numbers of an array that is stored in row-major order.

    Args:
        root: the array.
        places: an array of one byte per number that is never read: its strides are those of the view.
        offset: the place of the first number.
    """

    root: Value
    places: np.ndarray
    offset: int = 0

    @staticmethod
    def whole(root: Value, shape: Shape) -> View:
        """All of an array."""
        return View(root, np.empty(shape, np.int8))

    @property
    def shape(self) -> Shape:
        """Sizes along the axes."""
        return self.places.shape

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.places.size)

    @property
    def strides(self) -> Tuple[int, ...]:
        """Along each axis, the distance in numbers; 0 along an axis of size one."""
        return tuple(s if n > 1 else 0 for s, n in zip(self.places.strides, self.shape))

    @property
    def contiguous(self) -> bool:
        """Whether the numbers stand one behind the other."""
        return bool(self.places.flags.c_contiguous)

    def full(self, size: int) -> bool:
        """Whether it is all of an array of ``size`` numbers, in order."""
        return self.contiguous and self.offset == 0 and self.size == size

    def through(self, word: Callable[..., Any], *options: Any, **named: Any) -> Optional[View]:
        """The view after a shape word of NumPy; None if the word would have to copy."""
        places = word(self.places, *options, **named)
        if not np.may_share_memory(places, self.places) and places.size:
            return None
        return View(self.root, places, self.offset + (_address(places) - _address(self.places) if places.size else 0))

    def broadcast(self, shape: Shape) -> View:
        """The view as an operand of a result of ``shape``."""
        return View(self.root, np.broadcast_to(self.places, shape), self.offset)

    def squeezed(self) -> View:
        """Without axes of size one."""
        return View(self.root, np.squeeze(self.places), self.offset)


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])

"""``SpikingNeuron.instances``: kept because snnTorch users look at it. Nothing in this library reads it."""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Iterable, Iterator


class Instances:
    """A list of the neurons that are alive, in the order of their making; it keeps none of them alive."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._alive: Any = weakref.WeakValueDictionary()
        self._count = itertools.count()
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        """Add a neuron."""
        self._alive[next(self._count)] = item

    def __len__(self) -> int:
        return len(self._alive)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._alive.values()))

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __repr__(self) -> str:
        return f"Instances of {len(self)} neurons"

"""``SpikingNeuron.instances``: kept because snnTorch users look at it. Nothing in this library reads it."""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterable, Iterator


class Instances:
    """A list of the neurons that are alive, in the order of their making; it keeps none of them alive."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._refs: Dict[int, Any] = {}
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        """Add a neuron."""
        refs, key = self._refs, id(item)
        refs[key] = weakref.ref(item, lambda _: refs.pop(key, None))

    def __len__(self) -> int:
        return len(self._refs)

    def __iter__(self) -> Iterator[Any]:
        found = (ref() for ref in list(self._refs.values()))
        return (item for item in found if item is not None)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __repr__(self) -> str:
        return f"Instances of {len(self)} neurons"

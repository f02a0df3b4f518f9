"""Results that are kept as long as what they belong to."""

from __future__ import annotations

from functools import update_wrapper
from typing import Any, Callable, Dict
from weakref import WeakKeyDictionary


class Remembered:
    """A function that computes each result once for each first argument, and lets go of it together with that.

    Equal first arguments share results. A cache with a limit would hold on to what a session has long thrown away: its
    neurons, and the classes that a notebook defines again and again. A result must not hold its first argument.

    Args:
        function: its first argument can be hashed and can have weak references, the others can be hashed.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self.function = function
        self.known: WeakKeyDictionary[Any, Dict[Any, Any]] = WeakKeyDictionary()

    def __call__(self, owner: Any, *others: Any) -> Any:
        results = self.known.get(owner)
        if results is None:
            results = self.known.setdefault(owner, {})
        if others not in results:
            results[others] = self.function(owner, *others)
        return results[others]

    def cache_clear(self) -> None:
        """Forget everything."""
        self.known.clear()

"""Arrays on the host (the CPU's memory): NumPy arrays, made through the NumPy engine, since the core imports no NumPy.

The core draws weights, reads constants and files, and compares the results of several engines on the host.
"""

from __future__ import annotations

from typing import Any, Callable, List, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import on_host
from spikecore.api.core.layer import Key, Shape


def host() -> Engine:
    """The NumPy engine in float64."""
    return on_host("float64")


def float64(x: Any) -> Any:
    """Numbers, lists or an array of any engine, as a NumPy array of float64."""
    return host().to_numpy(host().asarray(x))


def to_numpy(x: Any) -> Any:
    """An array of any engine, or a list, as a NumPy array of its own dtype."""
    return host().to_numpy(x)


def not_finite(values: Any) -> List[Tuple[int, ...]]:
    """The indices of a NumPy array's entries that are NaN or infinite, in order."""
    mask = (values != values) | (abs(values) == float("inf"))
    return [tuple(map(int, index)) for index in zip(*mask.nonzero())]


def first_weight(key: Key, shape: Shape, make: Callable[[], Any]) -> Any:
    """Initial weights of ``shape``: what ``make()`` returns, as a NumPy array.

    With a blank key ``make`` is not called, and one number is broadcast to ``shape``: a file may name any sizes, and
    the shapes that follow from them are compared with its arrays before anything of that size is made.
    """
    return host().to_numpy(host().xp.broadcast_to(host().asarray(1.0), shape) if key.blank else make())


def uniform_weight(key: Key, name: str, shape: Shape, bound: float, centre: float = 0.0) -> Any:
    """Initial weights, uniform in [centre - bound, centre + bound), as a NumPy array."""

    def draw() -> Any:
        offsets = (2.0 * host().uniform(key.child(name).path, shape) - 1.0) * bound
        return offsets if centre == 0.0 else centre + offsets

    return first_weight(key, shape, draw)


def full_weight(key: Key, shape: Shape, value: float) -> Any:
    """Initial weights that all equal ``value``."""
    return first_weight(key, shape, lambda: host().xp.full(shape, value))

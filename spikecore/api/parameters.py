"""What a field of a neuron may be: a number, an array, or a value to be learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple, Union

from spikecore.api.engine import get_engine


class Fixed:
    """A constant array inside a frozen dataclass: compared and hashed by content.

    Args:
        value: anything array-like; kept as a read-only float64 NumPy array.
    """

    __slots__ = ("data",)

    data: Any

    def __init__(self, value: Any) -> None:
        host = get_engine("numpy", dtype="float64")
        self.data = host.to_numpy(host.asarray(value.data if isinstance(value, Fixed) else value)).copy()
        self.data.flags.writeable = False

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of the array."""
        return self.data.shape

    def tolist(self) -> Any:
        """The values as nested lists, for JSON."""
        return self.data.tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and self.shape == other.shape and bool((self.data == other.data).all())

    def __hash__(self) -> int:
        return hash((self.shape, self.data.tobytes()))

    def __repr__(self) -> str:
        return f"Fixed({self.tolist()!r})"


@dataclass(frozen=True)
class Learn:
    """A parameter that training may change; made by ``learn``."""

    value: Union[float, Fixed]
    per: Optional[str] = None


Param = Union[float, Fixed, Learn]


def learn(value: Any, per: Optional[str] = None) -> Learn:
    """Mark a parameter as learnable.

    Args:
        value: initial value, a number or an array that broadcasts to the neurons.
        per: None, one value for the whole layer; "neuron", one per neuron; "channel", one per channel (the first
            feature axis), as convolutional maps want it.

    Raises:
        ValueError: ``per`` is something else, or given together with an array.

    Example:
        >>> sc.Leaky(beta=sc.learn(0.9, per="neuron"))
    """
    if per not in (None, "neuron", "channel"):
        raise ValueError(f"learn: per={per!r} must be None, 'neuron' or 'channel'")
    value = constant(value)
    if per is not None and isinstance(value, Fixed) and value.shape != ():
        raise ValueError(f"learn: per={per!r} spreads one number; an array of shape {value.shape} already has its own")
    return Learn(value, per)


def constant(value: Any) -> Union[float, Fixed]:
    """A number as a float, anything array-like as ``Fixed``."""
    if isinstance(value, (int, float)):
        return float(value)
    return value if isinstance(value, Fixed) else Fixed(value)


def normalise(value: Any) -> Param:
    """The canonical form of a field's value."""
    return value if isinstance(value, Learn) else constant(value)


def values_of(value: Param) -> Any:
    """The number or NumPy array behind a field."""
    plain = value.value if isinstance(value, Learn) else value
    return plain.data if isinstance(plain, Fixed) else plain


def check_range(owner: object, name: str, value: Param, low: float, high: float) -> None:
    """Refuse a constant outside [low, high] and an initial value that is not a finite number.

    Raises:
        ValueError: names the class, the field, the value and what is allowed.
    """
    plain = values_of(value)
    flat = [float(plain)] if isinstance(plain, float) else plain.reshape(-1).tolist()
    bad = [v for v in flat if not (math.isfinite(v) and low <= v <= high)]
    if bad:
        allowed = "finite" if math.isinf(low) and math.isinf(high) else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{type(owner).__name__}: {name}={bad[0]!r} must be {allowed}")


def initial(owner: object, name: str, value: Learn, shape: Tuple[int, ...]) -> Any:
    """The first value of a learnable parameter as a NumPy array, given the shape of one sample.

    Raises:
        ValueError: an array that does not broadcast to ``shape``.
    """
    plain = values_of(value)
    host = get_engine("numpy", dtype="float64")
    if value.per == "neuron":
        return host.to_numpy(host.xp.full(shape, float(plain)))
    if value.per == "channel":
        return host.to_numpy(host.xp.full((shape[0],) + (1,) * (len(shape) - 1), float(plain)))
    check_broadcast(owner, name, plain, shape)
    return host.to_numpy(host.asarray(plain))


def check_broadcast(owner: object, name: str, plain: Any, shape: Tuple[int, ...]) -> None:
    """Refuse an array parameter that does not broadcast to the shape of one sample."""
    extents = () if isinstance(plain, float) else plain.shape
    fits = len(extents) <= len(shape) and all(n in (1, m) for n, m in zip(extents[::-1], shape[::-1]))
    if not fits:
        hint = f"; for one value per channel use shape ({shape[0]}, 1, 1)" if len(shape) == 3 else ""
        raise ValueError(
            f"{type(owner).__name__}: {name} of shape {extents} does not broadcast to neurons {shape}{hint}"
        )

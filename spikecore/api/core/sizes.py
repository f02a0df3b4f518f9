"""Checks of sizes and shapes, shared by connections, pooling and normalisation."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Tuple

from spikecore.api.core.layer import Shape, ShapeError
from spikecore.api.core.windows import window_counts
from spikecore.arguments import Sizes as Sizes
from spikecore.arguments import is_int


def is_size(n: Any, least: int) -> bool:
    """Whether ``n`` is an int, not a bool, of at least ``least``."""
    return isinstance(n, int) and is_int(n) and n >= least


def is_whole(n: Any, least: float) -> bool:
    """Whether ``n`` is an int or a NumPy integer, not a bool, of at least ``least``."""
    return is_int(n) and int(n) >= least


def is_finite(x: Any) -> bool:
    """Whether ``x`` is a real number, not a bool, that a float can hold."""
    if not isinstance(x, Real) or isinstance(x, bool):
        return False
    try:
        return math.isfinite(float(x))
    except OverflowError:  # an int of hundreds of digits
        return False


def whole_number(name: str, n: Any, least: float = -math.inf) -> int:
    """An int or a NumPy integer as an int.

    Raises:
        ValueError: ``n`` is something else, or below ``least``; the message names the argument and the value.
    """
    if not is_whole(n, least):
        raise ValueError(f"{name}={n!r} must be an int{'' if math.isinf(least) else f' >= {least}'}")
    return int(n)


def sample_shape(name: str, given: Any) -> Shape:
    """The shape of one sample, from a tuple of sizes or from a single size.

    Raises:
        ValueError: ``given`` is something else, or a size is below 1.
    """
    sizes = tuple(given) if hasattr(given, "__iter__") and not isinstance(given, bytes) else (given,)
    if not all(is_whole(n, 1) for n in sizes):
        raise ValueError(f"{name}={given!r} must be the sizes of one sample, without time and batch, e.g. (64,)")
    return tuple(int(n) for n in sizes)


def at_least_one(owner: object, **sizes: Any) -> None:
    """Refuse sizes of a layer that are not ints >= 1.

    Raises:
        ValueError: the message names the class, the argument and the value.
    """
    for name, n in sizes.items():
        if not is_size(n, 1):
            raise ValueError(f"{type(owner).__name__}: {name}={n!r} must be an int >= 1")


def check_steps(steps: int, given: int) -> None:
    """Refuse a run of fewer than one step, and an input whose time axis is neither 1 nor ``steps``.

    Raises:
        ShapeError: the message names both numbers.
    """
    if steps < 1 or given not in (1, steps):
        wanted = f"a time axis of {steps}, or of 1 for a constant input" if steps >= 1 else "at least one step"
        raise ShapeError(f"scan: inputs with a time axis of {given} for steps={steps}; expected {wanted}")


def spread(owner: str, name: str, value: Any, axes: int, least: int) -> Tuple[int, ...]:
    """One int per space axis, from an int or a tuple.

    Raises:
        ValueError: ``value`` has the wrong length, or an entry is not an int or below ``least``.
    """
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(sizes) != axes or not all(is_size(n, least) for n in sizes):
        several = f" or {axes} ints, each" if axes > 1 else ""
        raise ValueError(f"{owner}: {name}={value!r} must be an int{several} >= {least}")
    return sizes


def window_shape(owner: str, space: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Shape:
    """The size of the output map of a convolution or pooling over a map of size ``space``.

    Raises:
        ShapeError: no window fits into the map.
    """
    out = window_counts(space, kernel, stride, padding, dilation)
    if min(out) < 1:
        raise ShapeError(f"{owner}: kernel {kernel} with padding {padding} does not fit into a map of {space}")
    return out


def map_names(channels: Any, axes: int) -> str:
    """The shape of a sample with ``axes`` space axes, for messages: "(3, height, width)"."""
    space = {0: (), 1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}[axes]
    return f"({', '.join((str(channels), *space))}{'' if space else ','})"

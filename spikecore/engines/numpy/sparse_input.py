"""Events and sequences as lists of what is not zero, step by step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Optional, Sequence

import numpy as np

from spikecore.api.core.layer import Shape, ShapeError
from spikecore.api.core.sizes import whole_number
from spikecore.api.training.batching import check_axes, check_finite
from spikecore.arguments import shown

MOST = 1 << 31  # steps of a run: a wrong unit of time is noticed


class SparseSequence(NamedTuple):
    """The entries of a sequence that are not zero.

    Args:
        steps: number of time steps.
        borders: where the entries of each step begin and end, (steps + 1,), int64.
        places: of each entry in the flattened batch, rising within a step; int64.
        values: of each entry.
    """

    steps: int
    borders: Any
    places: Any
    values: Any


def is_events(given: Any) -> bool:
    """Whether this is a stream of events: times, places and a sensor."""
    return all(hasattr(given, name) for name in ("t", "place", "sensor"))


def sparse(
    engine: Any,
    given: Any,
    batch: int,
    shape: Shape,
    window: Optional[int],
    num_steps: Optional[int],
    start: Optional[int],
) -> SparseSequence:
    """Events, a list of events, or a sequence (time, batch, *features) as what is not zero of it.

    Raises:
        TypeError, ValueError, ShapeError: as in ``Model.run_events``.
    """
    streams = [given] if is_events(given) else given
    if isinstance(streams, (list, tuple)) and streams and all(map(is_events, streams)):
        return _of_events(engine, streams, batch, shape, window, num_steps, start)
    for name, option in (("window", window), ("num_steps", num_steps), ("start", start)):
        if option is not None:
            raise ValueError(f"{name}={option!r} goes with Events: an array has its own time steps")
    x = engine.asarray(given)
    if x.ndim == 1 + len(shape):
        raise ShapeError(
            f"input of shape {tuple(x.shape)} lacks the axis of time or of samples; one sample: x[:, None]"
        )
    check_axes(tuple(x.shape), shape, static=False)
    if x.shape[1] != batch:
        raise ShapeError(f"input of shape {tuple(x.shape)} has {x.shape[1]} samples, expected {batch}")
    check_finite(engine, x, remedy="")
    flat, size = x.reshape(-1), math.prod(x.shape[1:])
    found = np.flatnonzero(flat != 0)  # four times as fast as on numbers
    borders = np.searchsorted(found, np.arange(x.shape[0] + 1) * size)
    return SparseSequence(x.shape[0], borders.astype(np.int64), found % size, flat[found])


def _of_events(
    engine: Any,
    streams: Sequence[Any],
    batch: int,
    shape: Shape,
    window: Optional[int],
    num_steps: Optional[int],
    start: Optional[int],
) -> SparseSequence:
    """Counts of events by step, sample and place: what ``ToFrames(window=..., steps=..., start=...)`` counts."""
    if window is None:
        raise ValueError("Events need window=..., the length of a time step in microseconds")
    window = whole_number("window", window, 1)
    if len(streams) != batch:
        raise ShapeError(f"{len(streams)} streams of events for {batch} samples; pass one for each sample")
    size, step, places = math.prod(shape), [], []
    steps = num_steps if num_steps is not None else max(_steps_of(one, window, start) for one in streams)
    steps = whole_number("num_steps", steps, 1)
    if steps > MOST:
        raise ValueError(f"window={window} µs divides these events into {steps} time steps: use a longer window")
    for i, one in enumerate(streams):
        if tuple(one.shape) != tuple(shape):
            flat = math.prod(one.shape) == size and len(shape) == 1
            hint = "; put a Flatten() before the first layer" if flat else ""
            raise ShapeError(f"{shown(one)} is frames of {tuple(one.shape)}, but the first layer takes {shape}{hint}")
        at = (one.t - _begin(one, start)) // window
        inside = (at >= 0) & (at < steps)
        step.append(at[inside])
        places.append(one.place[inside] + i * size)
    keys, counts = np.unique(np.concatenate(step) * (batch * size) + np.concatenate(places), return_counts=True)
    borders = np.searchsorted(keys, np.arange(steps + 1) * (batch * size))
    return SparseSequence(steps, borders.astype(np.int64), keys % (batch * size), counts.astype(engine.dtype))


def _begin(events: Any, start: Optional[int]) -> int:
    if start is not None:
        return whole_number("start", start)
    return int(events.t[0]) if len(events) else 0


def _steps_of(events: Any, window: int, start: Optional[int]) -> int:
    """Number of steps of a stream; at least one."""
    begin = _begin(events, start)
    return max(1, -(-(int(events.t[-1]) + 1 - begin) // window)) if len(events) else 1

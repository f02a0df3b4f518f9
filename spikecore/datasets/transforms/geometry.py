"""Crops in space and time, coarser pixels, and merged polarities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple, Union

import numpy as np

from spikecore.datasets.errors import DataError
from spikecore.datasets.events import Events
from spikecore.datasets.transforms.base import Transform, is_count, need_events, require


@dataclass(frozen=True)
class Crop(Transform):
    """Keep the events in a part of the sensor. The part becomes the sensor of the result.

    Args:
        size: (width, height) of the part in pixels, or (units,); whole numbers ≥ 1.
        at: (left, top) of the part, or (first unit,), whole numbers ≥ 0; None for the centre.

    Raises:
        DataError: the part does not lie within the sensor.
    """

    size: Tuple[int, ...]
    at: Optional[Tuple[int, ...]] = None

    def __post_init__(self):
        fits = isinstance(self.size, tuple) and len(self.size) in (1, 2) and all(map(is_count, self.size))
        require(fits, self, "size", "need (width, height) or (units,), whole numbers of at least 1")
        corner = self.at is None or (len(self.at) == len(self.size) and all(is_count(n, 0) for n in self.at))
        require(corner, self, "at", f"need {len(self.size)} whole numbers of at least 0, or None for the centre")

    def __call__(self, events: Events) -> Events:
        sensor = need_events(self, events).sensor
        at = self.at or tuple((whole - part) // 2 for whole, part in zip(sensor, self.size))
        fits = len(sensor) == len(self.size) and all(a >= 0 and a + n <= m for a, n, m in zip(at, self.size, sensor))
        if not fits:
            raise DataError(f"Crop: size={self.size} at {at} does not lie within a sensor of {sensor}")
        return placed(events, [column - first for column, first in zip(coordinates(events), at)], self.size)


@dataclass(frozen=True)
class Downsample(Transform):
    """Join pixels to larger pixels: x // factor, y // factor. No event is lost; Refractory can reduce their number.

    Args:
        factor: a whole number ≥ 1, or one per axis of the sensor, (horizontal, vertical). If the sensor's size is not a
            multiple of it, the last pixel joins fewer pixels.
    """

    factor: Union[int, Tuple[int, ...]] = 2

    def __post_init__(self):
        factors = self.factor if isinstance(self.factor, tuple) else (self.factor,)
        fits = len(factors) in (1, 2) and all(map(is_count, factors))
        require(fits, self, "factor", "need a whole number of at least 1, or one per axis")

    def __call__(self, events: Events) -> Events:
        sensor = need_events(self, events).sensor
        factors = self.factor if isinstance(self.factor, tuple) else (self.factor,) * len(sensor)
        if len(factors) != len(sensor):
            raise DataError(f"Downsample: factor={self.factor} for a sensor of {sensor}: need one per axis")
        smaller = tuple(-(-extent // factor) for extent, factor in zip(sensor, factors))
        return placed(events, [column // factor for column, factor in zip(coordinates(events), factors)], smaller)


@dataclass(frozen=True)
class MergePolarities(Transform):
    """Remove polarities from events. Frames then have one channel."""

    def __call__(self, events: Events) -> Events:
        return need_events(self, events).with_arrays(p=None)


@dataclass(frozen=True)
class TimeCrop(Transform):
    """Keep the events with start ≤ t < stop.

    Args:
        start: microseconds.
        stop: microseconds, > start; None for the end of the sample.
        relative: count `start` and `stop` from the first event instead of from time 0.
    """

    start: int = 0
    stop: Optional[int] = None
    relative: bool = False

    def __post_init__(self):
        require(is_count(self.start, -(1 << 52)), self, "start", "need a whole number (µs)")
        fits = self.stop is None or (is_count(self.stop, -(1 << 52)) and self.stop > self.start)
        require(fits, self, "stop", f"need a whole number (µs) above start={self.start}, or None")

    def __call__(self, events: Events) -> Events:
        if not len(need_events(self, events)):
            return events
        zero = int(events.t[0]) if self.relative else 0
        stop = int(events.t[-1]) + 1 if self.stop is None else zero + self.stop
        return events.between(zero + self.start, stop)


def coordinates(events: Events) -> list:
    """The arrays of coordinates, in the order of `sensor`."""
    return [events.x] if events.y is None else [events.x, events.y]


def placed(events: Events, places: list, sensor: Tuple[int, ...], t: Any = None) -> Events:
    """Move events to other places, and other times if `t` is given. Events outside the sensor are left out."""
    inside = np.ones(len(events), bool)
    for column, extent in zip(places, sensor):
        inside &= (column >= 0) & (column < extent)
    moved = {name: column[inside] for name, column in zip("xy", places)}
    p = None if events.p is None else events.p[inside]
    times = (events.t if t is None else t)[inside]
    if t is not None or sensor != events.sensor:
        return Events.from_unsorted(times, **moved, p=p, sensor=sensor, origin=events.origin)
    columns = {name: column.astype(np.int16) for name, column in moved.items()}
    return events.unchecked(t=times, **columns, **({} if p is None else {"p": p}))

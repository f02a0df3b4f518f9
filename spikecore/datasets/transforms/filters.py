"""Filters that drop events: a noise filter and a refractory period."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from spikecore.datasets.events import Events
from spikecore.datasets.transforms.base import Transform, is_count, need_events, require


@dataclass(frozen=True)
class Denoise(Transform):
    """Keep an event only if a neighbouring pixel fired shortly before. Events of noise are usually isolated.

    Args:
        window: longest time since the neighbour's event, in microseconds, ≥ 1.
        radius: largest distance of a neighbour along each axis, in pixels, ≥ 1. The pixel itself does not count, and
            polarity does not matter.
        support: number of neighbouring pixels that must have fired, ≥ 1.

    Source: T. Delbruck, Frame-free dynamic digital vision, Intl. Symp. on Secure-Life Electronics 2008 (the background
    activity filter).
    """

    window: int = 10_000
    radius: int = 1
    support: int = 1

    def __post_init__(self):
        for name in ("window", "radius", "support"):
            require(is_count(getattr(self, name)), self, name, "need a whole number of at least 1")

    def __call__(self, events: Events) -> Events:
        count = len(need_events(self, events))
        if not count:
            return events
        width, height = (*events.sensor, 1)[:2]
        x, y = events.x.astype(np.int64), (0 if events.y is None else events.y.astype(np.int64))
        # In a sorted array of pixel * count + event number, one search finds the latest earlier event of a pixel.
        number = np.arange(count)
        keys = np.sort((y * width + x) * count + number)
        supporters = np.zeros(count, np.int64)
        vertical = range(-self.radius, self.radius + 1) if height > 1 else (0,)
        for dy, dx in product(vertical, range(-self.radius, self.radius + 1)):
            if (dy, dx) == (0, 0):
                continue
            inside = (x + dx >= 0) & (x + dx < width) & (y + dy >= 0) & (y + dy < height)
            pixel = (y + dy) * width + x + dx
            earlier = keys[np.searchsorted(keys, pixel * count + number) - 1]  # index -1 gives another pixel's event
            recent = events.t - events.t[earlier % count] <= self.window
            supporters += inside & (earlier // count == pixel) & recent
        return events[supporters >= self.support]


@dataclass(frozen=True)
class Refractory(Transform):
    """Drop events of a pixel, of either polarity, that come less than `period` µs after its last event that was kept.

    Args:
        period: microseconds, ≥ 1.
    """

    period: int = 1000

    def __post_init__(self):
        require(is_count(self.period), self, "period", "need a whole number of at least 1 (µs)")

    def __call__(self, events: Events) -> Events:
        need_events(self, events)
        next_time: dict = {}  # by pixel: earliest time of its next event
        keep = np.zeros(len(events), bool)
        for i, (t, pixel) in enumerate(zip(events.t.tolist(), events.with_arrays(p=None).place.tolist())):
            if t >= next_time.get(pixel, t):
                keep[i], next_time[pixel] = True, t + self.period
        return events[keep]

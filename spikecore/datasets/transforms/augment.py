"""Random changes that keep a sample's class. Each depends only on seed, sample and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikecore.datasets.errors import DataError
from spikecore.datasets.events import Events
from spikecore.datasets.transforms.base import Draws, RandomTransform, is_count, is_number, need_events, require
from spikecore.datasets.transforms.geometry import coordinates, placed


@dataclass(frozen=True)
class DropEvents(RandomTransform):
    """Drop each event with probability p.

    Args:
        p: probability in [0, 1].
        seed: of the random numbers; an integer ≥ 0.

    Source: F. Gu, W. Sng, X. Hu, F. Yu, EventDrop: Data Augmentation for Event-based Learning, IJCAI 2021.
    """

    p: float = 0.1
    seed: int = 0

    def __post_init__(self):
        _check(self)

    def change(self, events: Events, draws: Draws) -> Events:
        return need_events(self, events)[draws.uniform(len(events)) >= self.p]


@dataclass(frozen=True)
class Jitter(RandomTransform):
    """Move each event by its own normally distributed amount; events that leave the sensor are lost.

    Args:
        time: standard deviation in microseconds, in [0, 1e9].
        space: standard deviation in pixels, along each axis, in [0, 1e9].
        seed: of the random numbers; an integer ≥ 0.
    """

    time: float = 0.0
    space: float = 0.0
    seed: int = 0

    def __post_init__(self):
        _check(self)
        for name in ("time", "space"):
            require(is_number(getattr(self, name), most=1e9), self, name, "need a number from 0 to 1e9")

    def change(self, events: Events, draws: Draws) -> Events:
        count = len(need_events(self, events))
        moved = [_rounded(column, self.space, draws.normal(count)) for column in coordinates(events)]
        return placed(events, moved, events.sensor, _rounded(events.t, self.time, draws.normal(count)))


@dataclass(frozen=True)
class Shift(RandomTransform):
    """Move all events of a sample by the same whole number of pixels, uniform in [−pixels, pixels] along each axis.

    Args:
        pixels: largest move, ≥ 0; events that leave the sensor are lost.
        seed: of the random numbers; an integer ≥ 0.
    """

    pixels: int = 2
    seed: int = 0

    def __post_init__(self):
        _check(self)
        require(is_count(self.pixels, 0), self, "pixels", "need a whole number of at least 0")

    def change(self, events: Events, draws: Draws) -> Events:
        moves = [draws.integer(-self.pixels, self.pixels + 1) for _ in need_events(self, events).sensor]
        return placed(events, [c.astype(np.int64) + move for c, move in zip(coordinates(events), moves)], events.sensor)


@dataclass(frozen=True)
class Warp(RandomTransform):
    """Turn, stretch, slant and move a sample, as another hand would have written it or another camera seen it.

        place' = c + [[cos r, -sin r], [sin r, cos r]] [[1, s], [0, 1]] [[e^a, 0], [0, e^b]] (place - c) + m

    with the middle c of the sensor, and r, s, a, b and m drawn for each sample and epoch. An event lies anywhere in its
    pixel, so that a stretched sample has no gaps. Events that leave the sensor are lost.

    Args:
        degrees: largest turn; r is uniform in [-degrees, degrees]; from 0 to 180.
        stretch: a and b, of the two axes, are uniform in [-stretch, stretch]; from 0 to 1.
        slant: s is uniform in [-slant, slant]; from 0 to 1.
        pixels: m is uniform in [-pixels, pixels] along each axis; ≥ 0.
        seed: of the random numbers; an integer ≥ 0.
    """

    degrees: float = 12.0
    stretch: float = 0.12
    slant: float = 0.15
    pixels: float = 1.5
    seed: int = 0

    def __post_init__(self):
        _check(self)
        for name, most in (("degrees", 180.0), ("stretch", 1.0), ("slant", 1.0), ("pixels", 1e9)):
            require(is_number(getattr(self, name), most=most), self, name, f"need a number from 0 to {most:g}")

    def change(self, events: Events, draws: Draws) -> Events:
        if need_events(self, events).y is None:
            raise DataError(f"Warp: {events!r} has no y: it turns samples of sensors with two axes")
        turn, slant, a, b, *move = (2.0 * draws.uniform(6) - 1.0) * np.array(
            [np.deg2rad(self.degrees), self.slant, self.stretch, self.stretch, self.pixels, self.pixels]
        )
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = turned @ np.array([[1.0, slant], [0.0, 1.0]]) @ np.diag(np.exp([a, b]))
        middle = (np.array(events.sensor)[:, None] - 1.0) / 2.0
        within = draws.uniform(2 * len(events)).reshape(2, -1) - 0.5
        moved = middle + matrix @ (np.stack(coordinates(events)) + within - middle) + np.array(move)[:, None]
        return placed(events, list(np.rint(moved).astype(np.int64)), events.sensor)


@dataclass(frozen=True)
class Flip(RandomTransform):
    """Mirror a sample with probability p.

    Args:
        axis: "x" (exchanges left and right), "y" (up and down), or "p" (ON and OFF).
        p: probability in [0, 1].
        seed: of the random numbers; an integer ≥ 0.
    """

    axis: str = "x"
    p: float = 0.5
    seed: int = 0

    def __post_init__(self):
        _check(self)
        require(self.axis in ("x", "y", "p"), self, "axis", "use 'x', 'y' or 'p'")

    def change(self, events: Events, draws: Draws) -> Events:
        column = getattr(need_events(self, events), self.axis)
        if column is None:
            raise DataError(f"Flip: axis={self.axis!r}: {events!r} has no {self.axis}")
        if not draws.chance(self.p):
            return events
        last = {"x": events.sensor[0], "y": events.sensor[-1], "p": 2}[self.axis] - 1
        return events.with_arrays(**{self.axis: last - column})


@dataclass(frozen=True)
class ReverseTime(RandomTransform):
    """Reverse a sample in time with probability p: the last event comes first, and ON and OFF are exchanged, as in a
    film that runs backwards.

    Args:
        p: probability in [0, 1].
        seed: of the random numbers; an integer ≥ 0.
    """

    p: float = 0.5
    seed: int = 0

    def __post_init__(self):
        _check(self)

    def change(self, events: Events, draws: Draws) -> Events:
        if not draws.chance(self.p) or not len(need_events(self, events)):
            return events
        columns = {name: getattr(events, name)[::-1] for name in ("x", "y") if getattr(events, name) is not None}
        if events.p is not None:
            columns["p"] = 1 - events.p[::-1]
        return events.with_arrays(t=(events.t[0] + events.t[-1] - events.t)[::-1], **columns)


@dataclass(frozen=True)
class RandomTimeCrop(RandomTransform):
    """Keep a span of `duration` microseconds that starts at a random time in the sample; a shorter sample stays whole.

    Args:
        duration: microseconds, ≥ 1.
        seed: of the random numbers; an integer ≥ 0.
    """

    duration: int = 100_000
    seed: int = 0

    def __post_init__(self):
        _check(self)
        require(is_count(self.duration), self, "duration", "need a whole number of at least 1 (µs)")

    def change(self, events: Events, draws: Draws) -> Events:
        spare = need_events(self, events).duration + 1 - self.duration
        if spare <= 0:
            return events
        start = int(events.t[0]) + draws.integer(0, spare + 1)
        return events.between(start, start + self.duration)


def _check(transform: Any) -> None:
    require(is_count(transform.seed, 0), transform, "seed", "need a whole number of at least 0")
    if hasattr(transform, "p"):
        require(is_number(transform.p, 0.0, 1.0), transform, "p", "need a probability in [0, 1]")


def _rounded(column: np.ndarray, deviation: float, normal: np.ndarray) -> np.ndarray:
    return column + np.rint(deviation * normal).astype(np.int64)

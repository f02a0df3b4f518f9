"""Counts of events, in frames over time and in one image; and all frames as one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from spikecore.datasets.errors import DataError
from spikecore.datasets.events import Events
from spikecore.datasets.transforms.base import Compose, Transform, is_count, need_events, require
from spikecore.samples.source import same_features

MOST_BYTES = 1 << 31  # limit for the frames of one sample
EXACT = 1 << 24  # so many events can be counted one by one in float32


@dataclass(frozen=True, repr=False)
class Bins:
    """Division of time into steps. Pass exactly one of `steps`, `window` and `count`, or `window` with `steps`.

    Args:
        steps: number of steps, ≥ 1. Alone, it divides the time from the first event to the last into equal steps.
        window: length of a step in microseconds, ≥ 1. With `steps`, later events are left out, and a shorter sample
            gets empty steps at its end. Without `steps`, there are as many steps as the sample needs.
        count: number of events in a step, ≥ 1; the last step may have fewer.
        start: time in microseconds at which the first step begins; None for the time of the first event. Earlier events
            are left out. Not allowed with `count`.
        duration: time in microseconds, ≥ 1, that `steps` divides instead of the time to the last event. Later events
            are left out. Allowed with `steps` alone.

    A step covers start ≤ t < end.
    """

    steps: Optional[int] = None
    window: Optional[int] = None
    count: Optional[int] = None
    start: Optional[int] = None
    duration: Optional[int] = None

    def __post_init__(self):
        for name in ("steps", "window", "count", "duration"):
            value = getattr(self, name)
            require(value is None or is_count(value), self, name, "need a whole number of at least 1, or None")
        require(self.start is None or is_count(self.start, least=-(1 << 52)), self, "start", "need µs, or None")
        given = [name for name in ("steps", "window", "count") if getattr(self, name) is not None]
        if given not in (["steps"], ["window"], ["count"], ["steps", "window"]):
            raise DataError(
                f"{self!r}: divide time by one of steps (number), window (µs) and count (events per step), or by steps "
                "and window together"
            )
        if self.duration is not None and given != ["steps"]:
            raise DataError(f"duration={self.duration}: goes with steps alone: remove duration, window or count")
        if self.start is not None and given == ["count"]:
            raise DataError(f"start={self.start}: is not allowed with count; use TimeCrop(start) before this transform")

    def edges(self, events: Events) -> Tuple[np.ndarray, np.ndarray]:
        """The borders of the steps, as indices of events and as times in µs; both int64 (steps + 1,)."""
        if self.count is not None:
            index = np.append(np.arange(0, max(1, len(events)), self.count), len(events))
            return index, np.append(events.t, events.t[-1:] + 1)[index] if len(events) else np.zeros(2, np.int64)
        first = int(events.t[0]) if len(events) else 0
        begin = first if self.start is None else int(self.start)
        end = max(begin + 1, int(events.t[-1]) + 1 if len(events) else 0)
        if self.window is not None:
            steps = self.steps or -(-(end - begin) // self.window)
            self._check_steps(steps, events)
            times = begin + self.window * np.arange(steps + 1, dtype=np.int64)
        else:
            steps, span = int(self.steps), self.duration or end - begin  # type: ignore[arg-type]
            self._check_steps(steps, events)
            times = np.array([begin - (-span * k // steps) for k in range(steps + 1)], np.int64)  # rounded up
        return np.searchsorted(events.t, times), times

    def _check_steps(self, steps: int, events: Events) -> None:
        size = 4 * steps * int(np.prod(events.shape))
        if size > MOST_BYTES:
            raise DataError(
                f"{self!r}: {events!r} would become {steps} frames of {events.shape}, {size / 2**30:.1f} GiB: use a "
                "longer window, fewer steps, TimeCrop or Downsample"
            )


@dataclass(frozen=True)
class ToFrames(Bins, Transform):
    """Count events per time step, polarity and pixel: (time, polarity, height, width), float32.

    `ToFrames(steps=25)`, `ToFrames(window=1000)` (1 ms each), `ToFrames(window=1000, steps=300)`, or
    `ToFrames(count=200)`. A camera without polarities gives one channel, a one-dimensional sensor (time, units).

    Args:
        steps, window, count, start, duration: how time is divided, see Bins.
        binary: write 1 wherever there is any event, instead of the number of events.

    Raises:
        DataError: arguments exclude each other, or the frames of one sample would take more than 2 GiB.
    """

    binary: bool = False

    def __call__(self, events: Events) -> np.ndarray:
        return frames_of([self.counted(events)])[:, 0]

    def counted(self, events: Events) -> CountedEvents:
        """The events and their steps, from which `frames_of` makes the frames."""
        index, _ = self.edges(need_events(self, events))
        steps = len(index) - 1
        self._check_steps(steps, events)
        step = np.repeat(np.arange(steps), np.diff(index))
        first, behind = int(index[0]), int(index[-1])
        if (first, behind) != (0, len(events)):
            events = events[first:behind]
        return CountedEvents(events, step, (steps, *events.shape), self.binary)


@dataclass(frozen=True)
class CountImage(Transform):
    """Count all events of a sample in one image without time: (polarity, height, width), float32.

    Train on it as a current that is constant in time, `model.fit(..., num_steps=25)`, or with an encoder.

    Args:
        binary: write 1 wherever there is any event, instead of the number of events.
        normalise: divide by the largest count, so that values are in [0, 1], as encoders need.
    """

    binary: bool = False
    normalise: bool = False
    timed: ClassVar[bool] = False

    def __call__(self, events: Events) -> np.ndarray:
        need_events(self, events)
        step = np.zeros(len(events), np.int64)
        image = frames_of([CountedEvents(events, step, (1, *events.shape), self.binary)])[0, 0]
        return image / max(1, image.max()) if self.normalise else image


@dataclass(frozen=True)
class WholeSample(Transform):
    """Take an array (time, *features) for one sample without time, so that a network sees all of it at each step.

    Behind `LogMel`, steps are then an axis of an image. Behind `ToFrames`, frames (time, channels, height, width)
    become one image with time * channels channels. Train on it as a current that is constant in time,
    `model.fit(..., num_steps=4)`. All recordings must have the same number of steps.
    """

    timed: ClassVar[bool] = False

    def __call__(self, array: Any) -> np.ndarray:
        if not isinstance(array, np.ndarray):
            raise DataError(f"WholeSample takes an array, not {type(array).__name__}: put it behind ToFrames or LogMel")
        return array.reshape(-1, *array.shape[2:]) if array.ndim == 4 else array


class CountedEvents(NamedTuple):
    """Events that are counted in frames.

    Attributes:
        events: the events.
        step: index of the frame of each event, int64 (events,), ascending.
        shape: number of frames, and shape of one.
        binary: write 1 instead of the number.
    """

    events: Events
    step: np.ndarray
    shape: Tuple[int, ...]
    binary: bool


def frames_of(samples: Sequence[CountedEvents], steps: Optional[int] = None) -> np.ndarray:
    """The number of events in each entry of the frames of several samples, float32 (steps, samples, *features).

    Args:
        samples: the events of each.
        steps: number of frames; None, the default: those of the sample that has most. Others get empty frames at their
            end, and longer ones are cut.

    Raises:
        DataError: the frames of the samples have different shapes.
    """
    features = same_features(samples)
    steps = max(sample.shape[0] for sample in samples) if steps is None else steps
    frames = np.zeros((steps, len(samples), *features), np.float32)
    entries, size = frames.reshape(-1), int(np.prod(features))
    for i, (events, step, shape, binary) in enumerate(samples):
        place = events.place + (step * len(samples) + i) * size
        if shape[0] > steps:
            place = place[: np.searchsorted(step, steps)]
        if binary:
            entries[place] = 1
        elif len(place) <= EXACT:
            np.add.at(entries, place, np.float32(1))
        else:
            entries += np.bincount(place, minlength=len(entries))
    return frames


def counting(transform: Any) -> Any:
    """The transform, but frames at its end are left to `frames_of`: a batch is then counted where it lies."""
    if type(transform) is ToFrames:
        return transform.counted
    if type(transform) is Compose and transform.steps and type(transform.steps[-1]) is ToFrames:
        return Compose(*transform.steps[:-1], transform.steps[-1].counted)
    return transform

"""A stream of events: the output of an event camera or of an artificial cochlea."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Dict, Optional, Sequence, Tuple

import numpy as np

from spikecore.arguments import ArrayLike, Checked, argument_kind
from spikecore.datasets.errors import DataError
from spikecore.printing import table

TIME_LIMIT = 1 << 52  # µs, 142 years: sums and float64 stay exact far beyond any recording
SENSOR_LIMIT = 1 << 15  # pixels along an axis: AEDAT stores 15 bits


@dataclass(frozen=True, eq=False)  # __eq__ below compares the contents of arrays
class Events(Checked):
    """Events in the order of their times, one entry per event in each array.

    Args:
        t: times in microseconds, not decreasing; int64 (events,).
        x: column of the pixel, 0 at the left, in [0, width); or the unit of a one-dimensional sensor. int16 (events,).
        y: row of the pixel, 0 at the top, in [0, height); int16 (events,); None for a one-dimensional sensor.
        p: polarity, 1 (ON, brighter) or 0 (OFF, darker); int8 (events,); None if the sensor has no polarity.
        sensor: (width, height) of a camera, (units,) of a one-dimensional sensor.
        origin: name of the data set or camera. Messages print it, so that you can see whether events are recorded or
            simulated.

    The arrays are converted to these dtypes and are read-only. `events[10:20]`, a mask or an array of ascending indices
    gives Events; `events.between(start, stop)` selects a span of time. Two streams are equal if their times, places,
    polarities and sensors are equal.

    Raises:
        DataError: arrays differ in length, values are not whole numbers or out of range, times decrease
            (`Events.from_unsorted` sorts them), or the sensor does not fit the arrays.
    """

    _refusal: ClassVar[Any] = DataError

    t: np.ndarray
    x: np.ndarray
    y: Optional[np.ndarray] = None
    p: Optional[np.ndarray] = None
    sensor: Tuple[int, ...] = ()
    origin: str = ""

    def __post_init__(self):
        sensor = check_sensor(self.sensor)
        if (len(sensor) == 2) != (self.y is not None):
            need = "a sensor of (width, height) needs y" if len(sensor) == 2 else "with y, sensor is (width, height)"
            raise DataError(f"sensor={sensor} {'with' if self.y is not None else 'without'} y: {need}")
        arrays = {"t": _whole("t", self.t, np.int64, -TIME_LIMIT, TIME_LIMIT)}
        arrays["x"] = _whole("x", self.x, np.int16, 0, sensor[0])
        if self.y is not None:
            arrays["y"] = _whole("y", self.y, np.int16, 0, sensor[1])
        if self.p is not None:
            arrays["p"] = _whole("p", self.p, np.int8, 0, 2)
        _check_lengths(arrays)
        _check_order(arrays["t"])
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        object.__setattr__(self, "sensor", sensor)

    # ---- size, shape and comparison ----

    def __len__(self) -> int:
        return len(self.t)

    @property
    def duration(self) -> int:
        """Microseconds from the first event to the last; 0 without events."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0

    @property
    def polarities(self) -> int:
        """2 if events have a polarity, else 1."""
        return 1 if self.p is None else 2

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of one frame of this sensor, without time.

        (polarity, height, width) of a camera, with one channel if there are no polarities; (units,) or (2, units) of a
        one-dimensional sensor.
        """
        channels = (self.polarities,) if self.p is not None or len(self.sensor) == 2 else ()
        return (*channels, *reversed(self.sensor))

    @property
    def place(self) -> np.ndarray:
        """Index of each event's entry in a flattened frame of `shape`, int64 (events,)."""
        place = np.zeros(len(self), np.int64) if self.p is None else self.p.astype(np.int64)
        if self.y is not None:
            place = place * self.sensor[1] + self.y
        return place * self.sensor[0] + self.x

    def __repr__(self) -> str:
        size = "×".join(map(str, self.sensor))
        kind = f"{size} sensor" if len(self.sensor) == 2 else f"{size} units"
        polarity = "" if self.p is None else f", {int(self.p.sum())} ON"
        span = f" in {self.duration / 1000:g} ms" if len(self) else ""
        return f"Events({self.origin + ': ' if self.origin else ''}{len(self)} events{span}, {kind}{polarity})"

    def _repr_html_(self) -> str:
        return table(
            f"Events {self.origin}".strip(),
            [
                ("events", str(len(self))),
                ("duration", f"{self.duration / 1000:g} ms" if len(self) else "none"),
                ("sensor", "×".join(map(str, self.sensor))),
                *([("ON", str(int(self.p.sum())))] if self.p is not None else ()),
            ],
        )

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Events):
            return NotImplemented
        pairs = zip(self.columns().values(), other.columns().values())
        same = self.columns().keys() == other.columns().keys() and self.sensor == other.sensor
        return same and all(np.array_equal(mine, others) for mine, others in pairs)

    __hash__ = None  # type: ignore[assignment]

    # ---- cutting and joining ----

    def __getitem__(self, index: Any) -> Events:
        if isinstance(index, (int, np.integer)):
            raise DataError(f"events[{index}]: a single event is events[{index} : {index + 1}], which gives Events")
        is_mask = isinstance(index, np.ndarray) and index.dtype.kind == "b"
        if is_mask and index.shape == self.t.shape:  # NumPy takes numbers in half the time, and there are four columns
            index = np.flatnonzero(index)
        columns = {name: array[index] for name, array in self.columns().items()}
        in_order = isinstance(index, slice) and (index.step or 1) > 0
        if not (in_order or is_mask):
            return self.with_arrays(**columns)
        return self.unchecked(**columns)  # some of the same events in the same order

    def unchecked(self, **columns: np.ndarray) -> Events:
        """A copy with other t, x, y or p that need no check: of their types, in order, and within the sensor."""
        part = copy.copy(self)
        for name, array in columns.items():
            array.flags.writeable = False
            object.__setattr__(part, name, array)
        return part

    def between(self, start: int, stop: int) -> Events:
        """The events with start ≤ t < stop, in microseconds."""
        first, last = np.searchsorted(self.t, (start, stop))
        return self[int(first) : int(last)]

    def shift(self, time: int) -> Events:
        """The same events, `time` microseconds later; a negative `time` makes them earlier."""
        return self.with_arrays(t=self.t + int(time))

    def with_arrays(self, **changes: Any) -> Events:
        """A copy with other t, x, y, p, sensor or origin."""
        return replace(self, **changes)

    @staticmethod
    def merge(streams: Sequence[Events]) -> Events:
        """All events of several streams of one sensor, in the order of time. To join streams one after another, `shift`
        them first.

        Raises:
            DataError: there is no stream, or the streams differ in sensor or in having polarities.
        """
        streams = list(streams)
        kinds = {(stream.sensor, stream.p is None) for stream in streams}
        if len(kinds) != 1:
            listed = ", ".join(map(repr, streams)) or "none"
            raise DataError(f"streams: need at least one, all of the same sensor and with or without p, not {listed}")
        joined = {name: np.concatenate([s.columns()[name] for s in streams]) for name in streams[0].columns()}
        return Events.from_unsorted(**joined, sensor=streams[0].sensor, origin=streams[0].origin)

    @staticmethod
    def from_unsorted(
        t: ArrayLike,
        x: ArrayLike,
        y: Optional[ArrayLike] = None,
        p: Optional[ArrayLike] = None,
        *,
        sensor: Tuple[int, ...],
        origin: str = "",
    ) -> Events:
        """Make Events from arrays whose times may decrease. They are sorted by time; equal times keep their order.

        Arguments and errors are those of Events.
        """
        given = {"t": t, "x": x, "y": y, "p": p}
        columns: Dict[str, Any] = {name: None if c is None else np.asarray(c) for name, c in given.items()}
        times = columns["t"]
        if times.ndim == 1 and len(times) > 1 and (times[1:] < times[:-1]).any():
            _check_lengths({name: column for name, column in columns.items() if column is not None})
            order = np.argsort(times, kind="stable")
            columns = {name: None if column is None else column[order] for name, column in columns.items()}
        return Events(**columns, sensor=sensor, origin=origin)

    def columns(self) -> Dict[str, np.ndarray]:
        """The arrays that are not None, by name, in the order t, x, y, p."""
        columns = {"t": self.t, "x": self.x, "y": self.y, "p": self.p}
        return {name: column for name, column in columns.items() if column is not None}


argument_kind(Events)


def check_sensor(sensor: Any) -> Tuple[int, ...]:
    """The sensor's size as a tuple of ints; raises DataError if it is not a size."""
    sizes = tuple(sensor) if isinstance(sensor, (tuple, list, np.ndarray)) else (sensor,)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and 0 < n <= SENSOR_LIMIT for n in sizes)
    if len(sizes) not in (1, 2) or not whole:
        raise DataError(f"sensor={sensor!r}: need (width, height) or (units,), each from 1 to {SENSOR_LIMIT}")
    return tuple(int(n) for n in sizes)


def _whole(name: str, values: Any, dtype: Any, low: int, stop: int) -> np.ndarray:
    """The values as a read-only array of whole numbers in [low, stop)."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iub" and array.size):
        times = name == "t" and array.dtype.kind == "f"
        unit = ", microseconds; of seconds make np.round(1e6 * t).astype(np.int64)" if times else ""
        raise DataError(f"{name}: need one axis of whole numbers, not shape {array.shape} of {array.dtype}{unit}")
    if array.size and not (low <= int(array.min()) and int(array.max()) < stop):
        wrong = int(np.flatnonzero((array < low) | (array >= stop))[0])
        raise DataError(f"{name}[{wrong}]={array[wrong]}: must lie in [{low}, {stop})")
    array = array.astype(dtype, copy=False).view()
    array.flags.writeable = False
    return array


def _check_lengths(arrays: dict) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"arrays of different lengths: {listed}; each needs one entry per event")


def _check_order(t: np.ndarray) -> None:
    falls = np.flatnonzero(t[1:] < t[:-1])
    if len(falls):
        i = int(falls[0]) + 1
        raise DataError(f"t[{i}]={t[i]} is before t[{i - 1}]={t[i - 1]}: Events.from_unsorted(...) sorts them")

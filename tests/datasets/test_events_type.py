"""Events: what a stream is, what it refuses, and how it is cut and joined."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikecore.datasets import DataError, Events, from_structured, to_structured
from tests.datasets.event_files import some_events


def stream(**changes):
    fields = {"t": [0, 5, 5, 9], "x": [0, 1, 2, 3], "y": [3, 2, 1, 0], "p": [0, 1, 1, 0], "sensor": (4, 4)}
    return Events(**{**fields, **changes})


def test_arrays_get_their_dtypes_and_cannot_be_written_to():
    events = stream(p=[False, True, True, False])
    assert [a.dtype for a in (events.t, events.x, events.y, events.p)] == [np.int64, np.int16, np.int16, np.int8]
    with pytest.raises(ValueError, match="read-only"):
        events.t[0] = 3
    assert (len(events), events.duration, events.polarities, events.shape) == (4, 9, 2, (2, 4, 4))


@pytest.mark.parametrize("index", [slice(1, 3), slice(None, None, 2), np.array([True, False, False, True])])
def test_parts_are_like_streams_of_their_own(index):
    events = stream()
    part = events[index]
    assert part == stream(**{name: array[index] for name, array in events.columns().items()})
    assert (part.sensor, len(events)) == (events.sensor, 4)
    with pytest.raises(ValueError, match="read-only"):
        part.x[0] = 3
    with pytest.raises(DataError, match="is before"):
        events[::-1]
    with pytest.raises(DataError, match="is before"):
        events[np.array([3, 0])]


def test_the_array_given_stays_writable():
    t = np.arange(4)
    stream(t=t)
    t[0] = -1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": [0, 5, 4, 9]}, r"t\[2\]=4 is before t\[1\]=5: Events.from_unsorted"),
        ({"t": [0, 5, 5]}, r"different lengths: t 3, x 4, y 4, p 4"),
        ({"t": [0.0, 1.0, 2.0, 3.0]}, r"t: need one axis of whole numbers, not shape \(4,\) of float64"),
        ({"t": [[0, 5, 5, 9]]}, r"t: need one axis .* shape \(1, 4\)"),
        ({"t": [0, 1, 2, 1 << 60]}, r"t\[3\]=1152921504606846976: must lie in"),
        ({"x": [0, 1, 4, 3]}, r"x\[2\]=4: must lie in \[0, 4\)"),
        ({"y": [0, 1, -1, 3]}, r"y\[2\]=-1"),
        ({"y": np.array([0, 1, 2, 255], np.uint8)}, r"y\[3\]=255"),
        ({"p": [0, 1, 2, 1]}, r"p\[2\]=2: must lie in \[0, 2\)"),
        ({"y": None}, r"sensor=\(4, 4\) without y: a sensor of \(width, height\) needs y"),
        ({"sensor": (4,)}, r"sensor=\(4,\) with y"),
        ({"sensor": ()}, r"sensor=\(\): need \(width, height\) or \(units,\)"),
        ({"sensor": (4, 0)}, r"sensor=\(4, 0\)"),
        ({"sensor": (4, True)}, r"sensor=\(4, True\)"),
        ({"sensor": (4, 4, 2)}, r"sensor=\(4, 4, 2\)"),
        ({"sensor": (1 << 16, 4)}, r"each from 1 to 32768"),
    ],
)
def test_what_is_no_stream_is_refused_with_the_place(changes, message):
    with pytest.raises(DataError, match=message):
        stream(**changes)


def test_one_dimensional_sensors_have_units_only():
    events = Events([0, 1], [3, 699], sensor=(700,))
    assert events.shape == (700,)
    assert repr(events) == "Events(2 events in 0.001 ms, 700 units)"
    assert Events([0], [3], p=[1], sensor=(700,)).shape == (2, 700)
    assert Events([0], [3], [1], sensor=(8, 4)).shape == (1, 4, 8)


def test_the_repr_says_what_it_is_and_where_from():
    assert repr(stream(origin="N-MNIST")) == "Events(N-MNIST: 4 events in 0.009 ms, 4×4 sensor, 2 ON)"
    assert repr(stream(t=[], x=[], y=[], p=[])) == "Events(0 events, 4×4 sensor, 0 ON)"


def test_a_place_is_the_index_into_a_flattened_frame():
    events = some_events(100, (5, 7))
    frame = np.zeros(events.shape)
    np.add.at(frame, (events.p, events.y, events.x), 1)
    np.testing.assert_array_equal(np.bincount(events.place, minlength=70), frame.ravel())


def test_cutting_by_number_mask_and_time():
    events = stream()
    assert events[1:3] == Events([5, 5], [1, 2], [2, 1], [1, 1], (4, 4))
    assert events[events.p == 0] == events[[0, 3]]
    assert events.between(5, 9) == events[1:3]
    assert events.between(5, 10) == events[1:]
    assert len(events.between(6, 6)) == 0
    with pytest.raises(DataError, match=r"events\[1\]: a single event is events\[1 : 2\]"):
        events[1]
    with pytest.raises(DataError, match=r"is before"):
        events[::-1]


def test_equality_is_that_of_contents():
    assert stream() == stream(origin="elsewhere")
    assert stream() != stream(p=[1, 1, 1, 0])
    assert stream() != stream(p=None)
    assert stream() != stream(sensor=(5, 5))
    assert stream() != 3


@given(cuts=st.lists(st.integers(0, 300_000), max_size=4), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_merging_the_parts_of_a_stream_gives_the_stream(cuts, seed):
    events = some_events(120, seed=seed)
    edges = [0, *sorted(cuts), 300_000]
    parts = [events.between(a, b) for a, b in zip(edges, edges[1:])]
    assert Events.merge(parts) == events
    assert Events.merge(parts[::-1]).t.tolist() == events.t.tolist()


def test_merging_interleaves_and_shifting_puts_one_after_another():
    one, two = stream(), stream()
    assert Events.merge([one, two]).t.tolist() == [0, 0, 5, 5, 5, 5, 9, 9]
    assert Events.merge([one, two.shift(10)]).t.tolist() == [0, 5, 5, 9, 10, 15, 15, 19]
    with pytest.raises(DataError, match="all of the same sensor"):
        Events.merge([one, stream(sensor=(5, 5))])
    with pytest.raises(DataError, match="not none"):
        Events.merge([])


def test_sorting_is_stable():
    events = Events.from_unsorted([3, 1, 3, 1], [0, 1, 2, 3], sensor=(4,))
    assert events.t.tolist() == [1, 1, 3, 3]
    assert events.x.tolist() == [1, 3, 0, 2]
    many = Events.from_unsorted([1, 0] * 500, range(1000), sensor=(1000,))
    assert many.x.tolist() == [*range(1, 1000, 2), *range(0, 1000, 2)]
    with pytest.raises(DataError, match="different lengths: t 2, x 1"):
        Events.from_unsorted([3, 1], [0], sensor=(4,))


def test_structured_arrays_and_back():
    events = some_events()
    array = to_structured(events)
    assert array.dtype.names == ("x", "y", "t", "p")
    assert from_structured(array, (34, 34)) == events
    signed = np.zeros(2, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    signed["p"] = [-1, 1]
    assert from_structured(signed, (4, 4)).p.tolist() == [0, 1]
    spikes = Events([1, 2], [3, 4], sensor=(700,))
    assert from_structured(to_structured(spikes), (700,)) == spikes
    with pytest.raises(DataError, match=r"need a structured array with the fields t, x, y, p.* not ndarray float64"):
        from_structured(np.zeros((3, 4)), (4, 4))
    with pytest.raises(DataError, match="one axis of events"):
        from_structured(array.reshape(2, -1), (34, 34))


def test_streams_can_be_pickled():
    events = some_events()
    assert pickle.loads(pickle.dumps(events)) == events

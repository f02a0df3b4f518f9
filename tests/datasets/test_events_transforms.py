"""Transforms of events, each against its definition written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikecore.datasets import DataError, Events
from spikecore.datasets.transforms import (
    Compose,
    CountImage,
    Crop,
    Denoise,
    Downsample,
    LocalTimeSurfaces,
    MergePolarities,
    Refractory,
    TimeCrop,
    TimeSurface,
    ToFrames,
    VoxelGrid,
)
from tests.datasets.event_files import some_events

SPIKES = Events([0, 10, 20, 30], [1, 2, 2, 699], sensor=(700,))
EMPTY = some_events(0)


def events_of(*rows, sensor=(8, 6)):
    """Events from (t, x, y, p)."""
    t, x, y, p = zip(*rows)
    return Events(t, x, y, p, sensor)


def written_out(events, step, steps):
    """Frames by one addition per event."""
    frames = np.zeros((steps, *events.shape), np.float32)
    for k, x, y, p in zip(step, events.x, events.y, events.p):
        if 0 <= k < steps:
            frames[k, p, y, x] += 1
    return frames


# ------------------------------------------------------------------------------------------- frames


@given(steps=st.integers(1, 40), count=st.integers(1, 80), duration=st.integers(1, 10**6), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_equal_steps_from_the_first_event_to_the_last(steps, count, duration, seed):
    events = some_events(count, seed=seed, duration=duration).shift(12345)
    step = (events.t - events.t[0]) * steps // (events.duration + 1)
    frames = ToFrames(steps=steps)(events)
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, written_out(events, step, steps))
    assert frames.sum() == count


@given(window=st.integers(3000, 400_000), seed=st.integers(0, 9), start=st.none() | st.integers(-5000, 200_000))
@settings(max_examples=60, deadline=None)
def test_steps_of_a_fixed_window(window, seed, start):
    events = some_events(60, seed=seed)
    begin = events.t[0] if start is None else start
    step = (events.t - begin) // window
    steps = max(1, int(step[-1]) + 1)
    np.testing.assert_array_equal(ToFrames(window=window, start=start)(events), written_out(events, step, steps))
    fixed = ToFrames(window=window, steps=7, start=start)(events)
    np.testing.assert_array_equal(fixed, written_out(events, step, 7))


@given(count=st.integers(1, 70))
@settings(max_examples=30, deadline=None)
def test_steps_of_a_number_of_events(count):
    events = some_events(60)
    frames = ToFrames(count=count)(events)
    np.testing.assert_array_equal(frames, written_out(events, np.arange(60) // count, -(-60 // count)))


def test_steps_of_a_fixed_duration_leave_out_what_comes_later():
    events = events_of((0, 0, 0, 1), (5, 1, 0, 1), (10, 2, 0, 1), (99, 3, 0, 1))
    frames = ToFrames(steps=2, duration=20)(events)
    assert frames[:, 1, 0].tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]


def test_binary_frames_say_whether_not_how_often():
    events = events_of((0, 0, 0, 1), (1, 0, 0, 1), (9, 3, 2, 0))
    assert ToFrames(steps=1)(events).max() == 2
    assert ToFrames(steps=1, binary=True)(events).tolist() == np.minimum(ToFrames(steps=1)(events), 1).tolist()


def test_the_frames_axes_follow_the_sensor():
    camera = some_events(30, (8, 6))
    assert ToFrames(steps=5)(camera).shape == (5, 2, 6, 8)
    assert Compose(MergePolarities(), ToFrames(steps=5))(camera).shape == (5, 1, 6, 8)
    assert ToFrames(steps=5)(SPIKES).shape == (5, 700)
    assert ToFrames(window=10)(SPIKES)[:, [1, 2, 699]].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("transform", [ToFrames(steps=4), ToFrames(window=9), ToFrames(count=3), VoxelGrid(4)])
def test_without_events_frames_are_empty_but_there(transform):
    frames = transform(EMPTY)
    assert len(frames) >= 1
    assert frames.dtype == np.float32
    assert not frames.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"ToFrames\(\): divide time by one of steps"),
        ({"steps": 3, "count": 3}, r"divide time by one of"),
        ({"steps": 0}, r"ToFrames: steps=0: need a whole number of at least 1"),
        ({"window": 2.5}, r"window=2\.5"),
        ({"window": 10, "duration": 100}, r"duration=100: goes with steps alone"),
        ({"count": 10, "start": 5}, r"start=5: is not allowed with count"),
    ],
)
def test_frames_refuse_what_does_not_go_together(fields, message):
    with pytest.raises(DataError, match=message):
        ToFrames(**fields)


def test_frames_beyond_all_memory_are_refused_before_they_are_made():
    events = Events([0, 1 << 50], [0, 1], [0, 1], [0, 1], (34, 34))
    for transform in (ToFrames(window=1), ToFrames(steps=1 << 40), TimeSurface(window=1)):
        with pytest.raises(DataError, match=r"frames of \(2, 34, 34\), .* GiB: use a longer window"):
            transform(events)


def test_a_count_image_has_no_time():
    events = some_events(500, (8, 6))
    image = CountImage()(events)
    np.testing.assert_array_equal(image, ToFrames(steps=1)(events)[0])
    assert CountImage(binary=True)(events).max() == 1
    assert CountImage(normalise=True)(events).max() == 1
    assert CountImage.timed is False
    assert Compose(Denoise(), CountImage()).timed is False
    assert not CountImage(normalise=True)(EMPTY).any()


# ---------------------------------------------------------------------------- voxels, time surfaces


@given(bins=st.integers(1, 12), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_a_voxel_grid_is_its_formula(bins, seed):
    events = some_events(40, (8, 6), seed=seed)
    expected = np.zeros((bins, 1, 6, 8))
    moments = (bins - 1) * (events.t - events.t[0]) / events.duration
    for moment, x, y, p in zip(moments, events.x, events.y, events.p):
        for b in range(bins):
            expected[b, 0, y, x] += (2 * p - 1) * max(0, 1 - abs(b - moment))
    np.testing.assert_allclose(VoxelGrid(bins)(events), expected, atol=1e-6)


def test_a_voxel_grid_of_units_counts_up():
    grid = VoxelGrid(4)(SPIKES)
    assert grid.shape == (4, 700)
    np.testing.assert_allclose(grid.sum(0)[[1, 2, 699]], [1, 2, 1], atol=1e-6)


@given(steps=st.integers(1, 9), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_time_surface_is_its_formula(steps, seed):
    events = some_events(60, (4, 3), seed=seed)
    surfaces = TimeSurface(steps=steps, tau=20_000)(events)
    assert surfaces.shape == (steps, 2, 3, 4)
    for k in range(steps):
        end = events.t[0] + -(-(events.duration + 1) * (k + 1) // steps)
        for p, y, x in itertools.product(range(2), range(3), range(4)):
            before = events.t[(events.t < end) & (events.x == x) & (events.y == y) & (events.p == p)]
            expected = np.exp((before[-1] - end) / 20_000) if len(before) else 0.0
            assert surfaces[k, p, y, x] == pytest.approx(expected, abs=1e-6)


def test_local_time_surfaces_are_their_formula():
    events = some_events(80, (6, 5))
    surfaces = LocalTimeSurfaces(radius=2, tau=30_000)(events)
    assert surfaces.shape == (80, 5, 5)
    for i in range(80):
        for dy, dx in itertools.product(range(-2, 3), range(-2, 3)):
            at = (events.x == events.x[i] + dx) & (events.y == events.y[i] + dy) & (events.p == events.p[i])
            before = events.t[: i + 1][at[: i + 1]]
            expected = np.exp((before[-1] - events.t[i]) / 30_000) if len(before) else 0.0
            assert surfaces[i, dy + 2, dx + 2] == pytest.approx(expected, abs=1e-6)
    assert LocalTimeSurfaces(radius=1)(SPIKES).shape == (4, 3)


# ------------------------------------------------------------------------------------------ filters


@given(radius=st.integers(1, 2), support=st.integers(1, 3), window=st.integers(1, 60_000), seed=st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_denoising_keeps_what_neighbouring_pixels_support(radius, support, window, seed):
    events = some_events(120, (7, 5), seed=seed)
    kept = np.zeros(120, bool)
    for i in range(120):
        dx, dy = (np.abs(column[:i].astype(int) - int(column[i])) for column in (events.x, events.y))
        near = (dx <= radius) & (dy <= radius) & (dx + dy > 0) & (events.t[i] - events.t[:i] <= window)
        kept[i] = len(set(zip(events.x[:i][near], events.y[:i][near]))) >= support
    assert Denoise(window, radius, support)(events) == events[kept]


def test_denoising_drops_lone_events_and_needs_no_second_axis():
    assert Denoise(window=10)(SPIKES).t.tolist() == [10]
    assert len(Denoise()(EMPTY)) == 0
    noise = some_events(200, (128, 128), duration=10**6)
    edge = events_of(*((1000 + t, 40 + t, 50, 1) for t in range(60)), sensor=(128, 128))
    assert len(Denoise(window=2000)(Events.merge([noise, edge]))) in range(55, 75)


@given(period=st.integers(1, 100_000), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_a_refractory_pixel_rests_after_each_event_kept(period, seed):
    events = some_events(150, (3, 2), seed=seed)
    last, kept = {}, []
    for t, x, y in zip(events.t, events.x, events.y):
        kept.append((x, y) not in last or t - last[x, y] >= period)
        if kept[-1]:
            last[x, y] = t
    assert Refractory(period)(events) == events[np.array(kept)]


# ----------------------------------------------------------------------------------------- geometry


def test_a_crop_has_its_own_sensor_and_origin():
    events = some_events(400, (8, 6))
    part = Crop((4, 3), at=(2, 1))(events)
    inside = (events.x >= 2) & (events.x < 6) & (events.y >= 1) & (events.y < 4)
    chosen = events[inside]
    assert part == Events(chosen.t, chosen.x - 2, chosen.y - 1, chosen.p, (4, 3))
    frames = ToFrames(steps=1)(events)
    np.testing.assert_array_equal(ToFrames(steps=1)(Crop((4, 4))(events)), frames[..., 1:5, 2:6])
    assert Crop((2,), at=(1,))(SPIKES).x.tolist() == [0, 1, 1]
    for crop in (Crop((9, 3)), Crop((4, 3), at=(5, 0)), Crop((4,))):
        with pytest.raises(DataError, match=r"does not lie within a sensor of \(8, 6\)"):
            crop(events)


def test_downsampling_joins_pixels_and_loses_no_event():
    events = some_events(400, (8, 6))
    frames = ToFrames(steps=3)(events)
    halved = ToFrames(steps=3)(Downsample(2)(events))
    np.testing.assert_array_equal(halved, frames.reshape(3, 2, 3, 2, 4, 2).sum((3, 5)))
    assert Downsample(4)(events).sensor == (2, 2)
    assert Downsample((4, 1))(events).sensor == (2, 6)
    assert Downsample(10)(SPIKES).sensor == (70,)
    with pytest.raises(DataError, match=r"factor=\(2, 2\) for a sensor of \(700,\)"):
        Downsample((2, 2))(SPIKES)


def test_a_time_crop_is_absolute_or_relative_to_the_first_event():
    events = some_events(100).shift(7000)
    assert TimeCrop(50_000, 90_000)(events) == events.between(50_000, 90_000)
    first = int(events.t[0])
    assert TimeCrop(0, 90_000, relative=True)(events) == events.between(first, first + 90_000)
    assert TimeCrop(50_000)(events) == events[events.t >= 50_000]
    assert len(TimeCrop(5)(EMPTY)) == 0
    assert MergePolarities()(events).p is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop((0, 3)), r"Crop: size=\(0, 3\)"),
        (lambda: Crop((4, 3), at=(1,)), r"Crop: at=\(1,\)"),
        (lambda: Downsample(0), r"Downsample: factor=0"),
        (lambda: TimeCrop(5, 5), r"TimeCrop: stop=5: .* above start=5"),
        (lambda: Denoise(window=0), r"Denoise: window=0"),
        (lambda: Refractory(1.5), r"Refractory: period=1\.5"),
        (lambda: VoxelGrid(0), r"VoxelGrid: bins=0"),
        (lambda: TimeSurface(steps=3, tau=0), r"TimeSurface: tau=0"),
        (lambda: LocalTimeSurfaces(radius=0), r"LocalTimeSurfaces: radius=0"),
        (lambda: Compose(ToFrames(steps=3), 5), r"steps: 5 is no transform"),
        (lambda: Compose(Denoise), r"is no transform: write Denoise\(\)"),
        (
            lambda: Denoise()(np.zeros(3)),
            r"Denoise takes Events, not ndarray: put it before the step that makes frames",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(make, message):
    with pytest.raises(DataError, match=message):
        make()


# ---------------------------------------------------------------------------------------- in a row


def test_compose_is_one_after_another_and_flat():
    events = some_events(300)
    row = Compose(Denoise(), Compose(Downsample(2), ToFrames(steps=4)), lambda frames: frames + 1)
    np.testing.assert_array_equal(row(events), ToFrames(steps=4)(Downsample(2)(Denoise()(events))) + 1)
    assert repr(Compose(Denoise(), ToFrames(steps=4))) == "Compose(Denoise(), ToFrames(steps=4))"
    assert Compose(Denoise(), ToFrames(steps=4)) == Compose(Compose(Denoise()), ToFrames(steps=4))


@pytest.mark.parametrize("binary", [False, True])
def test_many_events_are_counted_as_few_are(monkeypatch, binary):
    events = Events(np.arange(300), np.arange(300) ** 2 % 7, p=np.arange(300) % 3 // 2, sensor=(7,))
    few = ToFrames(steps=2, binary=binary)(events)
    monkeypatch.setattr("spikecore.datasets.transforms.frames.EXACT", 10)
    assert np.array_equal(ToFrames(steps=2, binary=binary)(events), few)
    assert few.sum() == (np.count_nonzero(few) if binary else 300)

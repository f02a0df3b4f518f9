"""Random transforms: what they do, and that seed, sample and epoch alone decide it."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from spikecore.datasets import DataError, Events, Loader
from spikecore.datasets.transforms import (
    Compose,
    DropEvents,
    Flip,
    Jitter,
    RandomTimeCrop,
    ReverseTime,
    Shift,
    ToFrames,
    Warp,
)
from spikecore.datasets.transforms.base import Draws
from tests.datasets.event_files import dataset_of, some_events

EVENTS = some_events(2000)
ALL = [DropEvents(0.3), Jitter(500.0, 1.0), Flip("x"), ReverseTime(), RandomTimeCrop(), Shift(3), Warp()]


@pytest.mark.parametrize("transform", ALL, ids=lambda transform: type(transform).__name__)
def test_seed_sample_and_epoch_decide_and_nothing_else(transform):
    seeded = type(transform)(**{**vars(transform), "seed": 1})
    keys = [(index, epoch) for index in range(12) for epoch in range(3)]
    first = {key: transform(EVENTS, *key) for key in keys}
    for key in reversed(keys):
        assert transform(EVENTS, *key) == first[key]
        assert Compose(transform)(EVENTS, *key) == first[key]
    for other in (
        [first[index, 1] for index in range(12)],  # another epoch
        [first[(index + 1) % 12, 0] for index in range(12)],  # other samples
        [seeded(EVENTS, index) for index in range(12)],  # another seed
    ):
        assert other != [first[index, 0] for index in range(12)]


def test_draws_are_the_same_on_every_machine():
    """Golden values: changing them would change every seeded training run."""
    draws = Draws(3, 1)
    assert draws.uniform(3).tolist() == [0.8572859273383533, 0.9018187745966977, 0.9275903372496752]
    assert draws.integer(0, 1000) == 691


def test_draws_are_distributed_as_they_say():
    normal = Draws(0).normal(20_000)
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert set(map(Draws(0).integer, [0] * 200, [3] * 200)) == {0, 1, 2}


def test_dropping_keeps_a_share():
    assert DropEvents(0.0)(EVENTS) == EVENTS
    assert len(DropEvents(1.0)(EVENTS)) == 0
    assert 0.65 < len(DropEvents(0.3)(EVENTS)) / 2000 < 0.75


def test_jitter_moves_events_apart_and_sorts_them():
    events = Events(np.arange(3000) * 100, [50] * 3000, [50] * 3000, [1] * 3000, (101, 101))
    moved = Jitter(space=2.0)(events)
    assert abs(moved.x.std() - 2) < 0.1
    assert abs(np.corrcoef(moved.x, moved.y)[0, 1]) < 0.1
    np.testing.assert_array_equal(moved.t, events.t)
    moved = Jitter(time=300.0)(events)
    np.testing.assert_array_equal(moved.x, events.x)
    assert moved != events
    assert len(Jitter(space=100.0)(events)) < 2500  # what leaves the sensor is lost
    assert Jitter()(EVENTS) == EVENTS


def test_a_shift_moves_the_whole_sample():
    events = Events([0, 1], [5, 6], [5, 7], [0, 1], (12, 12))
    moves = {(int(s.x[0]) - 5, int(s.y[0]) - 5) for s in (Shift(1)(events, i) for i in range(100))}
    assert moves == {(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
    assert len(Shift(0)(events)) == 2
    assert min(len(Shift(12)(events, i)) for i in range(30)) == 0


def test_a_flip_mirrors_frames():
    frames = ToFrames(steps=2)(EVENTS)
    for axis, dimension in (("x", 3), ("y", 2), ("p", 1)):
        flipped = ToFrames(steps=2)(Flip(axis, p=1.0)(EVENTS))
        np.testing.assert_array_equal(flipped, np.flip(frames, dimension))
        assert Flip(axis, p=0.0)(EVENTS) == EVENTS
    with pytest.raises(DataError, match=r"Flip: axis='y': .* has no y"):
        Flip("y")(Events([0], [1], sensor=(700,)))


def test_a_warp_is_the_map_of_its_equation():
    """Squares of events on a large sensor: the corners' middles go where the drawn matrix says."""
    side, corners = 401, np.array([[100, 300, 100, 300], [100, 100, 300, 300]])
    x, y = np.repeat(corners, 500, axis=1)
    events = Events(np.arange(2000), x, y, np.zeros(2000, int), sensor=(side, side))
    for index in range(5):
        numbers = 2.0 * Draws(3, zlib.crc32(b"Warp"), 2, index).uniform(6) - 1.0
        turn, slant, a, b = numbers[:4] * [np.deg2rad(20.0), 0.1, 0.2, 0.2]
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = turned @ [[np.exp(a), slant * np.exp(b)], [0.0, np.exp(b)]]
        there = 200.0 + matrix @ (corners - 200.0) + 4.0 * numbers[4:, None]
        warped = Warp(20.0, 0.2, 0.1, 4.0, seed=3)(events, index, 2)
        found = np.stack([warped.x, warped.y]).reshape(2, 4, 500).mean(axis=2)
        assert found == pytest.approx(there, abs=0.1), "the mean over a pixel of 500 events"


def test_a_warp_of_nothing_changes_nothing_and_needs_two_axes():
    assert Warp(0.0, 0.0, 0.0, 0.0)(EVENTS) == EVENTS
    assert len(Warp()(EVENTS[:0])) == 0
    assert len(Warp(pixels=1e6)(EVENTS, 1)) == 0, "they have left the sensor"
    with pytest.raises(DataError, match="Warp: .* has no y"):
        Warp()(Events([0], [1], sensor=(700,)))


def test_time_reversed_twice_is_the_same():
    back = ReverseTime(p=1.0)(EVENTS)
    assert (int(back.t[0]), int(back.t[-1])) == (int(EVENTS.t[0]), int(EVENTS.t[-1]))
    assert back.x.tolist() == EVENTS.x[::-1].tolist()
    assert back.p.tolist() == (1 - EVENTS.p[::-1]).tolist()
    assert ReverseTime(p=1.0)(back) == EVENTS
    assert ReverseTime(p=0.0)(EVENTS) == EVENTS
    assert len(ReverseTime(p=1.0)(Events([], [], sensor=(700,)))) == 0


def test_a_random_time_crop_has_its_duration():
    for index in range(20):
        part = RandomTimeCrop(50_000)(EVENTS, index)
        assert 40_000 < part.duration < 50_000
        assert part == EVENTS.between(int(part.t[0]), int(part.t[-1]) + 1)[: len(part)]
    assert RandomTimeCrop(10**7)(EVENTS) == EVENTS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DropEvents(1.5), r"DropEvents: p=1\.5: need a probability"),
        (lambda: DropEvents(seed=-1), r"DropEvents: seed=-1"),
        (lambda: Jitter(time=-1.0), r"Jitter: time=-1\.0"),
        (lambda: Flip("z"), r"Flip: axis='z': use 'x', 'y' or 'p'"),
        (lambda: Shift(-1), r"Shift: pixels=-1"),
        (lambda: Warp(degrees=181.0), r"Warp: degrees=181\.0: need a number from 0 to 180"),
        (lambda: RandomTimeCrop(0), r"RandomTimeCrop: duration=0"),
    ],
)
def test_fields_out_of_range_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_a_sample_is_augmented_alike_in_any_order_batch_or_part_and_anew_each_epoch():
    dataset = dataset_of(*(some_events(300, seed=i) for i in range(9))).map(Shift(4, seed=3), ToFrames(steps=2))
    whole = dataset.batch(np.arange(9), epoch=1)
    np.testing.assert_array_equal(dataset[[7, 2]].batch(np.array([1, 0]), epoch=1), whole[:, [2, 7]])
    loader = Loader(dataset, batch_size=4, shuffle=False)
    epochs = [np.concatenate([inputs for inputs, _ in loader], axis=1) for _ in range(2)]
    np.testing.assert_array_equal(epochs[1], whole)
    assert not np.array_equal(epochs[0], epochs[1])

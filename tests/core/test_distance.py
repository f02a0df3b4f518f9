"""Distances between spike trains: against the definitions, written out spike by spike."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from spikecore import functional as F
from spikecore.conformance.rig import assert_close, differences, normal
from tests.conformance.own_engines import ENGINES, absent, make

PRESENT = [name for name in ENGINES if not absent(name)]


@pytest.fixture(params=PRESENT)
def engine(request):
    return make(request.param)


def trains(seed, p=0.15, shape=(30, 2, 5)):
    return (np.random.default_rng(seed).random(shape) < p) * 1.0


def columns(a):
    """The spike times of every train."""
    return [np.flatnonzero(column) for column in a.reshape(len(a), -1).T]


def van_rossum(t, u, tau):
    """D^2 in closed form: half the sum over pairs of exp(-|s - s'| / tau), with signs."""
    times, signs = np.concatenate([t, u]), np.array([1.0] * len(t) + [-1.0] * len(u))
    kernel = np.exp(-abs(times[:, None] - times[None, :]) / tau)
    return 0.5 * signs @ kernel @ signs if len(times) else 0.0


def victor_purpura(t, u, cost):
    """The recursion over the last spikes."""

    @functools.lru_cache(None)
    def best(i, j):
        if not i or not j:
            return float(i + j)
        moved = best(i - 1, j - 1) + cost * abs(int(t[i - 1]) - int(u[j - 1]))
        return min(best(i - 1, j) + 1, best(i, j - 1) + 1, moved)

    return best(len(t), len(u))


@pytest.mark.parametrize("tau", [0.3, 2.0, 50.0])
def test_van_rossum(engine, tau):
    a, b = trains(0), trains(1)
    found = engine.to_numpy(F.van_rossum_distance(engine.asarray(a), engine.asarray(b), tau, squared=True))
    expected = np.array([van_rossum(t, u, tau) for t, u in zip(columns(a), columns(b))]).reshape(2, 5)
    assert_close(found, expected, 1e-12)
    root = engine.to_numpy(F.van_rossum_distance(engine.asarray(a), b, 2 * tau, dt=2.0))
    assert_close(root, np.sqrt(expected), 1e-12)


def test_van_rossum_limits(engine):
    a, none = np.zeros((9, 1)), np.zeros((9, 1))
    a[8] = 1.0
    x = engine.asarray(a)
    assert_close(engine.to_numpy(F.van_rossum_distance(x, none, 3.0, squared=True)), np.array([0.5]), 1e-14)
    assert engine.to_numpy(F.van_rossum_distance(x, x, 3.0)).tolist() == [0.0]
    b, c = trains(2), trains(3)
    many = engine.to_numpy(F.van_rossum_distance(engine.asarray(b), engine.asarray(c), 1e7, squared=True))
    assert_close(many, (b.sum(0) - c.sum(0)) ** 2 / 2, 1e-4)
    few = engine.to_numpy(F.van_rossum_distance(engine.asarray(b), engine.asarray(c), 1e-3, squared=True))
    assert_close(few, (b != c).sum(0) / 2, 1e-12)


def test_van_rossum_is_differentiable(engine):
    x, y = normal(7, 2), trains(1, shape=(7, 2))

    def distance(values):
        return engine.xp.sum(F.van_rossum_distance(values, engine.asarray(y), 3.0, squared=True))

    _, _, grad = engine.value_and_grad(lambda values: (distance(values), ()), engine.asarray(x))
    expected = differences(lambda moved: float(engine.to_numpy(distance(engine.asarray(moved)))), x)
    assert_close(engine.to_numpy(grad), expected, 1e-6)


@pytest.mark.parametrize("cost", [0.0, 0.05, 0.3, 1.0, 3.0])
def test_victor_purpura(engine, cost):
    a, b = trains(0, shape=(25, 2, 4)), trains(1, shape=(25, 2, 4))
    a[:, 0, 0] = b[:, 0, 1] = 0.0
    found = engine.to_numpy(F.victor_purpura_distance(engine.asarray(a), engine.asarray(b), cost))
    expected = np.array([victor_purpura(t, u, cost) for t, u in zip(columns(a), columns(b))]).reshape(2, 4)
    assert_close(found, expected, 1e-12)
    half = engine.to_numpy(F.victor_purpura_distance(engine.asarray(a), b, 2 * cost, dt=0.5))
    assert_close(half, expected, 1e-12)
    if cost == 0.0:
        np.testing.assert_array_equal(found, abs(a.sum(0) - b.sum(0)))
    if cost >= 2.0:
        np.testing.assert_array_equal(found, (a != b).sum(0))


def test_victor_purpura_is_a_metric(engine):
    a, b, c = (engine.asarray(trains(seed, shape=(20, 6))) for seed in (4, 5, 6))
    ab, ba, bc, ac = (
        engine.to_numpy(F.victor_purpura_distance(x, y, 0.4)) for x, y in ((a, b), (b, a), (b, c), (a, c))
    )
    np.testing.assert_array_equal(ab, ba)
    assert (ac <= ab + bc + 1e-12).all()
    assert not engine.to_numpy(F.victor_purpura_distance(a, a, 0.4)).any()


def test_kind_dtype_and_empty_trains():
    torch = pytest.importorskip("torch", reason="a torch tensor goes in and comes out")
    a = torch.zeros(6, 3)
    for found in (F.van_rossum_distance(a, a, 2.0), F.victor_purpura_distance(a, a, 1.0)):
        assert isinstance(found, torch.Tensor)
        assert found.dtype == torch.float32
        assert not found.any()
    assert isinstance(F.van_rossum_distance(np.zeros((6, 3)), a.double(), 2.0), torch.Tensor), "host data gives way"
    assert math.isclose(float(F.victor_purpura_distance(np.ones((4, 1)), np.zeros((4, 1)), 1.0)[0]), 4.0)


BAD = {
    r"tau=0 and dt=1.0 must be": lambda a: F.van_rossum_distance(a, a, 0),
    r"cost=-1 must be >= 0": lambda a: F.victor_purpura_distance(a, a, -1),
    r"must have equal shapes": lambda a: F.van_rossum_distance(a, a[:2], 1.0),
    r"not empty": lambda a: F.victor_purpura_distance(a[:0], a[:0], 1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        BAD[message](np.zeros((4, 2)))

"""Encoders: equal spikes on every engine, however a batch is split; snnTorch's golden codes."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import spikegen
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close

DATA = np.random.default_rng(0).integers(0, 65, size=(6, 4)) / 64.0  # exact in float32
GOLDEN = np.array([[0.0, 0.005, 0.01, 0.02, 0.1, 0.5, 1.0]])


def check_encoder(engine, name, encode):
    found = engine.to_numpy(encode(engine.asarray(DATA)))
    assert found.dtype == engine.dtype
    assert found.shape[1:] == DATA.shape
    np.testing.assert_array_equal(found, encode(DATA), "equal to the numpy engine's, to the bit")
    parts = [encode(engine.asarray(DATA[:2])), encode(engine.asarray(DATA[2:]), first=2)]
    joined = np.concatenate([engine.to_numpy(part) for part in parts], axis=1)
    np.testing.assert_array_equal(joined, found, "a batch may be encoded in parts")


@pytest.mark.parametrize(("name", "encode"), cases.ENCODERS, **cases.ids(cases.ENCODERS))
def test_encoder(engine, name, encode):
    check_encoder(engine, name, encode)


@pytest.mark.parametrize(("name", "encode"), cases.ENCODERS, **cases.ids(cases.ENCODERS))
def test_encoder_in_float32(engine32, name, encode):
    check_encoder(engine32, name, encode)
    float64 = encode(DATA.astype("float64"))
    np.testing.assert_array_equal(engine32.to_numpy(encode(engine32.asarray(DATA))), float64.astype("float32"))


def check_rate(engine):
    """Spikes with the given probability, clipped; none before first_spike_time; other seeds, other spikes."""
    p = np.linspace(0, 1, 5) * np.ones((200, 1))
    spikes = engine.to_numpy(spikegen.rate(engine.asarray(p), 100, seed=1))
    assert set(np.unique(spikes)) == {0.0, 1.0}
    assert abs(spikes.mean(axis=(0, 1)) - p[0]).max() < 0.015
    assert not spikes[..., 0].any()
    assert spikes[..., 4].all()
    assert (spikes != engine.to_numpy(spikegen.rate(engine.asarray(p), 100, seed=2))).any()
    late = engine.to_numpy(spikegen.rate(engine.asarray(p), 100, first_spike_time=7, seed=1))
    assert not late[:7].any()
    np.testing.assert_array_equal(late[7:], spikes[7:])
    shifted = engine.to_numpy(spikegen.rate(engine.asarray(p), 50, gain=10.0, offset=-1.0))
    assert not shifted[..., 0].any()
    assert shifted[..., 1:].all()


def test_rate(engine):
    check_rate(engine)


def check_threshold_crossing(engine):
    """The sum of all spikes so far is the number of levels that the signal has reached."""
    x = np.random.default_rng(1).integers(0, 65, size=(9, 3)) / 64.0
    spikes = engine.to_numpy(spikegen.threshold_crossing(engine.asarray(x), 5, start=0.0))
    reached = np.cumsum(spikes.reshape(9, 3, 5).sum(axis=-1), axis=0)
    np.testing.assert_array_equal(reached, np.searchsorted(np.arange(1, 6) / 6, x, side="right"))
    both = engine.to_numpy(spikegen.on_off(engine.asarray(spikes)))
    np.testing.assert_array_equal(both[:, :15] - both[:, 15:], spikes)
    assert both.min() == 0.0


def test_threshold_crossing(engine):
    check_threshold_crossing(engine)


def steps_of(engine, **options):
    spikes = engine.to_numpy(spikegen.latency(engine.asarray(GOLDEN), **options))
    return [list(np.flatnonzero(spikes[:, 0, i])) for i in range(GOLDEN.shape[1])]


def test_latency_golden(engine):
    """snnTorch's times, log [11.507 x 3, .6931, .1054, .0202, .0101] and so on, as the steps they round to."""
    log = [[12], [12], [12], [1], [0], [0], [0]]
    assert steps_of(engine, num_steps=14) == log
    assert steps_of(engine, num_steps=10, bypass=True) == [[]] * 3 + log[3:]
    assert steps_of(engine, num_steps=10, normalize=True) == [[9], [9], [9], [1], [0], [0], [0]]
    assert steps_of(engine, num_steps=10, normalize=True, linear=True) == [[9], [9], [9], [9], [8], [4], [0]]
    assert steps_of(engine, num_steps=10, tau=5, linear=True) == [[5], [5], [5], [5], [4], [2], [0]]
    assert steps_of(engine, num_steps=10, normalize=True, clip=True) == [[], [], [9], [1], [0], [0], [0]]
    assert steps_of(engine, num_steps=12, normalize=True, first_spike_time=2)[0] == [11]


def test_latency_of_a_sample_does_not_depend_on_the_batch(engine):
    """snnTorch stretches by the whole batch; here each sample is stretched by itself."""
    x = np.array([[0.9, 0.8], [0.001, 0.5]])
    together = engine.to_numpy(spikegen.latency(engine.asarray(x), 10, normalize=True))
    alone = engine.to_numpy(spikegen.latency(engine.asarray(x[:1]), 10, normalize=True))
    np.testing.assert_array_equal(together[:, :1], alone)


def test_latency_of_plain_numbers_per_sample(engine):
    spikes = engine.to_numpy(spikegen.latency(engine.asarray(np.array([1.0, 0.5])), 5, linear=True, tau=4))
    np.testing.assert_array_equal(spikes.argmax(0), [0, 2])


def test_constant_current(engine):
    assert_close(engine.to_numpy(spikegen.constant(engine.asarray(DATA), 3)), np.stack([DATA] * 3), 0.0)

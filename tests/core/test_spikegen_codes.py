"""Encoders beyond rate and latency: what each code means, on every engine; snnTorch's numbers where it has them."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen
from spikecore.conformance.rig import assert_close
from tests.conformance.own_engines import ENGINES, absent, make

PRESENT = [name for name in ENGINES if not absent(name)]
VALUES = np.array([[0.0, 0.005, 0.01, 0.02, 0.1, 0.5, 1.0]])


@pytest.fixture(params=PRESENT)
def engine(request):
    return make(request.param)


def on(engine, function, x, *args, **options):
    """Apply an encoder to a NumPy array brought to an engine; back as NumPy."""
    return engine.to_numpy(function(engine.asarray(np.asarray(x, dtype="float64")), *args, **options))


# ---- chance --------------------------------------------------------------------------------------------------------


def test_rate_conv_fires_with_the_given_probability(engine):
    p = np.linspace(-0.5, 1.5, 5) * np.ones((4000, 1))
    spikes = on(engine, spikegen.rate_conv, p, seed=3)
    assert abs(spikes.mean(0) - [0, 0, 0.5, 1, 1]).max() < 0.03
    later = on(engine, spikegen.rate_conv, p[10:], seed=3, first=10)
    np.testing.assert_array_equal(later, spikes[10:])


@pytest.mark.parametrize("refractory", [0, 1, 4])
def test_poisson_keeps_its_refractory_period_and_its_rate(engine, refractory):
    p = np.full((40, 5), 0.15)
    spikes = on(engine, spikegen.poisson, p, 600, refractory, seed=1)
    for shift in range(1, refractory + 1):
        assert not (spikes[shift:] * spikes[:-shift]).any(), "two spikes within the refractory period"
    assert (spikes[refractory + 1 :] * spikes[: len(spikes) - refractory - 1]).any(), "silent for longer than asked"
    assert abs(spikes.mean() - 1.0 / (refractory + 1.0 / 0.15)) < 0.003
    assert abs(on(engine, spikegen.poisson, p, 600, refractory, True, seed=1).mean() - 0.15) < 0.003


def test_poisson_at_the_highest_rate_is_regular(engine):
    spikes = on(engine, spikegen.poisson, [[1.0, 0.0]], 9, 2, compensate=True)
    np.testing.assert_array_equal(spikes[:, 0], [[1, 0], [0, 0], [0, 0]] * 3)


# ---- levels --------------------------------------------------------------------------------------------------------


def test_burst(engine):
    """Three spikes at most in nine steps: intervals of 4 for small values, of 1 for the value 1."""
    spikes = on(engine, spikegen.burst, [[0.0, 0.25, 0.5, 0.75, 1.0]], 9, max_spikes=3)
    assert [list(np.flatnonzero(row)) for row in spikes[:, 0].T] == [[], [0], [0, 3], [0, 2, 4], [0, 1, 2]]


def test_phase_writes_binary_digits(engine):
    x = np.arange(17).reshape(1, 17) / 16.0
    spikes = on(engine, spikegen.phase, x, 8, period=4)
    values = np.minimum(np.arange(17), 15)
    expected = np.array([[(v >> (3 - t % 4)) & 1 for v in values] for t in range(8)])
    np.testing.assert_array_equal(spikes[:, 0], expected)
    weighted = on(engine, spikegen.phase, x, 8, period=4, weighted=True)
    assert_close(weighted.sum(0)[0], 2 * values / 16.0, 0.0)


def test_receptive_fields(engine):
    """Centres at -1/4, 1/4, 3/4, 5/4 for four neurons on [0, 1]; the spike of the nearest one is the first."""
    response = on(engine, spikegen.receptive_fields, [[0.25, 0.75]], neurons=4)
    centres = np.array([-0.25, 0.25, 0.75, 1.25])
    expected = [np.exp(-0.5 * ((x - centres) / (0.5 / 1.5)) ** 2) for x in (0.25, 0.75)]
    assert_close(response[0], np.concatenate(expected), 1e-14)
    spikes = on(engine, spikegen.population, [[0.25, 0.75]], 11, neurons=4)
    assert spikes.shape == (11, 1, 8)
    assert spikes[0, 0].tolist() == [0, 1, 0, 0, 0, 0, 1, 0]
    np.testing.assert_array_equal(spikes.sum(0)[0], np.concatenate(expected) >= 0.1)
    assert on(engine, spikegen.population, [0.5], 11, neurons=4).shape == (11, 1, 4)
    assert on(engine, spikegen.receptive_fields, np.zeros((0, 3)), neurons=4).shape == (0, 12)


# ---- series --------------------------------------------------------------------------------------------------------


def test_delta_golden(engine):
    assert on(engine, spikegen.delta, [0, 0.1, 0.3, 0.25, 0, 1], 0.1, off_spike=True).tolist() == [0, 1, 1, 0, -1, 1]
    single = make({"numpy-strict": "numpy"}.get(engine.name, engine.name), "float32")
    x = single.asarray(np.array([0, 0.1, 0.3, 0.25, 0, 1]))
    assert single.to_numpy(spikegen.delta(x, 0.1, off_spike=True)).tolist() == [0, 1, 1, 0, -1, 1]
    up = [1, 2, 2.9, 3, 3.9]
    assert on(engine, spikegen.delta, up, 1).tolist() == [1, 1, 0, 0, 0]
    assert on(engine, spikegen.delta, up, 1, padding=True).tolist() == [0, 1, 0, 0, 0]
    assert on(engine, spikegen.delta, [1, 1, 0], 0, off_spike=True).tolist() == [1, 0, -1]


def test_level_crossing_follows_the_signal(engine):
    t = np.linspace(0, 1, 200)
    x = np.stack([np.sin(6 * t), 0.3 * t], axis=1)
    spikes = on(engine, spikegen.level_crossing, x, 0.0625)
    followed = x[0] + 0.0625 * np.cumsum(spikes, axis=0)
    assert abs(followed - x).max() < 0.0625 + 1e-12
    assert spikes[:, 1].sum() == 4, "delta would miss this slow drift"
    assert not on(engine, spikegen.delta, x[:, 1], 0.0625, padding=True).any()
    assert on(engine, spikegen.level_crossing, x, 0.0625, off_spike=False).min() == 0.0
    jump = on(engine, spikegen.level_crossing, [0.0, 1.0, 1.0, 1.0, 0.0], 0.5, multiple=True)
    assert jump.tolist() == [0, 2, 0, 0, -2]
    assert on(engine, spikegen.level_crossing, [0.0, 1.0, 1.0, 1.0], 0.5).tolist() == [0, 1, 1, 0]
    assert on(engine, spikegen.level_crossing, [1.0, 1.0], 0.5, start=0.0).tolist() == [1, 1]


def test_threshold_crossing_marks_when_a_level_is_passed(engine):
    x = np.array([[0.0, 0.5], [0.3, 0.2], [0.9, 0.2], [0.5, 0.8]])  # levels 0.25, 0.5 and 0.75
    spikes = on(engine, spikegen.threshold_crossing, x, 3)
    assert spikes[:, :3].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, -1]]
    assert spikes[:, 3:].tolist() == [[0, 0, 0], [-1, -1, 0], [0, 0, 0], [1, 1, 1]]
    assert on(engine, spikegen.threshold_crossing, x, 3, start=0.6)[0].tolist() == [-1, -1, 0, 0, 0, 0]
    assert on(engine, spikegen.threshold_crossing, x[:, 0], 1, 0.0, 0.5).tolist() == [[0], [1], [0], [0]]
    height = np.cumsum(spikes[:, :3].sum(axis=1))
    np.testing.assert_array_equal(height, np.searchsorted([0.25, 0.5, 0.75], x[:, 0], side="right"))


def test_on_off_keeps_every_spike(engine):
    spikes = np.array([[1.0, -1.0], [0.0, 2.0]])
    assert on(engine, spikegen.on_off, spikes).tolist() == [[1, 0, 0, 1], [0, 2, 0, 0]]
    assert on(engine, spikegen.on_off, spikes[0]).tolist() == [1, 0, 0, 1]


# ---- latency -------------------------------------------------------------------------------------------------------


def test_latency_times_golden(engine):
    """snnTorch's times; in float32 the pole of the log code lies at 11.507, in float64 at 11.5129."""
    log = [11.5129, 11.5129, 11.5129, 0.6931, 0.1054, 0.0202, 0.0101]
    times, below = (engine.to_numpy(x) for x in spikegen.latency_code(engine.asarray(VALUES)))
    assert_close(times[0], np.array(log), 5e-5)
    assert below[0].tolist() == [True, True, False, False, False, False, False]
    stretched = on(engine, spikegen.latency_code_log, VALUES, 10, normalize=True)
    assert_close(stretched[0], np.array([9, 9, 9, 0.5421, 0.0824, 0.0158, 0.0079]), 5e-5)
    linear = on(engine, spikegen.latency_code_linear, VALUES, tau=5)
    assert_close(linear[0], np.array([4.95, 4.95, 4.95, 4.9, 4.5, 2.5, 0]), 1e-12)
    linear = on(engine, spikegen.latency_code_linear, VALUES, 10, normalize=True)
    assert_close(linear[0], np.array([8.91, 8.91, 8.91, 8.82, 8.1, 4.5, 0]), 1e-12)


def test_latency_without_num_steps(engine):
    assert on(engine, spikegen.latency, VALUES, bypass=True).shape == (13, 1, 7)
    assert on(engine, spikegen.latency, VALUES[:, 3:], bypass=True).shape == (2, 1, 4)


def test_latency_interpolate(engine):
    ramp = on(engine, spikegen.latency_interpolate, [0, 4, 7], 5, on_target=1.25, off_target=0.25)
    expected = [[1.25, 0.25], [0.25, 0.5], [0.25, 0.75], [0.25, 1.0], [0.25, 1.25]]
    assert ramp[:, :2].tolist() == expected
    assert (ramp[:, 2] == 0.25).all(), "a spike after the last step never comes"
    through = on(engine, spikegen.latency, VALUES, 10, tau=5, linear=True, interpolate=True, clip=True)
    assert_close(through[:, 0, 5], np.array([0, 0.5, 1, 0, 0, 0, 0, 0, 0, 0]), 0.0)
    assert not through[:, 0, :2].any()
    assert through[:, 0, 6].tolist() == [1] + [0] * 9


# ---- against snnTorch ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_deterministic_codes_are_snntorchs():
    torch = pytest.importorskip("torch", reason="snnTorch needs torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("snntorch.spikegen", reason="snnTorch is not installed")
    x = torch.rand(1, 40, generator=torch.Generator().manual_seed(0))
    series = torch.rand(12, 2, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([1, 0, 2])
    for name, data, options in (
        *(("latency", x, {"num_steps": 12, **o}) for o in (
            {"normalize": True}, {"linear": True, "normalize": True, "clip": True}, {"tau": 0.5},
            {"linear": True, "tau": 7, "on_target": 3.0}, {"normalize": True, "interpolate": True})),
        *(("delta", series, {"threshold": 0.2, "padding": p, "off_spike": o}) for p in (0, 1) for o in (0, 1)),
        *(("targets_latency", labels, {"num_classes": 3, "num_steps": 6, **o})
          for o in ({"normalize": True}, {"normalize": True, "clip": True, "linear": True})),
        *(("targets_rate", labels, {"num_classes": 3, **o})
          for o in ({}, {"on_target": 2.0}, {"num_steps": 5, "first_spike_time": 2})),
        ("latency_interpolate", torch.tensor([0.0, 2.4, 4.0]), {"num_steps": 6}),
        ("rate_interpolate", torch.tensor([2, 3, 5]), {"num_steps": 9, "on_target": 2.0, "off_target": -1.0}),
    ):  # fmt: skip
        ours, wanted = getattr(spikegen, name)(data, **options), getattr(theirs, name)(data, **options)
        assert ours.dtype == torch.float32, name
        assert_close(ours.numpy(), wanted.numpy().astype("float64"), 1e-6, f"{name} {options}")


# ---- bad arguments -------------------------------------------------------------------------------------------------

BAD = {
    r"refractory=-1 must be an int >= 0": lambda x: spikegen.poisson(x, 5, -1),
    r"poisson: num_steps=None": lambda x: spikegen.poisson(x),
    r"num_steps=None must be an int >= 1; only with bypass": lambda x: spikegen.latency(x),
    r"num_steps=None must be an int >= 1: normalize=True": lambda x: spikegen.latency(x, bypass=True, normalize=True),
    r"raise num_steps to at least 9": lambda x: spikegen.burst(x, 5, max_spikes=5, shortest=2),
    r"longest=9 must be an int in \[1, 2\]": lambda x: spikegen.burst(x, 5, max_spikes=3, longest=9),
    r"burst: data range from 0.0 to 1.5": lambda x: spikegen.burst(1.5 * x, 5),
    r"period=17": lambda x: spikegen.phase(x, 5, period=17),
    r"neurons=2 must be an int >= 3": lambda x: spikegen.receptive_fields(x, 2),
    r"high=0 must exceed low=0.0": lambda x: spikegen.receptive_fields(x, 4, high=0),
    r"cutoff=2": lambda x: spikegen.population(x, 4, cutoff=2),
    r"delta: threshold=-1 must be >= 0": lambda x: spikegen.delta(x, -1),
    r"level_crossing: threshold=0 must be > 0": lambda x: spikegen.level_crossing(x, 0),
    r"threshold_crossing: high=0.5 must exceed low=0.5": lambda x: spikegen.threshold_crossing(x, 3, 0.5, 0.5),
    r"levels=0": lambda x: spikegen.threshold_crossing(x, 0),
    r"no axis of features": lambda x: spikegen.on_off(1.0),
    r"at least one step": lambda x: spikegen.delta(x[:0]),
    r"sample_axis=3": lambda x: spikegen.rate_conv(x, sample_axis=3),
    r"on_target=0.0 must not be below off_target=1.0": lambda x: spikegen.latency_interpolate(x, 5, 0.0, 1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        BAD[message](np.linspace(0, 1, 6).reshape(2, 3))


def test_every_encoder_serves_in_fit(engine):
    """What takes num_steps and returns (time, batch, features) is an encoder for a model."""
    data = [(np.linspace(0, 1, 12).reshape(4, 3), np.array([0, 1, 1, 0]))]
    for encode in (spikegen.poisson, spikegen.burst, spikegen.phase, spikegen.latency):
        model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky()), engine)
        encode = functools.partial(encode, normalize=True) if encode is spikegen.latency else encode
        history = model.fit(data, num_steps=9, encoder=encode, progress=False)
        assert np.isfinite(history[-1]["loss"])


def test_ramps_are_bit_identical(engine):
    """With a division besides + - x, the bits still agree; only what follows exp or log may differ by rounding."""
    x = np.random.default_rng(0).integers(0, 65, size=(6, 4)) / 64.0
    option = {"num_steps": 9, "tau": 8, "linear": True, "interpolate": True}
    np.testing.assert_array_equal(on(engine, spikegen.latency, x, **option), spikegen.latency(x, **option))
    times = on(engine, spikegen.latency_code_log, x)
    ulp = np.spacing(abs(times))
    assert (abs(times - spikegen.latency_code_log(x)) <= 4 * ulp).all()

"""Targets: one-hot codes there and back, target trains, ramps; what snnTorch gets wrong is right here."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from spikecore import spikegen
from spikecore.conformance.rig import assert_close
from tests.conformance.own_engines import ENGINES, absent, make

PRESENT = [name for name in ENGINES if not absent(name)]
LABELS = [2, 0, 1, 2, 2]


@pytest.fixture(params=PRESENT)
def engine(request):
    return make(request.param)


def labels_on(engine):
    return engine.asarray(LABELS, dtype="int64")


def host(x):
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def test_one_hot_there_and_back(engine):
    code = spikegen.to_one_hot(labels_on(engine), 4)
    np.testing.assert_array_equal(host(code), np.eye(4)[LABELS])
    np.testing.assert_array_equal(host(spikegen.to_one_hot_inverse(code)), 1 - np.eye(4)[LABELS])
    back = spikegen.from_one_hot(code)  # snnTorch returns the numbers of the rows
    np.testing.assert_array_equal(host(back), LABELS)
    assert "int64" in str(back.dtype)


def test_kinds():
    torch = pytest.importorskip("torch", reason="a torch tensor goes in and comes out")
    assert isinstance(spikegen.targets_rate(torch.tensor(LABELS), 3), torch.Tensor)
    assert spikegen.to_one_hot(torch.tensor(LABELS), 3).dtype == torch.float32
    assert spikegen.to_one_hot(LABELS, 3).dtype == "float32"
    assert isinstance(spikegen.from_one_hot(torch.eye(3)), torch.Tensor)


def test_targets_of_full_rates(engine):
    y, code = labels_on(engine), np.eye(3)[LABELS]
    np.testing.assert_array_equal(host(spikegen.targets_rate(y, 3)), code)
    assert_close(host(spikegen.targets_rate(y, 3, on_target=1.0, off_target=0.25)), 0.25 + 0.75 * code)
    assert_close(host(spikegen.targets_rate(y, 3, on_target=-1.0, off_target=0.5)), 0.5 - 1.5 * code)
    late = host(spikegen.targets_rate(y, 3, num_steps=5, first_spike_time=2, off_target=-0.5))
    assert (late[:2] == -0.5).all()
    assert_close(late[2:], np.stack([-0.5 + 1.5 * code] * 3))


def test_targets_of_other_rates(engine):
    """In snnTorch this fails unless there are as many steps as classes, and then it has five axes."""
    spikes = host(spikegen.targets_rate(labels_on(engine), 3, 20, correct_rate=0.5, incorrect_rate=0.1))
    assert spikes.shape == (20, 5, 3)
    code = np.eye(3)[LABELS]
    np.testing.assert_array_equal(spikes.sum(0), 10 * code + 2 * (1 - code))
    np.testing.assert_array_equal(np.flatnonzero(spikes[:, 0, 2]), range(0, 20, 2))
    ramps = host(spikegen.targets_rate(labels_on(engine), 3, 20, correct_rate=0.25, interpolate=True))
    assert_close(ramps[:, 0, 2], np.array([1, *([0, 1 / 3, 2 / 3, 1] * 4), 0, 0, 0]), 1e-6)
    assert not ramps[:, 0, 0].any()


@pytest.mark.parametrize("pattern", ["uniform", "poisson"])
def test_random_targets_are_equal_on_every_engine(engine, pattern):
    option = {"correct_rate": 0.6, "incorrect_rate": 0.2, "firing_pattern": pattern, "first_spike_time": 5}
    found = host(spikegen.targets_rate(labels_on(engine), 3, 200, seed=(1, "y"), **option))
    np.testing.assert_array_equal(found, spikegen.targets_rate(LABELS, 3, 200, seed=(1, "y"), **option))
    assert not found[:5].any()
    rates = [found[5:, 0, 2].mean(), found[5:, 0, 0].mean()]
    assert rates == pytest.approx([0.6, 0.2], abs=0.005 if pattern == "uniform" else 0.1)
    assert (found != host(spikegen.targets_rate(labels_on(engine), 3, 200, seed=2, **option))).any()


def test_target_rate_code_golden():
    train, times = spikegen.target_rate_code(10, 2, 0.4)
    assert times.tolist() == [2, 4, 7, 9]
    assert train.tolist() == [0, 0, 1, 0, 1, 0, 0, 1, 0, 1]
    train, times = spikegen.target_rate_code(10, rate=0)
    assert times.tolist() == []
    assert train.tolist() == [0] * 10
    assert len(spikegen.target_rate_code(10, 1, 0.5, "uniform")[1]) == 5, "no spikes lost where two fall together"


def test_a_train_without_data_is_what_the_program_computes_with(monkeypatch):
    """snnTorch's ``target_rate_code`` returns tensors; a program without torch has none."""
    assert isinstance(spikegen.target_rate_code(5, engine="numpy")[0], np.ndarray)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "torch")
    assert isinstance(spikegen.target_rate_code(5)[0], np.ndarray)
    monkeypatch.undo()
    torch = pytest.importorskip("torch")
    assert all(isinstance(x, torch.Tensor) for x in spikegen.target_rate_code(5))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.6, 0.7, 0.9, 1.0])
def test_regular_trains_are_snntorchs(rate):
    torch = pytest.importorskip("torch", reason="its arange is the oracle")
    for start in (0, 3):
        expected = torch.arange(start, 100, 1 / rate).long().tolist()
        assert spikegen.target_rate_code(100, start, rate)[1].tolist() == expected


def test_rate_interpolate_golden(engine):
    ramp = spikegen.rate_interpolate(engine.asarray([2.0, 5.0]), 9)
    assert host(ramp).tolist() == [0, 0.5, 1, 0, 0.5, 1, 0, 0, 0]
    ramp = spikegen.rate_interpolate(engine.asarray([4.0, 0.0]), 5, on_target=1.25, off_target=0.25)
    assert_close(host(ramp), np.array([1.25, 0.25, 0.25 + 1 / 3, 0.25 + 2 / 3, 1.25]), 1e-6)
    assert host(spikegen.rate_interpolate(engine.asarray([2.0, 3.0]), 4)).tolist() == [0, 0.5, 1, 1]
    assert (host(spikegen.rate_interpolate(engine.asarray(np.zeros(0)), 4, off_target=0.5)) == 0.5).all()


def test_targets_convert_passes_everything_on(engine):
    """snnTorch drops on_target, off_target, interpolate and epsilon of the latency code."""
    y = labels_on(engine)
    option = {"num_steps": 6, "normalize": True, "on_target": 3.0, "off_target": -1.0, "interpolate": True}
    both = spikegen.targets_convert(y, 3, "latency", **option), spikegen.targets_latency(y, 3, **option)
    np.testing.assert_array_equal(*map(host, both))
    assert host(both[0]).min() == -1.0
    assert host(both[0])[0, 0].tolist() == [-1, -1, 3]
    option = {"num_steps": 6, "correct_rate": 0.5, "off_target": -1.0}
    both = spikegen.targets_convert(y, 3, **option), spikegen.targets_rate(y, 3, **option)
    np.testing.assert_array_equal(*map(host, both))


BAD = {
    r"targets\[0\] = 2 is out of range": lambda y: spikegen.to_one_hot(y, 2),
    r"expected integer class": lambda y: spikegen.to_one_hot(0.5 * y, 3),
    r"exactly one 1 in each row": lambda y: spikegen.from_one_hot(np.ones((2, 2))),
    r"exactly one 1 in each row, and": lambda y: spikegen.from_one_hot(np.array([[0.5, 0.5]])),
    r"correct_rate=1.5 must be in \[0, 1\]": lambda y: spikegen.targets_rate(y, 3, 5, correct_rate=1.5),
    r"incorrect_rate=0.5 exceeds": lambda y: spikegen.targets_rate(y, 3, 5, correct_rate=0.2, incorrect_rate=0.5),
    r"num_steps=None": lambda y: spikegen.targets_rate(y, 3, correct_rate=0.5),
    r"first_spike_time=5": lambda y: spikegen.targets_rate(y, 3, 5, 5),
    r"unknown firing_pattern 'regulr'; did you mean 'regular'": lambda y: spikegen.targets_rate(
        y, 3, 5, firing_pattern="regulr"),
    r"unknown code 'ratio'": lambda y: spikegen.targets_convert(y, 3, "ratio"),
    r"spike_time holds 9, must be in \[0, 8\]": lambda y: spikegen.rate_interpolate(np.array([9]), 9),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        BAD[message](np.array(LABELS))

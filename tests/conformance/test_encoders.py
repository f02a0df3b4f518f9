"""Encoders: the suite's cases, what they refuse, whose arrays they return."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen
from spikecore.conformance.test_encoders import *  # noqa: F403


def test_lists_and_integers_are_host_data():
    assert spikegen.rate([[1, 0]], 2).dtype == "float32"
    np.testing.assert_array_equal(spikegen.rate(np.array([[1, 0]], dtype="uint8"), 2)[:, 0], [[1, 0], [1, 0]])


BAD = {
    "num_steps=None": lambda x: spikegen.rate(x),
    "num_steps=0": lambda x: spikegen.latency(x, 0),
    "num_steps=True": lambda x: spikegen.constant(x, True),
    "first_spike_time=5": lambda x: spikegen.rate(x, 5, first_spike_time=5),
    "leave out num_steps": lambda x: spikegen.rate(x, 5, time_var_input=True),
    "no batch axis": lambda x: spikegen.rate(x[0, 0], 5),
    "threshold=0": lambda x: spikegen.latency(x, 5, threshold=0),
    r"must lie in \[0, 1\]": lambda x: spikegen.latency(x + 0.5, 5),
    "falls on step 12, after the last step 4": lambda x: spikegen.latency(x * 0.0, 5),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        BAD[message](np.linspace(0, 1, 6).reshape(2, 3))


def test_engines_keep_their_kind():
    torch = pytest.importorskip("torch", reason="a torch tensor goes in and comes out")
    assert isinstance(spikegen.rate(torch.ones(2, 3), 4), torch.Tensor)
    assert spikegen.rate(torch.ones(2, 3, dtype=torch.float64), 4).dtype == torch.float64
    assert isinstance(spikegen.rate(np.ones((2, 3)), 4), np.ndarray)
    assert sc.base.engine_of(spikegen.constant(torch.ones(2, 3), 4)).name == "torch"

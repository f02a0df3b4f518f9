"""The contract of engines: the suite's cases, and which engines are not here."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core import variants
from spikecore.conformance.test_engine_contract import *  # noqa: F403


def test_engines_that_are_not_here(absentee):
    name, reason = absentee
    pytest.skip(f"{name} does not run: {reason}")


def test_cpu_tensors_are_host_data_for_the_numpy_engine():
    torch = pytest.importorskip("torch", reason="torch tensors are the host data here")
    tensor = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert sc.get_engine("numpy").asarray(tensor).tolist() == [1.0, 2.0]


def test_only_what_is_computed_while_recording_is_replayed():
    smooth = variants.smooth(sc.get_engine("numpy", dtype="float64"))
    x = smooth.asarray([1.0, 2.0])

    def times_a_constant(x):
        return smooth.stop_gradient(x) * x

    with smooth.record():
        smooth.evaluate(times_a_constant, x)
    assert smooth.evaluate(times_a_constant, 2.0 * x).tolist() == [4.0, 16.0]
    with smooth.replay():
        assert smooth.evaluate(times_a_constant, 3.0 * x).tolist() == [3.0, 12.0]

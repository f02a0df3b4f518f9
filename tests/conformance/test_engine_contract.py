"""The contract of engines: the suite's cases, and which engines are not here."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.conformance.test_engine_contract import *  # noqa: F403


def test_engines_that_are_not_here(absentee):
    name, reason = absentee
    pytest.skip(f"{name} does not run: {reason}")


def test_cpu_tensors_are_host_data_for_the_numpy_engine():
    torch = pytest.importorskip("torch", reason="torch tensors are the host data here")
    tensor = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert sc.get_engine("numpy").asarray(tensor).tolist() == [1.0, 2.0]

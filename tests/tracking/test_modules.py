"""Trackers follow models, and say so where they get a module of torch's."""

from __future__ import annotations

import pytest

from spikecore import tracking


def test_a_tracker_of_modules_is_refused():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'torch')")
    with pytest.raises(TypeError, match=r"CSV: model=.*must be a Model.*nn\.from_torch\(net\)"):
        tracking.CSV("log.csv")(torch.nn.Linear(4, 2), {"epoch": 1, "loss": 0.1})

"""Losses: the suite's cases, and what needs no engine of its own."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.conformance import cases
from spikecore.conformance.rig import normal
from spikecore.conformance.test_losses import *  # noqa: F403
from spikecore.conformance.test_losses import LABELS


@pytest.mark.parametrize("over_time", ["mean", "sum"])
def test_ce_membrane_is_the_cross_entropy_of_each_step(over_time):
    """D10: the loss of tutorial 5."""
    torch = pytest.importorskip("torch", reason="its cross-entropy is the oracle")
    mem = torch.tensor(normal(5, 4, 3))
    each = torch.stack([torch.nn.functional.cross_entropy(step, torch.tensor(LABELS)) for step in mem])
    found = functional.ce_membrane_loss(over_time=over_time)(mem, LABELS)
    torch.testing.assert_close(found, getattr(each, over_time)())
    with pytest.raises(ValueError, match="over_time='max' must be 'mean' or 'sum'"):
        functional.ce_membrane_loss(over_time="max")


def test_the_membrane_is_not_read_by_numpy():
    """D10: what carries a gradient stays refused, and the missing word names the function."""
    model = sc.Model(sc.Sequential(sc.Linear(3, 3), sc.Leaky()), "numpy")
    with pytest.raises(TypeError, match="its gradient would be lost"):
        model.fit([(normal(5, 4, 3), LABELS)], loss=lambda out, y: np.asarray(out.membrane).sum(), progress=False)
    with pytest.raises(AttributeError, match="to_one_hot"):
        _ = model.engine.xp.one_hot


@pytest.mark.parametrize(("name", "loss"), cases.LOSSES, **cases.ids(cases.LOSSES))
def test_a_loss_has_a_name(name, loss):
    """B10: snnTorch's ``backprop`` and others ask for ``__name__``."""
    assert loss.__name__ == type(loss).__name__
    assert type(loss).__name__ in ("WeightedSum", name.partition("-")[0])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_spikes_that_are_no_floats_count_as_ones(library, dtype):
    spikes, labels = np.random.default_rng(0).integers(0, 2, (5, 4, 3)), np.array([0, 1, 2, 0])
    wrap = np.asarray if library == "numpy" else pytest.importorskip("torch", reason="torch is not installed").as_tensor
    losses = (
        functional.ce_rate_loss(), functional.ce_count_loss(), functional.mse_count_loss(),
        functional.mse_temporal_loss(), functional.l1_rate_sparsity(), functional.accuracy_rate,
    )  # fmt: skip
    for loss in losses:
        given, wanted = (float(loss(wrap(spikes.astype(kind)), labels)) for kind in (dtype, "float32"))
        assert given == wanted, loss

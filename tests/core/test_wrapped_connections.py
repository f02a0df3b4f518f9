"""``WeightStandardized`` and ``DropConnect`` refuse by name what they cannot wrap."""

from __future__ import annotations

import pytest

import spikecore as sc

LINEAR = sc.Linear(4, 2)


@pytest.mark.parametrize("layer", [sc.Leaky(), sc.ConvTranspose1d(1, 2, 3), sc.DropConnect(LINEAR)], ids=repr)
def test_weights_of_another_layer_are_not_standardised(layer):
    with pytest.raises(TypeError, match="WeightStandardized: layer=.* must be"):
        sc.WeightStandardized(layer)


def test_a_weight_without_variance_is_refused():
    with pytest.raises(ValueError, match="WeightStandardized: eps=0.0 must be"):
        sc.WeightStandardized(LINEAR, eps=0.0)
    with pytest.raises(ValueError, match=r"WeightStandardized: layer=Linear\(1, 3\) has one input for each output"):
        sc.Model(sc.WeightStandardized(sc.Linear(1, 3)), "numpy")


@pytest.mark.parametrize("layer", [sc.Leaky(), sc.Conv2d(1, 2, 3), sc.WeightStandardized(LINEAR)], ids=repr)
def test_weights_of_another_layer_are_not_dropped(layer):
    with pytest.raises(TypeError, match="DropConnect: layer=.* must be"):
        sc.DropConnect(layer)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match=f"DropConnect: p={p} must be in"):
        sc.DropConnect(LINEAR, p)


def test_a_recurrence_would_drop_nothing():
    with pytest.raises(ValueError, match=r"Recurrent: connection=DropConnect\(.* would drop nothing"):
        sc.Recurrent(sc.Leaky(), sc.DropConnect(sc.Linear(3, 3)))


def test_a_recurrence_may_be_standardised():
    net = sc.Recurrent(sc.Leaky(), sc.WeightStandardized(sc.Linear(3, 3)))
    assert "connection.gain" in sc.Model(net, "numpy", input_shape=(3,)).params()

"""Quantised networks in use: scales, states of few bits, folded batch norms, training, and what few bits cost."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.training.calibration import Range, fixed_point, least_error
from spikecore.compression import FixedPoint, ScaledInteger
from spikecore.samples import Loader
from tests.digits import digits
from tests.training.test_quantize import ENGINE, data, everything


def test_a_network_without_weights_is_quantised_and_trained():
    net = sc.compression.quantize(
        sc.Sequential(sc.Linear(20, 8), sc.Leaky()), 4, None, FixedPoint(12, 8), 6, scale="learned"
    )
    assert net.layers[0].weight_quant.scale == "learned"
    assert net.layers[0].bias_quant is None
    model = sc.Model(net)
    before = model.params()
    model.fit(data(), np.arange(8), epochs=1, num_steps=4, progress=False)
    assert all((model.params()[name] != value).any() for name, value in before.items() if name != "0.bias")
    assert sc.compression.quantize(net, skip=["0"]) == net
    assert sc.compression.quantize(sc.Sequential(net, sc.Linear(8, 2))).layers[0] == net, "what is on a grid stays"


def test_skipped_layers_and_full_precision():
    model = sc.Model(everything(), seed=1)
    small = sc.compression.quantize(model, skip=["0", "1"])
    assert small.network.layers[:2] == model.network.layers[:2]
    assert isinstance(small.network.layers[4], sc.Quantized)
    assert small.network.layers[5] == model.network.layers[5]
    assert sc.compression.quantize(model, None).network == model.network


def test_scales_of_least_error_are_better():
    weight = np.random.default_rng(0).standard_normal((40, 30)) ** 3
    for power in (True, False):
        for per in ("tensor", "channel"):
            widest = ScaledInteger(4, per, power_of_two=power)
            best = ScaledInteger(4, per, least_error(widest, weight, 0), power_of_two=power)
            errors = [((grid.quantised(ENGINE, weight) - weight) ** 2).sum() for grid in (widest, best)]
            assert errors[1] < errors[0]


@pytest.mark.parametrize(("low", "high", "bits"), [(-1.0, 3.0, 8), (0.0, 1.0, 8), (-200.0, 4.0, 16), (0.0, 0.0, 8)])
def test_the_finest_fixed_point_that_holds_a_range(low, high, bits):
    grid = fixed_point(bits, Range(low, high, False))
    assert grid.signed == (low < 0)
    assert grid.span[0] <= low
    assert high <= grid.span[1]
    finer = FixedPoint(bits, min(32, grid.fraction + 1), grid.signed)
    assert finer.span[1] < max(-low, high) or high == low == 0.0


def test_few_bits_of_a_state_go_to_the_threshold():
    """Membranes far below zero saturate; those of a readout, whose values count, do not."""
    net = sc.Sequential(sc.Linear(20, 8), sc.Leaky(beta=0.99, threshold=0.5), sc.Linear(8, 4), sc.LI(beta=0.99))
    model = sc.Model(net, seed=0)
    small = sc.compression.quantize(model, states=6, x=30.0 * data(), num_steps=40)
    leaky, readout = small.network.layers[1].state_quant, small.network.layers[3].state_quant
    assert leaky == FixedPoint(6, 5)
    seen = model(30.0 * data(), num_steps=40, record=True).states
    assert np.abs(seen["3"].mem).max() <= readout.span[1] < 4.0 * np.abs(seen["3"].mem).max()
    assert np.abs(seen["1"].mem).max() > leaky.span[1]


def test_steps_of_a_state_follow_the_threshold_that_was_learned():
    model = sc.Model(sc.Leaky(threshold=sc.learn(1.0)), input_shape=(20,))
    assert sc.compression.quantize(model, states=7, x=data(), num_steps=2).network.state_quant.fraction == 4
    state = model.state()
    state["params"]["threshold"][...] = 0.25
    model.load_state(state)
    assert sc.compression.quantize(model, states=7, x=data(), num_steps=2).network.state_quant.fraction == 6


# ---- batch norms ---------------------------------------------------------------------------------------------------


def normalised():
    body = sc.Sequential(sc.Conv2d(6, 6, 3, padding=1, groups=3), sc.BatchNorm2d(6))
    return sc.Sequential(
        sc.Conv2d(1, 4, 3, bias=False), sc.BatchNorm2d(4), sc.Leaky(threshold=0.1),
        sc.ConvTranspose2d(4, 6, 3, groups=2), sc.ThresholdDependentBatchNorm2d(6), sc.LI(),
        sc.Residual(body, sc.Sequential(sc.Conv2d(6, 6, 1), sc.BatchNorm2d(6, affine=False))),
        sc.BatchNorm2d(6), sc.Flatten(), sc.Linear(96, 5), sc.BatchNorm1d(5), sc.BatchNorm1d(5), sc.LI(),
    )  # fmt: skip


def test_folded_batch_norms_compute_the_same():
    model = sc.Model(normalised(), "numpy", input_shape=(1, 4, 4), dtype="float64")
    x, y = data((1, 4, 4), 12), np.arange(12) % 5
    model.fit(x, y, epochs=3, num_steps=3, optimizer=sc.Adam(lr=0.1), loss=sc.functional.ce_membrane_loss(),
              progress=False)  # fmt: skip
    folded = sc.compression.fold_batch_norm(model)
    assert [name for name, _ in folded.network.children()] == [name for name, _ in model.network.children()]
    kinds = [type(layer) for layer in folded.network.layers]
    assert kinds.count(sc.Identity) == 4
    assert kinds[7] is sc.BatchNorm2d, "it follows no connection"
    assert folded.network.layers[6].body.layers[1] == sc.Identity()
    found, expected = (one(x, num_steps=4).spikes for one in (folded, model))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.1
    assert folded.epochs_done == 3
    with pytest.raises(RuntimeError, match="no weights yet"):
        sc.compression.fold_batch_norm(sc.Model(sc.Sequential(sc.Flatten(), sc.LI())))


# ---- accuracy ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    train, test = digits()
    net = sc.Sequential(sc.Linear(64, 40), sc.Leaky(beta=0.9), sc.Linear(40, 10), sc.Leaky(beta=0.9))
    model = sc.Model(net, seed=0)
    model.fit(
        Loader(train, batch_size=128, seed=0), optimizer=sc.Adam(lr=5e-3), epochs=20, num_steps=15, progress=False
    )
    return model, train, test


def accuracy(model, test):
    return model.evaluate(Loader(test, batch_size=450), num_steps=15)["accuracy"]


@pytest.mark.slow
def test_eight_bits_after_training_cost_half_a_point(trained):
    model, train, test = trained
    small = sc.compression.quantize(model, states=16, parameters=10, inputs=8, x=train.inputs[:256], num_steps=15)
    assert accuracy(model, test) > 0.9
    assert accuracy(small, test) >= accuracy(model, test) - 0.005


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "points"), [(4, 0.02), (2, 0.04)])
def test_training_in_few_bits(trained, bits, points):
    model, train, test = trained
    options = {"states": 16, "parameters": 10, "inputs": 8, "x": train.inputs[:256], "num_steps": 15}
    small = sc.compression.quantize(model, bits, scale="learned", **options)
    small.fit(Loader(train, batch_size=128, seed=1), optimizer=sc.Adam(lr=2e-3), epochs=5, num_steps=15, progress=False)
    assert accuracy(small, test) >= accuracy(model, test) - points

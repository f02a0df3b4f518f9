"""Training by exact gradients: delays, silent neurons, clipping, and the example."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

import spikecore as sc
from spikecore import eventprop
from spikecore.datasets import Dataset, Loader
from tests import ROOT
from tests.eventprop.eventprop_rig import small


def test_delays_are_learned_from_spike_times():
    network = eventprop.Network([eventprop.Layer(1, 1, delay=5.0, mean=10.0, std=0.0)], 40.0)
    truth = {**network.init(0), "0.delay": np.array([2.0])}
    times = np.linspace(0.0, 10.0, 16)[:, None]
    data = Dataset(times, network.run(truth, times).times)
    alone = (sc.Group("*.weight", frozen=True),)
    options = {"optimizer": sc.Adam(lr=0.1, groups=alone), "epochs": 100, "progress": False}
    fitted = eventprop.fit(network, data, eventprop.spike_time_loss(), **options)
    assert abs(fitted.params["0.delay"][0] - 2.0) < 0.02  # a fifth of an update
    np.testing.assert_array_equal(fitted.params["0.weight"], truth["0.weight"])


def test_a_silent_network_is_woken():
    network = eventprop.Network([eventprop.Layer(3, 4, mean=0.1), eventprop.Layer(4, 2, mean=0.1)], 40.0)
    data = Dataset(np.random.default_rng(0).uniform(0.0, 10.0, (8, 3)), np.arange(8) % 2)
    loss = eventprop.first_spike_loss(tau=1.0)
    asleep = eventprop.fit(network, data, loss, epochs=2, progress=False)
    assert asleep.history[-1]["silent"] == 1.0
    np.testing.assert_array_equal(asleep.params["0.weight"], network.init(0)["0.weight"])
    awake = eventprop.fit(network, data, loss, epochs=40, wake=0.1, progress=False, validation=data)
    assert awake.history[-1]["silent"] < 0.5
    assert {"val_loss", "val_accuracy"} < set(awake.history[-1])


def test_weights_that_are_not_learned_are_not_woken():
    network = eventprop.Network([eventprop.Layer(3, 4, mean=0.1), eventprop.Layer(4, 2, mean=0.1)], 40.0)
    data = Dataset(np.random.default_rng(0).uniform(0.0, 10.0, (8, 3)), np.arange(8) % 2)
    loss, first = eventprop.first_spike_loss(tau=1.0), network.init(0)
    optimizer = sc.Adam(groups=(sc.Group("0.weight", frozen=True),))
    fitted = eventprop.fit(network, data, loss, optimizer=optimizer, epochs=2, wake=0.1, progress=False)
    np.testing.assert_array_equal(fitted.params["0.weight"], first["0.weight"])
    np.testing.assert_allclose(fitted.params["1.weight"], first["1.weight"] + 0.2)


def test_groups_of_the_optimiser_say_what_is_learned():
    """Weights and delays, and nothing else that no group names."""
    layers = [eventprop.Layer(3, 4, delay=1.0), eventprop.Layer(4, 2)]
    network = eventprop.Network(layers, 40.0)
    data = Dataset(np.random.default_rng(0).uniform(0.0, 10.0, (8, 3)), np.arange(8) % 2)
    loss, first = eventprop.first_spike_loss(tau=1.0), network.init()

    def learned(*groups):
        optimizer = sc.Adam(lr=1e-3, groups=groups)
        params = eventprop.fit(network, data, loss, optimizer=optimizer, epochs=1, progress=False).params
        return {name for name in first if not np.array_equal(params[name], first[name])}

    assert learned() == {"0.weight", "0.delay", "1.weight"}
    assert learned(sc.Group("*.delay", frozen=True), sc.Group("1.tau_mem", frozen=False)) == {
        "0.weight", "1.weight", "1.tau_mem",
    }  # fmt: skip
    assert learned(sc.Group("*", frozen=False)) == set(first)
    with pytest.raises(ValueError, match=r"match='2.weight' matches no parameter; the network has 0.weight, 0.tau_mem"):
        learned(sc.Group("2.weight", frozen=True))


@pytest.mark.parametrize(
    ("option", "written"),
    [
        ({"learn": "*"}, r"optimizer=sc.Adam\(groups=\(sc.Group\('\*', frozen=False\),\)\)"),
        ({"batch_size": 8}, r"datasets.Loader\(data, batch_size=8\)"),
        ({"fused": True}, r"eventprop.Network\(layers, duration, fused=True\)"),
    ],
)
def test_an_option_that_is_elsewhere_is_answered_with_what_to_write(option, written):
    network = eventprop.Network([eventprop.Layer(1, 2)], 40.0)
    with pytest.raises(TypeError, match=f"write .*{written}"):
        eventprop.fit(network, Dataset(np.ones((2, 1)), [0, 1]), eventprop.first_spike_loss(tau=1.0), **option)


def test_a_loader_says_how_large_batches_are_and_in_which_order():
    network = eventprop.Network([eventprop.Layer(3, 4), eventprop.Layer(4, 2)], 40.0)
    data = Dataset(np.random.default_rng(0).uniform(0.0, 10.0, (10, 3)), np.arange(10) % 2)
    loss = eventprop.first_spike_loss(tau=1.0)

    def fitted(given):
        return eventprop.fit(network, given, loss, epochs=2, progress=False, validation=Loader(data, batch_size=3))

    plain, same = fitted(data), fitted(Loader(data, batch_size=64, seed=0))
    smaller, other = fitted(Loader(data, batch_size=4)), fitted(Loader(data, batch_size=4, seed=1))
    np.testing.assert_array_equal(plain.params["0.weight"], same.params["0.weight"])
    assert not np.allclose(smaller.params["0.weight"], plain.params["0.weight"], rtol=0.0, atol=1e-3)
    assert not np.array_equal(smaller.params["0.weight"], other.params["0.weight"])
    after = eventprop.evaluate(network, plain.params, data, loss)
    assert plain.history[-1]["val_loss"] == pytest.approx(after["loss"], rel=1e-12)
    assert repr(plain.history).split()[:4] == ["epoch", "loss", "accuracy", "silent"]


def test_a_schedule_scales_waking():
    network = eventprop.Network([eventprop.Layer(3, 4, mean=0.1), eventprop.Layer(4, 2, mean=0.1)], 40.0)
    data, first = Dataset(np.ones((8, 3)), np.arange(8) % 2), network.init(0)
    options = {"epochs": 2, "wake": 0.1, "schedule": lambda epoch, epochs: 1.0 - epoch / epochs, "progress": False}
    fitted = eventprop.fit(network, data, eventprop.first_spike_loss(tau=1.0), **options)
    for name in ("0.weight", "1.weight"):
        np.testing.assert_allclose(fitted.params[name], first[name] + 0.1 * (1.0 + 0.5))


def test_a_large_gradient_is_scaled_as_a_whole():
    network, first, times, labels, loss = small(1.0)
    names = ["0.weight", "1.weight"]
    grads = eventprop.gradient(network, first, times, labels, loss).grads
    norm = np.sqrt(sum((grads[name] ** 2).sum() for name in names))
    options = {"params": first, "epochs": 1, "progress": False}
    for clip_norm, factor in ((norm / 4.0, 0.25), (4.0 * norm, 1.0), (None, 1.0)):
        optimizer = sc.SGD(lr=1.0, clip_norm=clip_norm)
        fitted = eventprop.fit(network, Dataset(times, labels), loss, optimizer=optimizer, **options).params
        for name in names:
            np.testing.assert_allclose(fitted[name], first[name] - factor * grads[name], rtol=1e-4)  # it adds 1e-6
    with pytest.raises(ValueError, match=r"SGD: clip_norm=0.0 must be a number in \(0, inf\)"):
        sc.SGD(clip_norm=0.0)


@pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="examples/ is not part of this tree")
def test_the_example_learns_yin_yang(capsys):
    found = runpy.run_path(str(ROOT / "examples" / "yin_yang.py"))["main"](["--quick"])
    assert found > 0.6  # a third by chance
    assert "test points" in capsys.readouterr().out

"""``Standardize``: its statistics are those of the training data, and go wherever the network goes."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.errors import ShapeError

ENGINES = ["numpy", "torch"]
SCALES, MEANS = np.array([1e-3, 1.0, 3e4, 0.0]), np.array([0.0, -5.0, 1e5, 7.0])  # the last column is constant


def table(samples=50):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(samples, 4)) * SCALES + MEANS).astype("float32"), np.arange(samples) % 2


def trained(x, y, batch, engine="numpy", **options):
    net = sc.Sequential(sc.Standardize(x.shape[1]), sc.Flatten(), sc.Linear(x[0].size, 4), sc.Leaky(), sc.Linear(4, 2))
    model = sc.Model(net, engine=engine, seed=0)
    model.fit(x, y, epochs=1, num_steps=3, batch_size=batch, progress=False, **options)
    return model


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [7, 16, 50])
def test_after_an_epoch_the_statistics_are_those_of_the_data(engine, batch):
    """Batches of any size, the last of which is smaller, give what NumPy gives for the whole."""
    x, y = table()
    buffers = trained(x, y, batch, engine).state()["buffers"]
    np.testing.assert_allclose(buffers["0.mean"], x.astype(float).mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(buffers["0.var"], x.astype(float).var(axis=0), rtol=1e-4, atol=1e-8)


def test_space_counts_as_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, size=(40, 2, 5)).astype("float32")
    buffers = trained(x, np.arange(40) % 2, 9).state()["buffers"]
    np.testing.assert_allclose(buffers["0.mean"], x.mean(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_allclose(buffers["0.var"], x.var(axis=(0, 2)), rtol=1e-4)


def test_outputs_have_mean_0_and_deviation_1_and_a_constant_is_only_shifted():
    x, y = table()
    model = trained(x, y, 16)
    out = _scaled(model, x)
    np.testing.assert_allclose(out[:, :3].mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(out[:, :3].std(axis=0), 1.0, atol=1e-3)
    np.testing.assert_allclose(out[:, 3], 0.0, atol=1e-5)
    other = x[:1].copy()
    other[:, 3] = 8.0
    np.testing.assert_allclose(_scaled(model, other)[:, 3], 1.0, atol=1e-5)


def _scaled(model, x):
    """What the first layer of a model gives."""
    first = sc.Model(sc.Sequential(sc.Standardize(x.shape[1])), "numpy", input_shape=x.shape[1:])
    state = first.state()
    state["buffers"] = {name: value for name, value in model.state()["buffers"].items() if name.startswith("0.")}
    first.load_state(state)
    return np.asarray(first(x, num_steps=1).spikes)[0]


def test_training_uses_what_it_has_gathered():
    """The loss of a batch is that of the network with these statistics: nothing changes between training and use."""
    x, y = table()
    model = trained(x, y, 50, optimizer=sc.SGD(lr=0.0))
    history = model.fit(x, y, epochs=1, num_steps=3, batch_size=50, progress=False, optimizer=sc.SGD(lr=0.0))
    assert history[-1]["loss"] == pytest.approx(model.evaluate([(x, y)], num_steps=3)["loss"], rel=1e-5)


def test_a_file_keeps_the_scale(tmp_path):
    x, y = table()
    model = trained(x, y, 16)
    model.save(tmp_path / "net.safetensors")
    again = sc.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again(x, num_steps=3).spikes, model(x, num_steps=3).spikes)


def test_other_samples_are_refused():
    with pytest.raises(ShapeError, match=r"Standardize: samples of shape \(3,\), expected 4 features"):
        sc.Model(sc.Sequential(sc.Standardize(4)), "numpy", input_shape=(3,))
    with pytest.raises(ValueError, match="num_features=0"):
        sc.Standardize(0)

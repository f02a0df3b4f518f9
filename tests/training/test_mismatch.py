"""``sc.compression.mismatch``: parameters that deviate from neuron to neuron."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc

X = np.random.default_rng(0).random((6, 3, 40), dtype=np.float32)
SIZES = {"beta": 0.05, "threshold": 0.2, "weight": 0.1}


def model(engine="numpy"):
    network = sc.Sequential(
        sc.Linear(40, 200),
        sc.Leaky(beta=sc.learn(0.8), threshold=0.5),
        sc.Linear(200, 4),
        sc.Noisy(sc.RLeaky(beta=0.7, threshold=0.2, linear_features=4), input_noise=0.1),
        sc.QuantizedNeuron(sc.Leaky(beta=0.95, threshold=0.1), sc.compression.ScaledInteger(8)),
    )
    made = sc.Model(network, engine=engine, seed=1)
    made.build((40,))
    return made


def test_each_neuron_and_each_weight_has_a_deviation_of_its_own():
    before = model()
    after = sc.compression.mismatch(before, SIZES, seed=3)
    old, new = before.params(), after.params()
    neuron = after.network.layers[1]
    for values, mean, size in (
        (neuron.beta.data, 0.8, 0.05), (neuron.threshold.data, 0.5, 0.2),
        (new["0.weight"] / old["0.weight"], 1.0, 0.1), (new["2.weight"] / old["2.weight"], 1.0, 0.1),
    ):  # fmt: skip
        n = values.size
        assert len(np.unique(values)) > 0.99 * n
        assert abs(values.mean() / mean - 1.0) < 4 * size / n**0.5
        np.testing.assert_allclose(values.std() / mean, size, rtol=4 / (2 * n) ** 0.5)
    assert set(old) - set(new) == {"1.beta"}
    back, recurrent = "3.neuron.connection.weight", after.network.layers[3].neuron
    assert not np.array_equal(old[back], new[back])
    np.testing.assert_array_equal(old["3.neuron.connection.bias"], new["3.neuron.connection.bias"])
    assert recurrent.beta.data.shape == (4,)
    assert after.network.layers[4].neuron.beta.data.shape == (4,)
    assert after.network.layers[4].neuron.beta.data.max() <= 1.0
    assert before.network.layers[1].threshold == 0.5


def test_a_seed_is_a_chip_on_every_engine():
    spikes = [np.asarray(sc.compression.mismatch(model(name), SIZES, seed=s)(X).spikes) for name, s in
              (("numpy", 1), ("torch", 1), ("numpy", 2))]  # fmt: skip
    np.testing.assert_array_equal(spikes[0], spikes[1])
    assert not np.array_equal(spikes[0], spikes[2])
    np.testing.assert_array_equal(
        np.asarray(sc.compression.mismatch(model(), {"beta": 0.0})(X).spikes), model()(X).spikes
    )


def test_it_trains_on_and_is_saved(tmp_path):
    chip = sc.compression.mismatch(model(), SIZES)
    x, y = np.moveaxis(X, 1, 0).repeat(8, 0), np.arange(24) % 4
    before = {name: np.array(value) for name, value in chip.params().items()}
    chip.fit(x, y, epochs=1, time_axis=1, progress=False)
    assert not np.array_equal(before["0.weight"], chip.params()["0.weight"])
    chip.save(tmp_path / "chip.npz")
    np.testing.assert_array_equal(np.asarray(sc.load(tmp_path / "chip.npz")(X).spikes), np.asarray(chip(X).spikes))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"betta": 0.1}, "mismatch: sizes: unknown parameter 'betta'"),
        ({"beta": -0.1}, r"sizes\['beta'\]=-0.1 must be finite"),
        ({"beta": float("nan")}, "must be finite"),
    ],
)
def test_bad_sizes_are_refused_by_name(sizes, message):
    with pytest.raises(ValueError, match=message):
        sc.compression.mismatch(model(), sizes)


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="mismatch: the model has no weights yet"):
        sc.compression.mismatch(sc.Model(sc.Sequential(sc.Leaky())), {"beta": 0.1})


def test_what_must_be_positive_stays_so_in_float32():
    model = sc.Model(sc.Lapicque(R=1.0, C=2.0, threshold=0.3), engine="numpy", input_shape=(4000,))
    chip = sc.compression.mismatch(model, {"C": 0.4})
    out = chip(np.ones((3, 1, 4000), "float32"), record=True)
    assert np.isfinite(out.spikes).all()
    assert np.asarray(chip.network.C.data).min() == pytest.approx(2e-3)

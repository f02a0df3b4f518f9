"""``fit(x, y)`` of two arrays, and ``predict``."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.samples import Dataset, Loader
from tests.training import test_diagnosis
from tests.training.test_diagnosis import DRAW, X, Y, net

engine = test_diagnosis.engine  # a fixture


# ---- fit(x, y), predict --------------------------------------------------------------------------------------------


def test_two_arrays_are_what_a_loader_of_the_same_seed_gives(engine):
    short, long = (sc.Model(net(), engine, seed=7) for _ in range(2))
    one = short.fit(X, Y, epochs=3, num_steps=6, batch_size=10, progress=False, validation=(X[:6], Y[:6]))
    loader, held_out = Loader(Dataset(X, Y), batch_size=10, seed=7), Loader(X[:6], Y[:6], shuffle=False)
    other = long.fit(loader, epochs=3, num_steps=6, progress=False, validation=held_out)
    assert all(np.array_equal(x, long.params()[name]) for name, x in short.params().items())
    same = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert [[row[key] for key in same] for row in one] == [[row[key] for key in same] for row in other]
    assert short.evaluate(X, Y, num_steps=6) == short.evaluate(Loader(X, Y, shuffle=False), num_steps=6)
    assert short.evaluate(X, targets=Y, num_steps=6) == short.evaluate(X.tolist(), Y.tolist(), num_steps=6)


def test_the_loss_and_the_optimiser_follow_the_arrays(engine):
    model = sc.Model(net(), engine)
    model.fit(X, Y, loss=functional.ce_count_loss(), optimizer=sc.SGD(lr=0.1), epochs=1, num_steps=6, progress=False)
    assert model.trainer.loss == functional.ce_count_loss()
    assert model.trainer.optimizer == sc.SGD(lr=0.1)


def test_sequences_of_two_arrays_have_their_samples_first(engine):
    sequence = np.repeat(X[:, None], 6, axis=1)
    model = sc.Model(net(), engine)
    model.fit(sequence, Y, time_axis=1, progress=False)
    assert model.predict(sequence, time_axis=1).shape == (24,)
    np.testing.assert_array_equal(model.predict(sequence, time_axis=1), model.predict(np.swapaxes(sequence, 0, 1)))
    with pytest.raises(
        sc.errors.ShapeError, match=r"samples along axis 0.*num_steps=25 for samples without one, time_axis=1"
    ):
        model.fit(sequence, Y)


@pytest.mark.parametrize(
    "loss",
    [
        functional.ce_rate_loss(),
        functional.ce_membrane_loss(),
        functional.mse_membrane_loss(),
        functional.ce_temporal_loss(),
        functional.mse_count_loss(correct_rate=0.2, incorrect_rate=0.8),
        functional.ce_count_loss(population_code=True, num_classes=5),
    ],
)
def test_predictions_are_those_that_the_accuracy_counts(engine, loss):
    model = sc.Model(net(), engine, seed=2)
    model.fit(X, Y, loss=loss, optimizer=sc.Adam(lr=1e-2), epochs=2, num_steps=8, progress=False)
    labels = model.predict(X, num_steps=8)
    assert labels.dtype == np.int64
    assert labels.shape == (24,)
    assert (labels == Y).mean() == pytest.approx(model.evaluate(X, Y, num_steps=8)["accuracy"])
    np.testing.assert_array_equal(model.predict(X, num_steps=8, batch_size=5), labels)


def test_encoders_draw_the_same_for_predictions_of_any_size(engine):
    model = sc.Model(net(), engine, seed=2)
    options = {"num_steps": 8, "encoder": spikegen.rate}
    np.testing.assert_array_equal(model.predict(X, **options), model.predict(X, batch_size=7, **options))
    assert (model.predict(X, **options) == Y).mean() == model.evaluate(X, Y, **options)["accuracy"]


def test_noise_is_the_same_for_predictions_of_any_size(engine):
    """The n-th sample has the n-th noise: in predictions, of arrays and of sequences in a list, and in evaluations."""
    noisy = sc.Sequential(sc.Linear(12, 5), sc.Noisy(sc.LI(beta=0.8), input_noise=2.0))
    model, loss = sc.Model(noisy, engine, seed=2), functional.mse_value_loss()
    sequences = [np.repeat(x[None], 4 + i % 3, axis=0) for i, x in enumerate(X)]
    for options in ({"x": X, "num_steps": 8}, {"x": sequences, "time_axis": 1}):
        whole = model.predict(loss=loss, **options)
        assert len({tuple(row) for row in whole.tolist()}) == 24
        np.testing.assert_allclose(model.predict(loss=loss, batch_size=7, **options), whole, atol=1e-6)
    values = model.predict(X, num_steps=8, loss=loss)
    for size in (24, 7):
        found = model.evaluate(X, values, num_steps=8, loss=loss, batch_size=size)
        assert found["loss"] < 1e-10


@pytest.mark.parametrize("time_axis", [0, 1])
def test_sequences_that_are_encoded_are_cut_by_samples(engine, time_axis):
    """An encoder of sequences says by itself which axis counts samples: it is not that of time."""
    model = sc.Model(net(), engine, seed=2)
    x = np.random.default_rng(1).random((9, 24, 12)).astype("float32")
    x = np.moveaxis(x, 0, time_axis)
    options = {"encoder": functools.partial(spikegen.delta, threshold=0.1), "time_axis": time_axis}
    labels = model.predict(x, **options)
    assert labels.shape == (24,)
    assert len(set(labels.tolist())) > 1
    np.testing.assert_array_equal(model.predict(x, batch_size=5, **options), labels)


def test_predict_says_if_samples_came_first_in_fit(engine):
    """It gave 7 labels for 24 samples, without a word."""
    series = DRAW.random((24, 7, 12)).astype("float32")
    model = sc.Model(net(), engine, seed=1)
    model.fit(series, Y, time_axis=1, progress=False)
    with pytest.warns(
        sc.errors.TrainingWarning, match=r"read as 24 time steps of 7 samples, while fit was given time_axis=1"
    ):
        assert len(model.predict(series)) == 7
    with pytest.warns(sc.errors.TrainingWarning, match="pass time_axis=1"):
        model.to_engine(engine).predict(series)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model.predict(series.swapaxes(0, 1))) == 24  # time first, as documented
        assert len(model.predict(series, time_axis=1)) == len(model.predict(X, num_steps=3)) == 24


def test_predict_reads_a_curve_as_the_loss_does(engine):
    """Of values at each step it gives the membrane; where a loss decodes nothing, it says what to read."""
    model = sc.Model(net(), engine)
    sequence = np.zeros((6, 4, 12), "float32")
    loss = functional.mse_membrane_loss(time_var_targets=True)
    model.fit([(sequence, np.zeros((6, 4, 5)))], loss=loss, progress=False)
    np.testing.assert_array_equal(model.predict(sequence), model.engine.to_numpy(model(sequence).membrane))
    with pytest.raises(TypeError, match=r"loss=ctc_loss.* does not say how to read it.*out\.membrane"):
        model.predict(sequence, loss=functional.ctc_loss())
    assert model.predict(sequence, loss=functional.ce_rate_loss()).shape == (4,)
    with pytest.raises(TypeError, match="input='x' must be an array of numbers"):
        model.predict("x", loss=functional.ce_rate_loss())


def test_lengths_count_in_predictions(engine):
    model = sc.Model(net(), engine, seed=2)
    sequence = np.repeat(X[None], 8, axis=0)
    lengths = np.arange(24) % 8 + 1
    labels = model.predict(sequence, lengths=lengths)
    alone = [model.predict(sequence[: lengths[i], i : i + 1])[0] for i in range(24)]
    assert labels.tolist() == alone
    assert model.predict(sequence, lengths=lengths, batch_size=7).tolist() == alone
    samples_first = np.swapaxes(sequence, 0, 1)
    assert model.predict(samples_first, time_axis=1, lengths=lengths, batch_size=7).tolist() == alone
    unequal = [one[:n] for one, n in zip(samples_first, lengths)]
    assert model.predict(unequal, time_axis=1, batch_size=7).tolist() == alone
    with pytest.raises(sc.errors.ShapeError, match="pass time_axis=1"):
        model.predict(unequal)

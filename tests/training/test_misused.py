"""Uses of a model that would end in wrong results without a word are refused, with what to do instead."""

from __future__ import annotations

import importlib.util
import threading

import numpy as np
import pytest

import spikecore as sc
from spikecore.samples import Loader

X, Y = np.random.default_rng(0).random((6, 5)), np.array([0, 1, 2, 0, 1, 2])
NO_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def model(engine="numpy"):
    return sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky(), sc.Linear(4, 3), sc.Leaky()), engine)


def refused(kind, message):
    return pytest.raises(kind, match=message)


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=NO_TORCH)])
def test_missing_values_of_a_masked_array_are_no_numbers(engine):
    """No engine leaves them out: torch would take what lies behind the mask."""
    x = np.ma.masked_array(X, X > 0.9)
    with refused(TypeError, r"input: a masked array with missing values, .*; give x\.filled\(0\)"):
        model(engine)(x, num_steps=2)
    assert model(engine)(np.ma.masked_array(X), num_steps=2).spikes.shape == (2, 6, 3)  # nothing is missing


def test_only_one_thread_trains_a_model():
    """Two would mix their updates, and both would end as if nothing were wrong."""
    trained, begun, refusals = model(), threading.Event(), []

    def meanwhile():
        begun.wait(60)
        try:
            trained.fit(X, Y, num_steps=2, progress=False)
        except RuntimeError as error:
            refusals.append(str(error))

    def wait(model, row):
        begun.set()
        second.join(60)

    second = threading.Thread(target=meanwhile)
    second.start()
    trained.fit(X, Y, num_steps=2, progress=False, callbacks=[wait])
    (said,) = refusals
    assert "another thread trains this model" in said
    trained.fit(X, Y, num_steps=2, progress=False)  # afterwards it may be trained


def test_a_callback_may_train_its_own_model():
    """The inner training's end is not the outer one's: another thread is still refused."""
    trained, refusals = model(), []

    def elsewhere():
        try:
            trained.fit(X, Y, num_steps=2, progress=False)
        except RuntimeError as error:
            refusals.append(str(error))

    def nested(model, row):
        model.fit(X, Y, num_steps=2, progress=False)
        second = threading.Thread(target=elsewhere)
        second.start()
        second.join(60)

    trained.fit(X, Y, num_steps=2, progress=False, callbacks=[nested])
    assert len(refusals) == 1


def test_predict_of_a_loader_and_a_loader_of_sequences_say_what_to_give():
    sequences = [np.random.default_rng(n).random((5 + n, 5)) for n in range(6)]
    with refused(TypeError, r"input=Loader\(.* must be an array of numbers: the loader's samples"):
        model().predict(Loader(X, Y, batch_size=2), num_steps=2)
    alike = [one[:6] for one in sequences]  # six samples of at most six steps: their axes could be taken for each other
    for batches in (Loader(sequences, Y, batch_size=2), Loader(alike, Y)):
        for use in (model().fit, model().evaluate):
            with refused(sc.errors.ShapeError, r"Loader\(6 samples.* as \(batch, time, \*features\): pass time_axis=1"):
                use(batches, progress=False)
    model().fit(Loader(alike, Y), time_axis=1, progress=False)


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=NO_TORCH)])
@pytest.mark.parametrize("kind", [">f4", ">f8", "longdouble"])
def test_numbers_of_other_machines_are_numbers(engine, kind):
    """Torch knows neither the other order of bytes nor more than eight of them."""
    x, y, trained = X.astype("float32"), Y.astype(">i8"), model(engine)
    expected = trained(x, num_steps=3).state["1"].mem
    found = trained(x.astype(kind), num_steps=3).state["1"].mem
    np.testing.assert_array_equal(*(trained.engine.to_numpy(mem) for mem in (found, expected)))
    trained.fit(x.astype(kind), y, num_steps=3, progress=False)
    assert trained.predict(x.astype(kind), num_steps=3).shape == (6,)

"""Saving, loading, moving to another engine, and going on from there, to the bit."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen
from spikecore.engines.numpy.engine import NumpyEngine


class Counting(NumpyEngine):
    """An engine that is not installed under its name."""

    name = "counting"


torch = pytest.importorskip("torch", reason="models move between torch and numpy here")

X = np.random.default_rng(0).random((24, 6)).astype("float32")
Y = (X[:, :3].argmax(1)).astype("int64")
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 24, 8)]


def network():
    return sc.Sequential(
        sc.Linear(6, 16), sc.BatchNorm1d(16), sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=0.5),
        sc.Dropout(0.1), sc.Linear(16, 3), sc.Leaky(beta=0.7, threshold=sc.learn(0.5)),
    )  # fmt: skip


@pytest.fixture(params=["numpy", "torch"])
def model(request):
    return sc.Model(network(), request.param, seed=3)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)


TRAINING = {
    "num_steps": 4,
    "optimizer": sc.Adam(lr=0.01),
    "schedule": sc.schedule.cosine(warmup=1),
    "encoder": spikegen.rate,
}


def test_save_and_load(model, tmp_path):
    model.fit(BATCHES, epochs=2, **TRAINING)
    model.save(tmp_path / "model.sc")
    for engine in ("numpy", "torch"):
        other = sc.load(tmp_path / "model.sc", engine=engine)
        same(other.params(), model.params())
        same(other.state()["optimizer"], model.state()["optimizer"])
        same(other.state()["buffers"], model.state()["buffers"])
        assert (other.history, other.seed, other.network) == (model.history, model.seed, model.network)
        assert other.engine.dtype == model.engine.dtype
        assert other.engine.name == engine


def test_resuming_is_bit_identical(model, tmp_path):
    whole = sc.Model(network(), model.engine, seed=3)
    whole.fit(BATCHES, epochs=5, **TRAINING)
    total = {"epochs": 5, "resume": True, **TRAINING}
    stop = lambda model, row: row["epoch"] == 2  # noqa: E731
    model.fit(BATCHES, epochs=5, callbacks=(stop,), **TRAINING)
    model.save(tmp_path / "part")
    for resumed in (sc.load(tmp_path / "part", engine=model.engine), model):
        resumed.fit(BATCHES, **total)
        same(resumed.params(), whole.params())
        same(resumed.state()["optimizer"], whole.state()["optimizer"])
        assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_goes_on_like_the_model_itself(model, copied):
    """A pickle is how a model reaches another process: a pool of workers, a cluster."""
    model.fit(BATCHES, epochs=1, **TRAINING)
    other = copied(model)
    assert repr(other) == repr(model)
    assert other.history == model.history
    model.fit(BATCHES, epochs=1, **TRAINING)
    assert other.trainer.executor.steps_done == 3
    other.fit(BATCHES, epochs=1, **TRAINING)
    same(other.state()["params"], model.state()["params"])
    same(other.state()["optimizer"], model.state()["optimizer"])
    assert len(other.history) == len(model.history) == 2


@pytest.mark.parametrize("options", [{"fused": False}, {"checkpoint_every": 3}, {"sparse_backward": 0.01}])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_an_engine_reaches_another_process_with_its_options(name, options):
    engine = pickle.loads(pickle.dumps(sc.get_engine(name, dtype="float64", **options)))
    assert engine.dtype == "float64"
    assert {option: getattr(engine, option) for option in options} == options


def test_resume_needs_the_same_optimiser(model):
    with pytest.raises(ValueError, match="resume=True continues with None"):
        model.fit(BATCHES, num_steps=2, resume=True)
    model.fit(BATCHES, num_steps=2, optimizer=sc.Adam(lr=0.1))
    model.fit(BATCHES, num_steps=2, optimizer=sc.Adam(lr=0.2), resume=True, epochs=2)
    with pytest.raises(ValueError, match=r"continues with Adam\(.*not with SGD"):
        model.fit(BATCHES, num_steps=2, optimizer=sc.SGD(), resume=True, epochs=3)
    assert model.epochs_done == 2


def test_to_engine(model):
    model.fit(BATCHES, num_steps=4)
    other = model.to_engine("torch" if model.engine.name == "numpy" else "numpy")
    same(other.params(), model.params())
    assert other.history == model.history
    assert other.history is not model.history
    a, b = (one.engine.to_numpy(one(X, num_steps=4).membrane) for one in (model, other))
    np.testing.assert_allclose(a, b, atol=1e-5)
    other.fit(BATCHES, num_steps=4)
    assert len(model.history) == 1, "the copy trains alone"
    assert model.to_engine("numpy", dtype="float64").engine.dtype == "float64"
    same(model.to_engine(sc.get_engine("numpy")).params(), model.params())


def test_trained_on_torch_loads_where_there_is_no_torch(tmp_path):
    one = sc.Model(network(), "torch", seed=3)
    one.fit(BATCHES, num_steps=4)
    one.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", X)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import warnings, numpy as np, spikecore as sc\n"
        f"with warnings.catch_warnings(record=True) as said:\n    sc.load({str(tmp_path / 'model')!r})\n"
        "assert 'package torch is not installed' in str(said[0].message), said\n"
        f"model = sc.load({str(tmp_path / 'model')!r}, engine='numpy')\n"
        f"np.save({str(tmp_path / 'mem.npy')!r}, model(np.load({str(tmp_path / 'x.npy')!r}), num_steps=4).membrane)\n"
        "assert sys.modules['torch'] is None"
    )
    environment = {key: value for key, value in os.environ.items() if key != "SPIKECORE_ENGINE"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    np.testing.assert_allclose(np.load(tmp_path / "mem.npy"), one(X, num_steps=4).membrane.numpy(), atol=1e-5)


def test_a_file_is_loaded_on_the_engine_it_was_saved_from(model, tmp_path, monkeypatch):
    """D8: a model trained on torch came back on numpy without a word. An argument wins over the environment, and that
    over the file; two names that are equal are no conflict."""
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    model.fit(BATCHES, num_steps=2)
    model.save(tmp_path / "model")
    mine, other = model.engine.name, "torch" if model.engine.name == "numpy" else "numpy"
    assert sc.load(tmp_path / "model").engine.name == mine
    assert sc.load(tmp_path / "model", dtype="float64").engine.dtype == "float64"
    assert sc.load(tmp_path / "model", engine=other).engine.name == other
    monkeypatch.setenv("SPIKECORE_ENGINE", other)
    assert sc.load(tmp_path / "model").engine.name == other
    assert sc.load(tmp_path / "model", engine=mine).engine.name == mine
    monkeypatch.setenv("SPIKECORE_ENGINE", "")
    assert sc.load(tmp_path / "model").engine.name == mine
    sc.load(tmp_path / "model", engine=other).save(tmp_path / "model")
    assert sc.load(tmp_path / "model").engine.name == other, "it was saved from there last"


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (lambda: sc.get_engine("ipu", simulate=True), "engine 'ipu': package poptorch is not installed"),
        (lambda: Counting(), "engine 'counting': no engine of this name is installed"),
    ],
)
def test_where_that_engine_cannot_be_used_a_file_says_so(engine, why, tmp_path, monkeypatch):
    """D8: a warning names the engine, why, and the remedy; nothing is said where an engine is asked for."""
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky()), engine(), seed=3)
    model.save(tmp_path / "model")
    with pytest.warns(
        UserWarning, match=rf"{tmp_path / 'model'} is loaded on 'numpy'.* {why}.*engine='numpy' if this is"
    ) as caught:
        assert sc.load(tmp_path / "model").engine.name == "numpy"
    assert caught[0].filename == __file__
    same(sc.load(tmp_path / "model", engine="torch").params(), model.params())
    monkeypatch.setenv("SPIKECORE_ENGINE", "torch")
    assert sc.load(tmp_path / "model").engine.name == "torch"


def test_a_simulated_ipu_is_simulated_again_if_asked_for(tmp_path, monkeypatch):
    """D8."""
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky()), "ipu", simulate=True).save(tmp_path / "model")
    assert sc.load(tmp_path / "model", simulate=True).engine.name == "ipu"


OPTIMISERS = [sc.Adam(lr=0.01), sc.SGD(lr=0.01, momentum=0.9), sc.RMSprop(lr=0.01, momentum=0.5), sc.AdamW(lr=0.01)]


@pytest.mark.parametrize("optimizer", OPTIMISERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("again", ["given", "left out"])
def test_a_second_fit_goes_on_as_if_it_were_one(model, optimizer, again):
    """D10: it began with an optimiser without moments, as if there had been no training; one that was left out was
    replaced by Adam, and the loss by ce_rate_loss."""
    whole, loss = sc.Model(network(), model.engine, seed=3), sc.functional.mse_count_loss()
    whole.fit(BATCHES, loss=loss, optimizer=optimizer, epochs=3, num_steps=4)
    model.fit(BATCHES, loss=loss, optimizer=optimizer, epochs=2, num_steps=4)
    model.fit(BATCHES, **({"loss": loss, "optimizer": optimizer} if again == "given" else {}), num_steps=4)
    same(model.params(), whole.params())
    same(model.state()["optimizer"], whole.state()["optimizer"])
    assert [row["loss"] for row in model.history] == [row["loss"] for row in whole.history]


def test_moments_stay_with_another_learning_rate_and_go_with_another_optimiser(model):
    """D10."""
    model.fit(BATCHES, num_steps=4, optimizer=sc.Adam(lr=0.01), epochs=2)
    model.fit(BATCHES, num_steps=4, optimizer=sc.Adam(lr=0.001))
    assert (model.state()["step"], model.state()["lr"]) == (9, 0.001)
    for options in ({"optimizer": sc.Adam(lr=0.001), "resume": False}, {"optimizer": sc.RMSprop(lr=0.001)}):
        copy = model.to_engine(model.engine)
        copy.fit(BATCHES, num_steps=4, **options)
        assert copy.state()["step"] == 3
        assert copy.epochs_done == 4, "epochs are counted on"
    copy = model.to_engine(model.engine)
    copy.fit(BATCHES, num_steps=4, optimizer=sc.SGD(lr=0.001))
    assert copy.state()["optimizer"] == {}


def test_a_loaded_model_goes_on_with_its_moments(model, tmp_path):
    """D10."""
    model.fit(BATCHES, num_steps=4, optimizer=sc.Adam(lr=0.01))
    model.save(tmp_path / "model")
    loaded = sc.load(tmp_path / "model", engine=model.engine)
    for one in (model, loaded):
        one.fit(BATCHES, num_steps=4)
    same(loaded.params(), model.params())
    assert loaded.state()["step"] == 6


def test_resuming_may_change_the_learning_rate_and_forgets_nothing_else(model):
    model.fit(BATCHES, num_steps=2, optimizer=sc.Adam(lr=0.1))
    model.fit(BATCHES, num_steps=2, resume=True, epochs=2)
    model.fit(BATCHES, num_steps=2, optimizer=sc.Adam(lr=0.01), resume=True, epochs=3)
    assert [row["lr"] for row in model.history] == [0.1, 0.1, 0.01]
    assert model.trainer.optimizer == sc.Adam(lr=0.01)


def test_weights_of_another_shape_are_refused(model):
    model(BATCHES[0][0], num_steps=2)
    before, state = model.params(), model.state()
    for wrong in (np.ones((3, 6), "float32"), np.ones((6, 16), "float32"), np.float32(1.0)):
        state["params"]["0.weight"] = wrong
        with pytest.raises(ValueError, match=r"0.weight has shape \(.*\), expected \(16, 6\)"):
            model.load_state(state)
    same(model.params(), before)

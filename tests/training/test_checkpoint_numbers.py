"""Numbers of checkpoints that are not finite, and the time and memory that a file may ask for."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.core.tree import flatten
from spikecore.api.surrogate import Surrogate
from spikecore.api.training import checkpoint
from spikecore.api.training.optimizers import Optimizer
from spikecore.conformance.cases import LAYERS, NEURONS
from tests.training.test_checkpoint_content import X, Y, contents, model_of, write

# ---- C12, C9: numbers that are not finite --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["params", "buffers", "optimizer"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_weights_that_are_not_finite_do_not_replace_good_ones(tmp_path, engine, part, value):
    """C12: neither weights nor buffers nor slots; the file can be written and read by those who ask for it."""
    if engine == "torch":
        pytest.importorskip("torch")
    model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.BatchNorm1d(2), sc.Leaky()), engine)
    model.fit([(X, Y)], num_steps=2)
    model.save(tmp_path / "model")
    before, state = (tmp_path / "model").read_bytes(), model.state()
    name = next(iter(state[part]))
    state[part][name].reshape(-1)[0] = value
    model.load_state(state)
    with pytest.raises(
        sc.errors.DivergedError, match=rf"{part}/{name} holds NaN or infinity: training has diverged.*clip_norm"
    ):
        model.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
    model.save(tmp_path / "model", check_finite=False)
    with pytest.raises(
        sc.errors.CheckpointError, match=rf"model: {part}/{name} holds NaN or infinity.*check_finite=False"
    ):
        sc.load(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine=engine, check_finite=False)
    np.testing.assert_array_equal(again.state()[part][name], state[part][name])


def test_large_numbers_are_finite(tmp_path):
    """C12: the ends of float64 may lie further apart than its largest number."""
    model = model_of(sc.Leaky(), dtype="float64")
    state = model.state()
    state["params"]["0.weight"][0] = [1.7e308, -1.7e308]
    model.load_state(state)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(sc.load(tmp_path / "model").params()["0.weight"], state["params"]["0.weight"])


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's own word
@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_training_that_diverges_ends(tmp_path, engine, epoch):
    """C12: at the end of the first epoch whose loss is not finite, before callbacks save it; on demand it goes on."""
    if engine == "torch":
        pytest.importorskip("torch")

    def loss(out, targets):
        xp, after = sc.base.engine_of(out.spikes).xp, len(model.history) + 1 >= epoch
        return xp.mean(out.membrane) * (float("inf") if after else 1.0)

    model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.LI()), engine)
    keep = lambda model, row: model.save(tmp_path / "model")  # noqa: E731
    keep(model, None)
    with pytest.raises(
        sc.errors.DivergedError, match=rf"loss of epoch {epoch} is (inf|-inf|nan).*diverged.*learning rate"
    ):
        model.fit([(X, Y)], loss=loss, num_steps=2, epochs=5, callbacks=(keep,))
    good = sc.load(tmp_path / "model", engine=engine)
    assert good.epochs_done == model.epochs_done == epoch - 1
    assert all(np.isfinite(x).all() for x in good.params().values())
    model.fit([(X, Y)], loss=loss, num_steps=2, epochs=2, compute=sc.Compute(check_finite=False))
    assert not np.isfinite(model.history[-1]["loss"])


def test_the_files_json_is_strict(tmp_path):
    """C12: NaN and infinity in a history are written so that every reader of JSON can read the file, and come back."""
    model = model_of(sc.Leaky())
    model.history = [{"epoch": 1, "loss": float("nan"), "val_loss": float("inf"), "list": [float("-inf"), 1]}]
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], parse_constant=pytest.fail)
    json.loads(header["__metadata__"]["spikecore"], parse_constant=pytest.fail)
    row = sc.load(tmp_path / "model").history[0]
    assert np.isnan(row["loss"])
    assert (row["val_loss"], row["list"]) == (np.inf, [-np.inf, 1])


def test_histories_of_format_1_with_nan(tmp_path):
    """C12: earlier versions wrote NaN as Python does."""
    model_of(sc.Leaky()).save(tmp_path / "model")
    about, arrays = contents(tmp_path / "model")
    write(tmp_path / "model", {**about, "format": 1, "history": [{"epoch": 1, "loss": float("nan")}]}, arrays)
    assert np.isnan(sc.load(tmp_path / "model").history[0]["loss"])


# ---- C8: shapes before memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*LAYERS, *NEURONS], ids=lambda case: case.name)
def test_shapes_are_known_without_drawing(case):
    """C8: of every layer; what stands for the weights takes no memory."""
    drawn, blank = case.layer.init(Key((0, "init")), case.shape), shapes_of(case.layer, case.shape)
    assert blank.shape == drawn.shape
    for part in ("params", "buffers"):
        a, b = flatten(getattr(drawn, part)), flatten(getattr(blank, part))
        assert {name: x.shape for name, x in a.items()} == {name: x.shape for name, x in b.items()}


def peak_of(call, most):
    """What a call returns or raises, having taken no more than so much memory."""
    tracemalloc.start()
    try:
        return call()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most, f"{peak} bytes"


HUGE = [
    [sc.Linear(2, 2**30)],
    [sc.Linear(2, 2), sc.Leaky(), sc.Linear(2, 2**40)],
    [sc.Linear(2, 2**20), sc.Leaky(beta=sc.learn(0.5, per="neuron")), sc.Linear(2**20, 2**20)],
    [sc.Linear(2, 2), sc.SLSTM(input_size=2, hidden_size=2**20)],
    [sc.Linear(2, 2**20), sc.RLeaky(linear_features=2**20)],
    [sc.Linear(2, 2**31), sc.BatchNorm1d(2**31), sc.LayerNorm(2**31), sc.GradedSpikes(2**31)],
    [sc.Linear(2, 2**31), sc.StateLeaky(beta=sc.learn(0.5, per="neuron"))],
    [sc.Linear(2, 2), sc.AssociativeLeaky(in_dim=2, d_value=2**15, d_key=2**15)],
    [sc.Linear(2, 2**62), sc.Linear(2**62, 2**62)],
]


@pytest.mark.parametrize("layers", HUGE, ids=lambda layers: type(layers[-1]).__name__)
@pytest.mark.parametrize("optimizer", [None, sc.Adam()])
def test_a_small_file_cannot_ask_for_much_memory(tmp_path, layers, optimizer):
    """C8: shapes are compared before anything of that size is made."""
    model = model_of(sc.Leaky())
    if optimizer is not None:
        model.fit([(X, Y)], num_steps=2, optimizer=optimizer)
    model.save(tmp_path / "model")
    about, arrays = contents(tmp_path / "model")
    path = write(tmp_path / "model", {**about, "network": checkpoint.describe(sc.Sequential(*layers))}, arrays)
    with pytest.raises(sc.errors.CheckpointError, match="do not belong together|does not take samples|64 bits"):
        peak_of(lambda: sc.load(path), 1 << 20)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_loading_draws_no_weights(tmp_path, engine, monkeypatch):
    """C8: those of the file are all that it needs; likewise for a copy, and when training goes on."""
    if engine == "torch":
        pytest.importorskip("torch")
    model = sc.Model(sc.Sequential(sc.Linear(2, 3), sc.Leaky(beta=sc.learn(0.5, per="neuron"))), engine)
    model.fit([(X, Y)], num_steps=2)
    model.save(tmp_path / "model")

    def never(*args, **options):
        raise AssertionError("first weights are drawn")

    for name in ("numpy", "torch"):
        monkeypatch.setattr(type(sc.get_engine(name)), "uniform", never)
    again = sc.load(tmp_path / "model", engine=engine)
    again.to_engine("numpy")
    again.fit([(X, Y)], num_steps=2, epochs=2, resume=True)
    assert "Linear" in again.summary()
    with pytest.raises(AssertionError, match="first weights"):
        sc.Model(model.network, engine)


def test_a_large_file_is_loaded_in_little_time_and_memory(tmp_path):
    """C8: it took more than a second, for drawing; memory is a few times the file's size."""
    model = sc.Model(sc.Sequential(sc.Linear(3000, 3000), sc.Leaky(), sc.Linear(3000, 10)), "numpy")
    model.save(tmp_path / "model")
    size = (tmp_path / "model").stat().st_size
    assert size > 36e6
    begun = time.perf_counter()
    again = peak_of(lambda: sc.load(tmp_path / "model", engine="numpy"), 3 * size + (1 << 20))
    print(f"{size / 1e6:.1f} MB in {time.perf_counter() - begun:.2f} s")
    np.testing.assert_array_equal(again.params()["0.weight"], model.params()["0.weight"])


# ---- C9: what is no file -------------------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_not_read(tmp_path):
    """C9: a device has no end, and a pipe makes wait."""
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(sc.errors.CheckpointError, match=f"{path}: a device, a pipe or a socket"):
            sc.load(path)
    with pytest.raises(IsADirectoryError):
        sc.load(tmp_path)


def test_surrogates_and_optimisers_without_a_rule_are_no_classes_of_the_library(tmp_path):
    """C9: their bases have none, and would fail at the first step."""
    known = checkpoint.known_classes().values()
    assert not {Surrogate, Optimizer} & set(known)

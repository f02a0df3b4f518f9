"""Inputs that are too large for any neuron: ``fit`` says so, and run files scale them, by the training samples."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen

RNG = np.random.default_rng(0)
#: Columns as a chemist measures them, one of them to 1680; three kinds that differ by two deviations of each column.
CENTRES = np.array([13.0, 2.3, 2.4, 19.5, 99.7, 2.3, 2.0, 0.4, 1.6, 5.0, 1.0, 2.6, 747.0])
SPREAD = np.array([0.8, 1.1, 0.3, 3.3, 14.0, 0.6, 1.0, 0.1, 0.6, 2.3, 0.2, 0.7, 315.0])
KIND = np.arange(180) % 3
WINE = (CENTRES + SPREAD * (RNG.normal(size=(180, 13)) + 2.0 * RNG.normal(size=(3, 13))[KIND])).astype("float32")
SAID = r"the inputs reach \d+.*currents .* in layer 1 \(Leaky\) are about \d+ times its threshold.*x - mean\) / std"


def network(*first, **leaky):
    return sc.Sequential(*first, sc.Linear(13, 20), sc.Leaky(beta=0.9, **leaky), sc.Linear(20, 3), sc.Leaky(beta=0.9))


def said_of(x, model=None, engine="numpy", **options):
    """What ``fit`` says of inputs."""
    model = sc.Model(network(), engine) if model is None else model
    options = {"num_steps": 3, "progress": False, **options}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit([(x, KIND[: len(x)]), (x, KIND[: len(x)])], optimizer=sc.Adam(lr=1e-4), epochs=2, **options)
    return [str(one.message) for one in caught if "the inputs" in str(one.message)]


@pytest.mark.parametrize("engine", ["numpy", "torch", "ipu"])
def test_an_unscaled_table_is_told_once(engine):
    pytest.importorskip("torch" if engine == "ipu" else engine)
    engine = sc.get_engine(engine, simulate=True) if engine == "ipu" else engine
    (said,) = said_of(WINE[:16], engine=engine)
    with pytest.raises(AssertionError, match=SAID):  # the message is the table's
        raise AssertionError(said)


def test_the_remedy_ends_it():
    mean, std = WINE.mean(0), WINE.std(0)
    assert said_of((WINE - mean) / std) == []
    low, high = WINE.min(0), WINE.max(0)
    assert said_of((WINE - low) / (high - low)) == []


COUNTS = RNG.integers(5, 11, (16, 13)).astype("float32")
HEALTHY = {
    "counts of 5 to 10 events": (COUNTS, {}),
    "pixels of 0 to 16": (RNG.integers(0, 17, (16, 13)).astype("float32"), {}),
    "spikes": ((RNG.random((16, 13)) < 0.3).astype("float32"), {}),
    "a table behind a normalisation": (WINE[:16], {"model": lambda: sc.Model(network(sc.BatchNorm1d(13)))}),
    "a high threshold": (WINE[:16], {"model": lambda: sc.Model(network(threshold=500.0))}),
    "spikes of a table": (WINE[:16], {"encoder": spikegen.population, "model": lambda: sc.Model(sc.Sequential(
        sc.Linear(104, 3), sc.Leaky()))}),
    "a readout": (WINE[:16], {"model": lambda: sc.Model(sc.Sequential(sc.Linear(13, 3), sc.LI())), "loss":
        sc.functional.ce_membrane_loss()}),
}  # fmt: skip


@pytest.mark.parametrize("case", HEALTHY)
def test_nothing_is_said_of_what_a_network_can_take(case):
    x, options = HEALTHY[case]
    made = {"model": options["model"]()} if "model" in options else {}
    assert said_of(x, **{**options, **made}) == []


def test_pixels_are_told_of_by_their_own_remedy():
    (said,) = said_of(np.full((16, 13), 255.0, "float32"))
    assert "divide by 255" in said


def test_it_costs_nothing_behind_the_first_batch(monkeypatch):
    from spikecore.api.training.diagnosis import Diagnosis

    looked, of_inputs = [], Diagnosis.of_inputs
    monkeypatch.setattr(Diagnosis, "of_inputs", lambda self, *given: (looked.append(1), of_inputs(self, *given))[1])
    said_of(WINE)
    assert looked == [1]


# ---- run files -----------------------------------------------------------------------------------------------------

RUN = """
engine = "numpy"
[data]
name = "{name}"
path = "{path}"
validation = {validation}
scale = "{kind}"
[network]
layers = [
    {{ kind = "Linear", in_features = 13, out_features = 20 }}, "Leaky",
    {{ kind = "Linear", in_features = 20, out_features = 3 }}, "Leaky",
]
[train]
epochs = 4
optimizer = {{ kind = "Adam", lr = 1e-2 }}
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table in a file, whose test samples lie outside of the range of the others."""
    for package in ("typer", "pydantic", "tomli_w"):
        pytest.importorskip(package)
    x_test = WINE[120:].copy()
    x_test[0] = 1e4
    arrays = {"x_train": WINE[:120], "y_train": KIND[:120], "x_test": x_test, "y_test": KIND[120:]}
    np.savez("wine.npz", **arrays)
    (tmp_path / "wine").mkdir()
    for name, value in arrays.items():
        np.save(f"wine/{name}.npy", value)
    return arrays


def command(*words):
    from spikecore.cli.command import main

    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert not ended.value.code, words


@pytest.mark.parametrize("kind", ["standard", "minmax"])
@pytest.mark.parametrize(("name", "path"), [("npz", "wine.npz"), ("npy", "wine")])
def test_a_run_scales_by_the_samples_that_it_trains_on(table, name, path, kind):
    from spikecore.cli.run_directory import TrainingRun
    from spikecore.cli.run_file import read

    for validation, used in (('"test"', 120), ("0.25", 90)):
        with open("run.toml", "w") as file:
            file.write(RUN.format(name=name, path=path, kind=kind, validation=validation))
        run, seen = TrainingRun(read("run.toml")), table["x_train"][:used].astype("float64")
        if kind == "standard":
            expected = [(x - seen.mean(0)) / seen.std(0) for x in (table["x_train"], table["x_test"])]
        else:
            low, high = seen.min(0), seen.max(0)
            expected = [((x - low) / (high - low)).clip(0, 1) for x in (table["x_train"], table["x_test"])]
        found = [next(iter(run.judging(one)))[0] for one in (run.train_set, run.test_set)]
        np.testing.assert_allclose(found[0], expected[0][:used], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-5)
        if run.held_out is not run.test_set and used == 90:
            held_out = next(iter(run.judging(run.held_out)))[0]
            np.testing.assert_allclose(held_out, expected[0][used:], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("error::spikecore.errors.TrainingWarning")
def test_a_scaled_run_learns_keeps_its_scale_and_resumes(table, capsys):
    with open("run.toml", "w") as file:
        file.write(RUN.format(name="npz", path="wine.npz", kind="standard", validation='"none"'))
    command("train", "run.toml", "--out", "whole", "--no-progress")
    command("train", "run.toml", "--out", "half", "--no-progress", "-s", "train.epochs=2")
    model = sc.load("whole/model.safetensors")
    note = model.notes["scale"]
    x = (table["x_test"] - np.array(note["subtract"])) / np.array(note["divide"])
    before = json.loads(Path("whole/result.json").read_text())
    assert note["kind"] == "standard"
    found = model.evaluate(x.astype("float32"), table["y_test"], num_steps=25, batch_size=256)
    assert found["loss"] == pytest.approx(before["test_loss"], rel=1e-5)
    np.savez("wine.npz", **{**table, "x_train": table["x_train"] * 3.0})  # of a run that has begun the scale stays
    command("evaluate", "whole")
    assert json.loads(Path("whole/result.json").read_text()) == before
    np.savez("wine.npz", **table)
    command("train", "half", "--resume", "--no-progress", "-s", "train.epochs=4")
    for name, value in sc.load("half/model.safetensors").params().items():
        np.testing.assert_array_equal(value, model.params()[name])
    capsys.readouterr()
    command("export", "whole", "--json")
    assert json.loads(capsys.readouterr().out)["scale"] == note


def test_init_leaves_the_scale_to_the_network(table):
    """It is a layer, so that the trained model takes inputs as they are."""
    from spikecore.cli.new_run_file import new_run_file

    text = new_run_file("npz", "wine.npz")
    assert '\n#scale = "standard"' in text
    assert 'kind = "Standardize", num_features = 13' in text


def test_images_sequences_and_padding_have_columns_of_their_own(table):
    from spikecore.cli.scaling import scale_of
    from spikecore.datasets import Dataset

    images = RNG.normal(size=(9, 2, 4, 5)) * np.array([3.0, 50.0])[:, None, None] + 7.0
    scaled = scale_of(Dataset(images, np.zeros(9, int)), "standard")(images)
    np.testing.assert_allclose(scaled.mean((0, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(scaled.std((0, 2, 3)), 1.0, rtol=1e-5)
    sequences = RNG.normal(size=(9, 6, 3)) * [1.0, 10.0, 0.0]
    lengths = np.arange(9) % 6 + 1
    for i, count in enumerate(lengths):
        sequences[i, count:] = 1e6  # padding, which is no value
    scale = scale_of(Dataset(sequences, np.zeros(9, int), lengths=lengths), "minmax")
    scaled = scale(sequences)
    seen = np.concatenate([one[:count] for one, count in zip(scaled, lengths)])
    np.testing.assert_allclose(seen.min(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(seen.max(0), [1.0, 1.0, 0.0], atol=1e-6)

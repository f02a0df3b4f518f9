"""Run files whose data are recordings of events, sequences of unequal length, or files that are read in parts."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.event_files import some_events

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore import datasets  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import new_run_file, pictures  # noqa: E402
from spikecore.cli.event_tables import AnyTransform  # noqa: E402
from spikecore.cli.run_directory import TrainingRun  # noqa: E402
from spikecore.cli.run_file import read  # noqa: E402
from spikecore.datasets import transforms  # noqa: E402

EVENTS = """
engine = "numpy"
[data]
name = "event_npz"
path = "events.npz"
sensor = [8, 8]
batch_size = 4
validation = 0.25
{data}
[network]
layers = ["Flatten", {{ kind = "Linear", in_features = 128, out_features = 3 }}, "Leaky"]
[train]
epochs = 3
"""
SEQUENCES = """
engine = "numpy"
[data]
name = "{name}"
path = "{path}"
batch_size = 4
lengths = "n_{{part}}"
{data}
[encoder]
kind = "sequence"
time_axis = 1
[network]
layers = [{{ kind = "Linear", in_features = 6, out_features = 3 }}, "Leaky"]
[train]
epochs = 2
"""
AUGMENTED = """
transforms = [{ kind = "Denoise" }, { kind = "Shift", pixels = 1 }, { kind = "ToFrames", window = 60000 }]
lengths = true
"""


@pytest.fixture
def spikecore(capsys):
    """Runs the command line; returns stdout and stderr."""

    def run(*arguments, code=0):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        said, error = capsys.readouterr()
        assert (left.value.code or 0) == code, said + error
        return said + error

    return run


def recordings(count=20):
    streams = [some_events(150, (8, 8), seed=i).between(0, 120_000 + 40_000 * (i % 4)) for i in range(count)]
    source = datasets.EventDataset(Held(streams), np.arange(count) % 3)
    datasets.save_event_npz("events.npz", source)


class Held(datasets.Source):
    def __init__(self, streams):
        self.streams = streams

    def __len__(self):
        return len(self.streams)

    def read(self, row):
        return self.streams[row]


def sequences(kind):
    """Padded sequences, 12 for each part, with values behind their ends that would show."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        lengths = rng.integers(1, 9, 12)
        x = rng.normal(0.4, 0.8, (12, 8, 6)).astype("float32")
        x[np.arange(8) >= lengths[:, None]] = 50.0
        arrays.update({f"x_{part}": x, f"y_{part}": np.arange(12) % 3, f"n_{part}": lengths})
    path = {"npz": "data.npz", "hdf5": "data.h5", "zarr": "data.zarr", "npy": "data"}[kind]
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npy":
        Path(path).mkdir()
        for name, array in arrays.items():
            np.save(f"{path}/{name}.npy", array)
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        zarr = pytest.importorskip("zarr", reason="zarr is not installed (extra zarr)")
        group = zarr.open_group(path, mode="w")
        for name, array in arrays.items():
            create = getattr(group, "create_array", None) or group.create_dataset
            create(name, shape=array.shape, dtype=array.dtype)[:] = array
    return path, arrays


def weights(directory):
    return sc.load(Path(directory) / "model.safetensors").params()


def everything(spikecore, engine="numpy"):
    """All that can be done with a run file run.toml, and that a resumed run ends as one that was not interrupted."""
    assert "Nothing was trained" in spikecore("train", "run.toml", "--dry-run")
    spikecore("train", "run.toml", "--out", "whole", "-e", engine)
    spikecore("train", "run.toml", "--out", "half", "-e", engine, "-s", "train.epochs=1")
    whole = json.loads(Path("whole/history.jsonl").read_text().splitlines()[-1])
    spikecore("train", "half", "--resume", "-e", engine, "-s", f"train.epochs={whole['epoch']}")
    for name, value in weights("whole").items():
        np.testing.assert_array_equal(weights("half")[name], value)
    results = [json.loads(Path(run, "result.json").read_text()) for run in ("whole", "half")]
    assert results[0] == results[1]
    assert "test_accuracy" in spikecore("evaluate", "whole")
    assert json.loads(Path("whole/result.json").read_text()) == results[0]
    assert json.loads(spikecore("verify", "whole", "--json"))["ok"]


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_run_file_trains_on_events(spikecore, engine):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    recordings()
    Path("run.toml").write_text(EVENTS.format(data=AUGMENTED))
    everything(spikecore, engine)


@pytest.mark.parametrize("kind", ["events", pytest.param("sequences", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("with_pictures")
def test_pictures_are_drawn_of_the_first_sample_up_to_its_length(spikecore, kind, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    if kind == "events":
        recordings()
        Path("run.toml").write_text(EVENTS.format(data=AUGMENTED))
    else:
        path, _ = sequences("npz")
        Path("run.toml").write_text(SEQUENCES.format(name="npz", path=path, data=""))
    extents = []
    raster = pictures.spikeplot.raster
    monkeypatch.setattr(
        pictures.spikeplot,
        "raster",
        lambda spikes, *rest, **named: extents.append(len(spikes)) or raster(spikes, *rest, **named),
    )
    spikecore("train", "run.toml", "--out", "run", "-s", "train.epochs=1")
    job = TrainingRun(read("run/run.toml"))
    *_, lengths = job.first(job.test_set, 24)
    assert extents == [lengths[0]]
    assert lengths[0] < lengths.max()
    for name in ("curves", "raster", "traces"):
        assert Path(f"run/{name}.png").stat().st_size > 1000


@pytest.mark.slow
def test_how_recordings_are_loaded_does_not_matter(spikecore):
    recordings()
    Path("run.toml").write_text(EVENTS.format(data=AUGMENTED))
    spikecore("train", "run.toml", "--out", "plain")
    for number, change in enumerate((["data.workers=1"], ["data.in_memory=true", "data.cache=kept"])):
        sets = [part for one in change for part in ("-s", one)]
        spikecore("train", "run.toml", "--out", f"run{number}", *sets, "-s", "train.epochs=2")
        spikecore("train", f"run{number}", "--resume", "-s", "train.epochs=3", "-s", "data.workers=0")
        for name, value in weights("plain").items():
            np.testing.assert_array_equal(weights(f"run{number}")[name], value)
    assert len(list(Path("kept").rglob("0*"))) == 20


def test_random_transforms_act_on_training_samples_alone():
    recordings()
    Path("run.toml").write_text(EVENTS.format(data=AUGMENTED))
    job = TrainingRun(read("run.toml"))
    assert [len(part) for part in (job.train_set, job.held_out, job.test_set)] == [12, 4, 4]
    shifted = ["Shift" in repr(part.transform) for part in (job.train_set, job.held_out, job.test_set)]
    assert shifted == [True, False, False]
    first, second = (job.train_set.batch(np.arange(12), epoch) for epoch in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("name", ["npz", "hdf5", "zarr", "npy"])
def test_a_run_file_trains_on_sequences_of_unequal_length(spikecore, name):
    path, arrays = sequences(name)
    Path("run.toml").write_text(SEQUENCES.format(name=name, path=path, data="bucket = 2"))
    if name == "npz":
        everything(spikecore)
    else:
        spikecore("train", "run.toml", "--out", "whole")
    model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky()), "numpy", seed=0, input_shape=(6,))
    x, y, n = (arrays[f"{kind}_train"] for kind in "xyn")
    loader = datasets.Loader(datasets.Dataset(x, y, lengths=n), batch_size=4, bucket=2)
    model.fit(loader, time_axis=1, epochs=2, progress=False)
    for key, value in weights("whole").items():
        np.testing.assert_array_equal(model.params()[key], value)


def test_an_ipu_takes_no_lengths(spikecore):
    pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    path, _ = sequences("npz")
    Path("run.toml").write_text(SEQUENCES.format(name="npz", path=path, data="drop_last = true"))
    said = spikecore("check", "run.toml", code=1)
    assert "batches have lengths, and a loss is compiled for whole sequences" in said


def test_weights_balance_classes():
    path, _ = sequences("npz")
    Path("run.toml").write_text(SEQUENCES.format(name="npz", path=path, data='weights = "balanced"'))
    job = TrainingRun(read("run.toml"))
    assert "drawn by weights with seed 0" in repr(job.loader(job.train_set))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "data.transforms: is required"),
        ("transforms = []", "run.toml: data.transforms = []: must have at least 1 entry"),
        ('transforms = [{ kind = "ToFrame" }]', "unknown kind 'ToFrame'; did you mean 'ToFrames'?"),
        ('transforms = [{ kind = "ToFrames", step = 3 }]', "unknown key 'step'; did you mean 'steps'?"),
        ('transforms = [{ kind = "ToFrames", steps = 0 }]', "steps=0"),
        ('transforms = ["CountImage"]\n[encoder]\nkind = "sequence"', "Linear: samples of shape (64,), expected"),
        ('transforms = [{ kind = "ToFrames", steps = 3 }]\n[encoder]\nkind = "rate"', "encoder.kind = 'rate' makes"),
        ('transforms = [{ kind = "ToFrames", steps = 3 }]\nbucket = 2', "run.toml: data: bucket=2 needs the"),
        ('transforms = [{ kind = "Denoise" }]', "run.toml: data: events.npz: a batch needs arrays"),
        (
            'transforms = [{ kind = "ToFrames", steps = 3 }]\nshuffle = false\nweights = "balanced"',
            "weights changes the",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_written(spikecore, data, message):
    recordings(8)
    Path("run.toml").write_text(EVENTS.format(data=data))
    said = spikecore("train", "run.toml", code=cli.USAGE)
    assert message in said
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["train.compute.accumulate=2", "train.learning.update_every=1"],
            "run.toml: train: accumulate=2 makes one update of several",
        ),
        (["train.learning.window=2", "train.learning.kind=eprop"], "unknown key 'window'"),
        (["data.sensor=[8]"], "data.sensor = [8] (from --set data.sensor=[8]): must have at least 2 entries"),
        (["data.sensor=[8,8,2]"], "must have at most 2 entries"),
        (["track.wandb=yes"], "(from --set track.wandb=yes): must be true, false, or a table"),
    ],
)
def test_keys_that_exclude_each_other_are_named_before_anything_is_written(spikecore, sets, message):
    recordings(8)
    Path("run.toml").write_text(EVENTS.format(data='transforms = [{ kind = "ToFrames", steps = 3 }]'))
    for dry in ([], ["--dry-run"]):
        said = spikecore("train", "run.toml", *(word for each in sets for word in ("-s", each)), *dry, code=cli.USAGE)
        assert message in said
    assert not Path("runs").exists()


def test_images_of_counted_events_take_any_encoder(spikecore):
    recordings(8)
    Path("run.toml").write_text(EVENTS.format(data='transforms = [{ kind = "CountImage", normalise = true }]'))
    assert read("run.toml").encoder.kind == "constant"
    assert "test_accuracy" in spikecore("train", "run.toml", "-s", "encoder=rate", "-s", "train.epochs=1")


def test_every_transform_of_the_library_is_known():
    named = {model.model_fields["kind"].default for model in AnyTransform.__origin__.__args__}
    own = {name for name in vars(transforms) if isinstance(getattr(transforms, name), type)}
    assert named == own - {"Compose", "Transform", "RandomTransform"}


def test_init_writes_files_for_recordings(spikecore):
    recordings()
    spikecore("init", "event_npz", "--path", "events.npz")
    text = Path("event_npz.toml").read_text()
    assert "sensor = [8, 8]" in text
    assert "in_channels = 8" in text  # four windows of time, two polarities
    assert "Nothing was trained" in spikecore("train", "event_npz.toml", "-e", "numpy", "--dry-run")
    assert set(new_run_file.STARTS) >= {"nmnist", "shd", "ssc", "dvs_gesture"}
    assert "save_event_npz" in spikecore("init", "event_npz", "--out", "other.toml", code=cli.USAGE)


def test_a_run_file_trains_on_sound(spikecore):
    for word, frequency in (("low", 300.0), ("high", 1500.0)):
        Path("words", word).mkdir(parents=True)
        for speaker in range(30):
            with wave.open(str(Path("words", word, f"{speaker:08x}_nohash_0.wav")), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
                tone = np.sin(2 * np.pi * (frequency + speaker) * np.arange(800) / 8000)
                file.writeframes((20_000 * tone).astype("<i2").tobytes())
    spikecore("init", "wav_folder", "--path", "words")
    text = Path("wav_folder.toml").read_text()
    assert 'split = "files"' in text
    assert "out_features = 2" in text
    assert "48 to train on, 6 for validation, 6 for the test" in spikecore(
        "train", "wav_folder.toml", "--dry-run", "-e", "numpy"
    )
    sets = ("data.split=speakers", "data.rate=8000", "data.seconds=0.1", "train.epochs=1", "engine=numpy")
    said = spikecore("train", "wav_folder.toml", *(word for one in sets for word in ("-s", one)))
    assert "42 recordings, 2 classes" in said
    assert "test_accuracy" in said
    assert "absent" in spikecore("train", "wav_folder.toml", "-s", "data.split=lists", code=cli.DATA)
    assert "no such folder" in spikecore("init", "wav_folder", "--path", "word", "--out", "a.toml", code=cli.DATA)

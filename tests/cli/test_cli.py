"""The command line as a user meets it: real runs, what is done with them, and their files."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore.api.training import loop  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import run_directory as runs  # noqa: E402
from spikecore.cli import run_file as config  # noqa: E402
from spikecore.cli import run_reports  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
TINY = ["--set", "network.layers.0.out_features=12", "--set", "network.layers.2.in_features=12"]
TINY += ["--set", "encoder.num_steps=4", "--set", "data.batch_size=256"]
PICTURES = ("confusion.png", "curves.png", "predictions.png", "raster.png", "traces.png")


def needs(engine):
    if engine == "torch":
        pytest.importorskip("torch")
    return engine


def trained(spikecore, out, *arguments, engine="numpy", epochs=2):
    code, said, error = spikecore(
        "train", RUN_FILE, *TINY, "-e", engine, "--out", out, "-s", f"train.epochs={epochs}", *arguments
    )
    assert code == 0, error
    return Path(out), said


def colours(png):
    """How many different bytes the pixels of a PNG have: an empty picture has few."""
    data, position, pixels = png.read_bytes(), 8, b""
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        if data[position + 4 : position + 8] == b"IDAT":
            pixels += data[position + 8 : position + 8 + length]
        position += 12 + length
    return len(set(zlib.decompress(pixels)))


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("--epochs", "train.epochs"),
        ("--lr", "train.optimizer.lr"),
        ("--batch-size", "data.batch_size"),
        ("--seed", "seed"),
    ],
)
def test_an_option_that_is_a_key_of_run_files(spikecore, option, key):
    code, _, error = spikecore("train", RUN_FILE, option, "3")
    assert code == cli.USAGE
    assert f"No such option: {option}" in error
    assert f"{key} is a key of run files: write --set {key}=VALUE" in error


@pytest.mark.parametrize("words", [("train", RUN_FILE, "--nonsense"), ("engines", "--epochs", "3")])
def test_an_option_that_is_no_key(spikecore, words):
    code, _, error = spikecore(*words)
    assert code == cli.USAGE
    assert "key of run files" not in error


# ---- train ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_resumed_run_is_bit_identical(spikecore, engine):
    needs(engine)
    whole, _ = trained(spikecore, "whole", engine=engine, epochs=4)
    parts, _ = trained(spikecore, "parts", engine=engine, epochs=2)
    code, said, _ = spikecore("train", parts, "--resume", "--set", "train.epochs=4")
    assert code == 0
    assert "epoch   3" in said
    assert "epoch   2" not in said
    a, b = (sc.load(path / "model.safetensors", engine="numpy").state() for path in (whole, parts))
    assert (a["step"], a["lr"]) == (b["step"], b["lr"])
    for kind in ("params", "buffers", "optimizer"):
        assert list(a[kind]) == list(b[kind])
        assert all(np.array_equal(a[kind][name], b[kind][name]) for name in a[kind])
    assert (whole / "run.toml").read_text() == (parts / "run.toml").read_text()


@pytest.mark.parametrize(
    ("callback", "sparsities"),
    [("pruning={amount=0.75,start=1,end=4}", [0.0, 0.5278, 0.7222, 0.75]), ("rewiring={amount=0.75}", [0.75] * 4)],
)
def test_a_pruned_run_shows_its_sparsity_and_resumes(spikecore, callback, sparsities):
    sets = ["--set", f"train.{callback}", "--set", "train.optimizer.keep_zeros=true"]
    whole, said = trained(spikecore, "whole", *sets, epochs=4)
    parts, _ = trained(spikecore, "parts", *sets, epochs=2)
    assert spikecore("train", parts, "--resume", "--set", "train.epochs=4")[0] == 0
    a, b = (sc.load(path / "model.safetensors") for path in (whole, parts))
    assert all(np.array_equal(x, b.params()[name]) for name, x in a.params().items())
    assert [row["sparsity"] for row in a.history] == pytest.approx(sparsities, abs=1e-3)
    assert f"sparsity {a.history[-1]['sparsity']:.4f}" in said
    name = callback.partition("=")[0]  # its keys may change, so that a training whose cut was refused can go on
    assert spikecore("train", parts, "--resume", "--set", "train.epochs=5", "--set", f"train.{name}.start=3")[0] == 0


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's own word
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_run_that_diverges_keeps_its_last_good_epoch(spikecore, monkeypatch, engine):
    """C12: it ends with an exit code, and the weights that it leaves are those of the epoch before."""
    needs(engine)
    out = Path("out")

    def loss(out_, targets):
        xp = sc.base.engine_of(out_.spikes).xp
        good = len((out / "history.jsonl").read_text().splitlines()) < 2 if (out / "history.jsonl").exists() else True
        return xp.mean(out_.membrane * out_.membrane) * (1.0 if good else float("inf"))

    monkeypatch.setattr(runs.TrainingRun, "loss", property(lambda run: loss))
    code, _, error = spikecore("train", RUN_FILE, *TINY, "-e", engine, "--out", out, "-s", "train.epochs=5")
    assert code == cli.RUNTIME
    assert "DivergedError: the loss of epoch 3 is" in error
    left = sc.load(out / "model.safetensors", engine=engine)
    assert left.epochs_done == len((out / "history.jsonl").read_text().splitlines()) == 2
    assert all(np.isfinite(x).all() for x in left.params().values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_results_of_runs_are_strict_json(spikecore, monkeypatch, value):
    """C12: losses that are not finite are null in the files of a run."""
    monkeypatch.setattr(sc.Model, "evaluate", lambda *args, **options: {"loss": value, "accuracy": 0.5})
    evaluated = loop.Training._validated
    monkeypatch.setattr(loop.Training, "_validated", lambda *a: {**evaluated(*a), "val_loss": value})
    out, _ = trained(spikecore, "out")
    lines = [*(out / "history.jsonl").read_text().splitlines(), (out / "result.json").read_text()]
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row.get("val_loss") for row in rows] == [None] * 3
    assert rows[-1]["test_loss"] is None


def test_early_stopping_and_schedule_survive_an_interruption(tmp_path):
    sets = ["network.layers=[{kind='Linear',in_features=64,out_features=10},{kind='Leaky',beta={learn=0.9}}]"]
    sets += ["encoder={kind='rate',num_steps=3}", "data.validation=0.2", "train.schedule=cosine", "train.epochs=9"]
    sets += ["train.early_stopping={patience=2,min_delta=0.05}", "train.optimizer={lr=0.02}", "data.batch_size=256"]

    def carried_out(directory, interrupted_after):
        run = runs.TrainingRun(config.read(RUN_FILE, "numpy", sets), tmp_path / directory)

        def interrupt(line):
            if run.directory and json.loads((run.directory / "history.jsonl").read_text().splitlines()[-1])[
                "epoch"
            ] in (interrupted_after):
                raise KeyboardInterrupt

        try:
            with run.start(resume=(tmp_path / directory).exists()) as model:
                run.train(model, interrupt)
        except KeyboardInterrupt:
            interrupted_after.pop(0)
            return carried_out(directory, interrupted_after)
        return model

    whole, parts = carried_out("whole", []), carried_out("parts", [1, 3])
    assert 3 < whole.epochs_done < 9, "the test wants a run that stops early, behind the interruptions"
    assert parts.epochs_done == whole.epochs_done
    assert all(np.array_equal(x, parts.params()[name]) for name, x in whole.params().items())
    assert [row["lr"] for row in whole.history] == [row["lr"] for row in parts.history]


@pytest.mark.usefixtures("with_pictures")
def test_a_run_directory_holds_everything(spikecore):
    out, said = trained(spikecore, "out")
    assert {path.name for path in out.iterdir()} == {
        *("run.toml", "model.safetensors", "history.jsonl", "result.json"),
        *PICTURES,
    }
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"} <= set(rows[0])
    result = json.loads((out / "result.json").read_text())
    assert result["test_accuracy"] == rows[-1]["val_accuracy"]
    assert f"{result['test_accuracy']:.4f}" in said
    assert all(str(out / name) in said for name in PICTURES)
    for name in PICTURES:
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
        assert colours(out / name) > 20


@pytest.mark.usefixtures("with_pictures")
def test_targets_that_vary_in_time(spikecore, tmp_path):
    """D1: no run file could have them; their numbers, all in the title, left no room for the curves.

    That each engine trains with the same losses is tested in test_tasks_runs.py.
    """
    wave = np.sin(np.linspace(0, 6, 20) + np.arange(16)[:, None])[..., None]
    arrays = {
        f"{name}_{part}": x for part in ("train", "test") for name, x in (("x", wave[:, :-1]), ("y", wave[:, 1:]))
    }
    np.savez(tmp_path / "waves.npz", **arrays)
    (tmp_path / "waves.toml").write_text(
        """
        data = { name = "npz", path = "waves.npz" }
        encoder = { kind = "sequence", time_axis = 1 }
        [network]
        layers = [
            { kind = "Linear", in_features = 1, out_features = 8 }, { kind = "RLeaky", linear_features = 8 },
            { kind = "Linear", in_features = 8, out_features = 1 }, "LI",
        ]
        [train]
        epochs = 3
        loss = { kind = "mse_membrane_loss", time_var_targets = true }
        optimizer = { kind = "Adam", lr = 0.02 }
        """
    )
    code, _, error = spikecore("train", "waves.toml", "--out", "run", "-e", "numpy")
    assert code == 0, error
    history = [json.loads(line)["loss"] for line in Path("run/history.jsonl").read_text().splitlines()]
    assert history[-1] < history[0]
    shown = [name for name in PICTURES if name != "confusion.png"]  # which is for classes
    assert all(colours(Path("run") / name) > 20 for name in shown)
    assert sorted(path.name for path in Path("run").glob("*.png")) == shown
    for engine in ("numpy", needs("torch")):
        assert spikecore("verify", "run", "-e", engine)[0] == spikecore("evaluate", "run", "-e", engine)[0] == 0


def test_directories_are_numbered_and_never_overwritten(spikecore):
    for number in (1, 2):
        code, said, _ = spikecore("train", RUN_FILE, *TINY, "-e", "numpy", "-s", "train.epochs=1")
        assert code == 0
        assert f"runs{os.sep}demo-00{number}" in said
    code, _, error = spikecore("train", RUN_FILE, "--out", "runs/demo-001")
    assert code == cli.USAGE
    assert "--resume" in error
    code, _, error = spikecore("train", "runs/demo-001")
    assert code == cli.USAGE
    assert "--resume" in error


def test_the_resolved_file_runs_as_it_is(spikecore):
    out, _ = trained(spikecore, "out", epochs=1)
    code, _, error = spikecore("train", out / "run.toml", "--out", "again")
    assert code == 0, error
    assert (out / "run.toml").read_text() == Path("again/run.toml").read_text()
    a, b = (sc.load(path / "model.safetensors", engine="numpy").params() for path in (out, Path("again")))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_resume_refuses_another_run_and_says_when_there_is_nothing_to_do(spikecore):
    out, _ = trained(spikecore, "out", epochs=1)
    code, _, error = spikecore("train", out, "--resume", "--set", "seed=3")
    assert code == cli.USAGE
    assert "seed is 3, but the run began with 0" in error
    code, _, error = spikecore("train", out, "--resume", "--set", "engine_options.fused=false")
    assert code == cli.USAGE
    assert "engine_options.fused is False" in error
    assert "nothing left to train" in spikecore("train", out, "--resume")[1]
    code, _, error = spikecore("train", RUN_FILE, "--resume")
    assert code == cli.USAGE
    assert "--out" in error


def test_flag_beats_environment_beats_file(spikecore, monkeypatch):
    needs("torch")

    def engine_of(directory):
        return json.loads((Path(directory) / "result.json").read_text())["engine"]

    short = ("train", RUN_FILE, *TINY, "-s", "train.epochs=1", "--out")
    assert spikecore(*short, "file")[0] == 0
    monkeypatch.setenv("SPIKECORE_ENGINE", "numpy")
    assert spikecore(*short, "environment")[0] == 0
    assert spikecore(*short, "flag", "--engine", "torch")[0] == 0
    assert [engine_of(name) for name in ("file", "environment", "flag")] == ["torch", "numpy", "torch"]


# ---- what is done with a run ---------------------------------------------------------------------------------------


def test_verify_evaluate_plot(spikecore):
    out, _ = trained(spikecore, "out", engine=needs("torch"))
    code, said, _ = spikecore("verify", out, "--samples", "2")
    assert code == 0
    assert (out / "report.txt").read_text().startswith(said)
    assert said.startswith("verified: torch's gradients equal NumPy's")
    assert "finite differences  gradient" in (out / "report.txt").read_text()
    assert spikecore("verify", out / "model.safetensors", "--samples", "2")[0] == 0
    code, said, _ = spikecore("evaluate", out, "--engine", "numpy")
    assert code == 0
    assert "test_accuracy" in said
    code, said, _ = spikecore("evaluate", out, "--engine", "numpy", "--report", "--json")
    result = json.loads(said)
    assert [row["name"] for row in result["classes"]] == [str(digit) for digit in range(10)]
    assert sum(row["samples"] for row in result["classes"]) == 450
    right = sum(row["recall"] * row["samples"] for row in result["classes"]) / 450
    assert right == pytest.approx(result["test_accuracy"], abs=1e-6)
    code, said, _ = spikecore("plot", out, "--format", "svg")
    assert code == 0
    assert "<svg" in (out / "curves.svg").read_text()
    assert f"traces.svg{os.linesep}" in said
    code, _, error = spikecore("plot", out, "--format", "jpg")
    assert (code, "unknown format 'jpg'" in error) == (cli.USAGE, True)


def test_verify_takes_a_run_file_and_fails_with_its_own_code(spikecore, monkeypatch):
    code, said, _ = spikecore("verify", RUN_FILE, *TINY, "-e", "numpy", "--samples", "2")
    assert (code, list(Path().iterdir())) == (0, [])
    report = type("Report", (), {"ok": False, "__str__": lambda self: "NOT VERIFIED"})()
    monkeypatch.setattr(run_reports, "verify_gradients", lambda *_: report)
    code, said, _ = spikecore("verify", RUN_FILE, "-e", "numpy")
    assert (code, said) == (cli.NOT_VERIFIED, "NOT VERIFIED\n")


def test_a_damaged_checkpoint_is_a_data_error(spikecore):
    out, _ = trained(spikecore, "out", epochs=1)
    (out / "model.safetensors").write_bytes((out / "model.safetensors").read_bytes()[:-9])
    code, _, error = spikecore("evaluate", out)
    assert code == cli.DATA
    assert "damaged" in error

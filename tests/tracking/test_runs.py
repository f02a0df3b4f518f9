"""The table ``[track]`` of run files: what ``spikecore train`` and ``spikecore verify`` log."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.tracking.test_tracking import as_float32, read_csv, read_events, read_jsonl

for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib"):
    pytest.importorskip(package)

from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import run_directory  # noqa: E402
from spikecore.cli import run_file as config  # noqa: E402
from spikecore.installing import to_install  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
TINY = ["network.layers.0.out_features=4", "network.layers.2.in_features=4", "encoder.num_steps=2", "train.epochs=2"]
TINY += ["data.batch_size=512"]
SETS = [word for one in TINY for word in ("--set", one)]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        run_directory.TrainingRun, "pictures", lambda run, model: []
    )  # those of the run itself take seconds


@pytest.fixture
def spikecore(capsys):
    """Runs the command line; returns exit code and stderr."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        return left.value.code or 0, capsys.readouterr().err

    return run


def on(*names):
    return [word for name in names for word in ("--set", f"track.{name}=true")]


def without_rates(rows):
    return [{name: value for name, value in row.items() if not name.startswith("rate/")} for row in rows]


def test_a_run_is_logged_resumed_and_verified(spikecore):
    pytest.importorskip("tensorboard")
    logs = on("csv", "jsonl", "tensorboard")
    assert spikecore("train", RUN_FILE, *SETS, "-e", "numpy", "--out", "out", *logs)[0] == 0
    code, error = spikecore("train", "out", "--resume", "--set", "train.epochs=3", "--set", "track.pictures_every=0")
    assert code == 0, error
    code, error = spikecore("verify", "out", "--samples", "1")
    assert code == 0, error
    history = read_jsonl(Path("out/history.jsonl"))
    track = Path("out/track")
    for rows in (read_csv(track / "log.csv"), read_jsonl(track / "log.jsonl")):
        assert without_rates(rows) == history
        assert {name for row in rows for name in row} - set(history[0]) == {"rate/1", "rate/3"}
    rounded = [{name: as_float32(value) for name, value in row.items()} for row in history]
    assert without_rates(read_events(track / "tensorboard")) == rounded
    names = {path.name for path in track.iterdir()}
    texts = {f"log.{text}.txt" for text in ("summary", "config", "verify")}
    assert names == {"log.csv", "log.jsonl", "tensorboard", "log.raster.0001.png", "log.membranes.0001.png", *texts}
    settings = json.loads((track / "log.config.txt").read_text())
    assert settings["train"]["epochs"] == 2
    assert settings["track"]["csv"] is True
    assert (track / "log.verify.txt").read_text() == Path("out/report.txt").read_text()


def test_a_resumed_run_may_begin_to_log(spikecore):
    assert spikecore("train", RUN_FILE, *SETS, "-e", "numpy", "--out", "out")[0] == 0
    assert not Path("out/track").exists()
    resumed = spikecore("train", "out", "--resume", "--set", "train.epochs=3", *on("csv"))
    assert resumed[0] == 0, resumed[1]
    assert without_rates(read_csv(Path("out/track/log.csv"))) == read_jsonl(Path("out/history.jsonl"))


def test_a_missing_package_is_said_before_there_is_a_directory(spikecore, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, error = spikecore("train", RUN_FILE, *SETS, "-e", "numpy", *on("wandb"))
    assert code == cli.RUNTIME
    assert f"tracking.WandB needs the package wandb: {to_install('wandb')}" in error
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("track.tensorbord=true", "unknown key 'tensorbord'; did you mean 'tensorboard'?"),
        ("track.csv='log.csv'", "track.csv = 'log.csv'"),
        ("track.wandb={projekt='a'}", "unknown key 'projekt'; did you mean 'project'?"),
        ("track.mlflow=3", "track.mlflow = 3"),
        ("track.pictures_every=-1", "must be >= 0"),
        ("track.samples=0", "must be >= 1"),
    ],
)
def test_mistakes_are_named(spikecore, setting, said):
    code, error = spikecore("train", RUN_FILE, "--set", setting)
    assert code == cli.USAGE
    assert said in error


def test_true_is_a_table_with_defaults_and_false_is_none():
    run = config.read(RUN_FILE, sets=["track.mlflow=true", "track.wandb=false"])
    assert run.track.mlflow.experiment == "spikecore"
    assert run.track.wandb is None
    assert "wandb" not in run.plain()["track"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")  # MLflow's
def test_mlflow_is_in_the_run_directory(spikecore, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    code, error = spikecore("train", RUN_FILE, *SETS, "-e", "numpy", "--out", "out", *on("mlflow"))
    assert code == 0, error
    code, error = spikecore("train", "out", "--resume", "--set", "train.epochs=3")
    assert code == 0, error
    assert spikecore("verify", "out", "--samples", "1")[0] == 0
    store = client(tracking_uri=f"sqlite:///{Path('out/track/mlflow.db').absolute()}")
    (run,) = store.search_runs([store.get_experiment_by_name("spikecore").experiment_id])
    assert run.info.run_name == "out"
    losses = {metric.step: metric.value for metric in store.get_metric_history(run.info.run_id, "loss")}
    assert losses == {row["epoch"]: row["loss"] for row in read_jsonl(Path("out/history.jsonl"))}
    assert run.data.params["network.layers.1.kind"] == "Leaky"
    kept = {path.name for path in Path("out/track/mlflow").rglob("*.txt")}
    assert kept == {"summary.txt", "config.txt", "verify.txt"}

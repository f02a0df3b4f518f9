"""MLflow stores and W&B's offline folders hold the history, also of a training that was killed and resumed."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest

import spikecore as sc
from spikecore import tracking
from spikecore.tracking.mlflow import half_made
from tests import ROOT

X, Y = np.random.default_rng(0).random((20, 8), dtype=np.float32), np.arange(20) % 3
pytestmark = [
    pytest.mark.slow,  # MLflow makes a database, W&B starts a service
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),  # theirs
]


def fitted(*trackers, model=None, epochs=3, **options):
    model = sc.Model(sc.Sequential(sc.Linear(8, 3), sc.Leaky(threshold=0.1))) if model is None else model
    model.fit(X, Y, epochs=epochs, num_steps=3, callbacks=trackers, validation=(X, Y), progress=False, **options)
    return model


# ---- MLflow --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Options of a tracker that writes into a store of its own, and a client that reads it."""
    pytest.importorskip("mlflow", reason="mlflow is not installed (extra mlflow)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        from mlflow import MlflowClient

        folder = tmp_path_factory.mktemp("mlflow")
        uri = f"sqlite:///{folder}/made/mlflow.db"
        options = {"uri": uri, "artifacts": (folder / "artifacts").as_uri()}
        tracking.MLflow("begin", **options).start(sc.Model(sc.Leaky(), input_shape=1), [])  # makes the database
        yield options, MlflowClient(tracking_uri=uri)


def runs_of(client, experiment):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def metrics_of(client, run):
    """Every value of every metric, by step."""
    rows = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            assert name not in rows.setdefault(metric.step, {}), "a row twice"
            rows[metric.step][name] = metric.value
    return [rows[step] for step in sorted(rows)]


def test_an_mlflow_run_is_the_history(store, tmp_path):
    options, client = store
    config = {"train": {"lr": 0.1, "layers": [{"kind": "Linear"}]}, **{f"key{i}": i for i in range(150)}}
    sample = tracking.Sample(X[:4], num_steps=3, pictures_every=2)
    with tracking.MLflow("plain", name="first", sample=sample, config=config, **options) as tracker:
        model = fitted(tracker)
        tracker.report(model, sc.verify(model, X[:2], Y[:2], num_steps=2))
    (run,) = runs_of(client, "plain")
    rows = metrics_of(client, run)
    assert [{name: row[name] for name in model.history[0]} for row in rows] == model.history
    assert all(0 < row["rate/1"] < 1 for row in rows)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert len(run.data.params) == 152
    assert run.data.params["train.layers.0.kind"] == "Linear"
    found = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert found == {"summary.txt", "config.txt", "verify.txt", "raster", "membranes"}
    pictures = {item.path for item in client.list_artifacts(run.info.run_id, "raster")}
    assert pictures == {"raster/0001.png", "raster/0002.png"}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_resumed_fit_goes_on_in_its_mlflow_run(store, tmp_path, lost):
    options, client = store
    name = f"resumed{lost}"
    fitted(tracking.MLflow(name, **options))  # another training, with the same seed
    model = fitted(tracking.MLflow(name, **options))
    model.save(tmp_path / "model")
    if lost:
        fitted(model=model, epochs=lost)
        model.save(tmp_path / "model")
    with tracking.MLflow(name, **options) as tracker:
        model = fitted(tracker, model=sc.load(tmp_path / "model"), epochs=2)
    own, other = (metrics_of(client, run) for run in runs_of(client, name))
    own, other = sorted((own, other), key=len, reverse=True)
    assert own == model.history
    assert len(other) == 3


def test_an_mlflow_run_that_is_ahead_stays_and_another_is_made(store, tmp_path):
    options, client = store
    model = fitted(tracking.MLflow("ahead", **options), epochs=2)
    model.save(tmp_path / "model")
    fitted(tracking.MLflow("ahead", **options), model=model, epochs=2)
    model = fitted(tracking.MLflow("ahead", **options), model=sc.load(tmp_path / "model"), epochs=3)
    lengths = {len(metrics_of(client, run)) for run in runs_of(client, "ahead")}
    assert lengths == {4, 5}
    assert model.history in [metrics_of(client, run) for run in runs_of(client, "ahead")]


def test_an_mlflow_run_of_ones_own(store):
    options, client = store
    number = client.create_experiment("mine", artifact_location=options["artifacts"])
    run = client.create_run(number).info.run_id
    model = fitted(tracking.MLflow(uri=options["uri"], run_id=run))
    with tracking.MLflow(uri=options["uri"], run_id=run) as tracker:
        fitted(tracker, model=model)
    (found,) = runs_of(client, "mine")
    assert metrics_of(client, found) == model.history
    assert found.info.status == "RUNNING", "whoever has begun it ends it"
    with pytest.raises(FileExistsError, match="has epochs of another training"):
        fitted(tracking.MLflow(uri=options["uri"], run_id=run))


BEGUN = """
import spikecore as sc
from spikecore import tracking
options = {options!r}
{before}
tracking.MLflow("begun", **options).start(sc.Model(sc.Leaky(), "numpy", input_shape=1), [])
"""
#: Makes the tables in place, as MLflow does by itself.
IN_PLACE = "import mlflow; mlflow.MlflowClient(tracking_uri=options['uri']).search_experiments()"


def killed_while_a_database_is_made(folder, after, before=""):
    """A process that is killed some seconds after the first table was made."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    options = {"uri": uri, "artifacts": (folder / "artifacts").as_uri()}
    script = BEGUN.format(options=options, before=before)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(file.stat().st_size for file in folder.glob("*mlflow.db*")):
        time.sleep(0.01)
    time.sleep(after)
    process.kill()
    process.wait()
    return options


@pytest.mark.parametrize("after", [0.0, 1.0, 2.0, 3.0])
def test_a_training_that_is_killed_while_mlflow_makes_its_database_is_resumed(store, tmp_path, after):
    """The database appears when it is complete; what was begun is swept away."""
    from mlflow import MlflowClient

    options = killed_while_a_database_is_made(tmp_path, after)
    model = fitted(tracking.MLflow("begun", **options))
    found = runs_of(MlflowClient(tracking_uri=options["uri"]), "begun")
    assert model.history in [metrics_of(MlflowClient(tracking_uri=options["uri"]), run) for run in found]
    assert not [*tmp_path.glob(".mlflow.db*.draft")]


def test_a_database_that_others_left_half_made_is_named(store, tmp_path):
    options = killed_while_a_database_is_made(tmp_path, 3.0, IN_PLACE)
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as database, database:  # where the tables were complete in time
        database.execute("DROP TABLE IF EXISTS alembic_version")
        database.execute("DELETE FROM experiments")
    with pytest.raises(OSError, match=rf"{file}: its tables are incomplete.* Delete the file"):
        fitted(tracking.MLflow("begun", **options))
    file.unlink()
    subprocess.run([sys.executable, "-c", BEGUN.format(options=options, before="")], check=True, cwd=ROOT)
    assert not half_made(str(file))


def test_two_processes_make_one_database(store, tmp_path):
    """The one that ends later uses that of the other."""
    options = {"uri": f"sqlite:///{tmp_path / 'mlflow.db'}", "artifacts": tmp_path.as_uri()}
    command = [sys.executable, "-c", BEGUN.format(options=options, before="")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    from mlflow import MlflowClient

    assert len(runs_of(MlflowClient(tracking_uri=options["uri"]), "begun")) == 2
    assert [path.name for path in tmp_path.glob("*mlflow.db*")] == ["mlflow.db"]


def test_a_failed_training_and_odd_numbers_in_mlflow(store, tmp_path):
    options, client = store
    model = fitted()
    for value, row in zip((math.nan, math.inf, -math.inf), model.history):
        row["odd"] = value
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), tracking.MLflow("odd", **options) as tracker:
            fitted(tracker, lambda model, row: 1 / 0, model=model)
    (run,) = runs_of(client, "odd")
    assert run.info.status == "FAILED"
    rows = metrics_of(client, run)
    assert len(rows) == 5
    assert math.isnan(rows[0]["odd"])
    assert [row["odd"] for row in rows[1:3]] == [sys.float_info.max, -sys.float_info.max]


# ---- Weights & Biases ----------------------------------------------------------------------------------------------

SCRIPT = """
import json, os, sys
import numpy as np, spikecore as sc
from spikecore import tracking
x, y = np.random.default_rng(0).random((20, 8), dtype=np.float32), np.arange(20) % 3
try:
    model = sc.load("model", engine="numpy")
except FileNotFoundError:
    model = sc.Model(sc.Sequential(sc.Linear(8, 3), sc.Leaky(threshold=0.1)), engine="numpy")
sample = tracking.Sample(x[:4], num_steps=3, pictures_every=2)
kill = sys.argv[1] == "kill"
def save(model, row):
    model.save("model")
    if kill and row["epoch"] == 3:
        os.kill(os.getpid(), 9)
with tracking.WandB("test", offline=True, folder="logs", sample=sample, config={"train": {"lr": 0.1}}) as tracker:
    feeding = dict(num_steps=3, resume=bool(model.epochs_done), progress=False)
    model.fit(x, y, epochs=int(sys.argv[2]), callbacks=(save, tracker), **feeding)
    tracker.report(model, sc.verify(model, x[:2], y[:2], num_steps=2))
print(json.dumps(model.history))
"""


def records(path):
    """The records of W&B's file: a header of 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, last
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def logged(folder):
    """The rows in W&B's file, and its config."""
    rows, config = [], {}
    for record in records(next(folder.glob("*.wandb"))):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            rows.append({name: json.loads(value) for name, value in items.items()})
        if kind in ("config", "run"):
            updates = record.config.update if kind == "config" else record.run.config.update
            config.update({item.key: json.loads(item.value_json) for item in updates})
    return rows, config


def test_offline_folders_of_wandb_are_the_history(tmp_path):
    """No network, no login, no prompt; killed in epoch 3 and resumed; prolonged."""
    pytest.importorskip("wandb", reason="wandb is not installed (extra wandb)")
    nowhere = "http://127.0.0.1:9"
    proxies = {name: nowhere for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", WANDB_BASE_URL=nowhere, HOME=str(tmp_path), **proxies)

    def session(*arguments):
        before = set((tmp_path / "logs" / "wandb").glob("offline-run-*"))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        (folder,) = set((tmp_path / "logs" / "wandb").glob("offline-run-*")) - before
        return folder, done.returncode, done

    killed, code, _ = session("kill", "5")
    assert code == -9
    first, code, done = session("finish", "5")
    assert code == 0, done.stderr
    second, code, done = session("finish", "7")
    assert code == 0, done.stderr
    history = json.loads(done.stdout.splitlines()[-1])
    ids = [folder.name.split("-")[-1] for folder in (killed, first, second)]
    assert ids[0] != ids[1] == ids[2], "what was killed may lack rows; what was closed goes on"
    rows, config = logged(first)
    more, _ = logged(second)
    rows += more
    assert [{name: row[name] for name in history[0]} for row in rows] == history
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["epoch"] for row in rows if row.get("rate/1", 0) > 0] == [4, 5, 6, 7]  # the others are the history's
    assert {row["epoch"] for row in rows if any(name.startswith("raster") for name in row)} == {4, 6}
    assert config["train"] == {"lr": 0.1}
    assert (first / "files" / "summary.txt").exists()
    assert "finite differences" in (second / "files" / "verify.txt").read_text()

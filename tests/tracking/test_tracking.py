"""Trackers: what they log is the history, whatever happens to the training in between."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import spikecore as sc
from spikecore import tracking
from tests import ROOT

RNG = np.random.default_rng(0)
X, Y = RNG.random((20, 8), dtype=np.float32), np.arange(20) % 3
NET = sc.Sequential(sc.Linear(8, 5), sc.Leaky(threshold=0.3), sc.Linear(5, 3), sc.Leaky(threshold=0.1))


def fitted(*trackers, model=None, epochs=3, seed=0, **options):
    model = sc.Model(NET, seed=seed) if model is None else model
    options = {"validation": (X[:12], Y[:12]), "progress": False, **options}
    model.fit(X, Y, epochs=epochs, num_steps=5, callbacks=trackers, **options)
    return model


def sample(**options):
    return tracking.Sample(X[:6], num_steps=5, **{"pictures_every": 0, **options})


def read_csv(path):
    with path.open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_events(path):
    """The scalars of event files, as TensorBoard reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    rows = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            assert tag not in rows.setdefault(event.step, {}), "a row twice"
            rows[event.step][tag] = event.value
    return [rows[step] for step in sorted(rows)]


def exactly(value):
    return value


def as_float32(value):
    return float(np.float32(value))


LOGS = {
    "CSV": (tracking.CSV, "log.csv", read_csv, exactly),
    "JSONL": (tracking.JSONL, "log.jsonl", read_jsonl, exactly),
    "TensorBoard": (tracking.TensorBoard, "events", read_events, as_float32),
}


@pytest.fixture(params=list(LOGS))
def log(request, tmp_path):
    """A function that makes a tracker for one place, and one that compares what is there with a history."""
    if request.param == "TensorBoard":
        pytest.importorskip("tensorboard")
    kind, name, read, rounded = LOGS[request.param]

    def check(history, rates=0):
        rows = read(tmp_path / name)
        assert len(rows) == len(history)
        for row, wanted in zip(rows, history):
            columns = {column: rounded(value) for column, value in wanted.items()}
            assert {column: row[column] for column in columns} == columns
            assert sum(column.startswith("rate/") for column in set(row) - set(columns)) == rates

    return lambda **options: kind(tmp_path / name, **options), check


# ---- equal to the history ------------------------------------------------------------------------------------------


def test_what_is_read_back_is_the_history(log):
    made, check = log
    with made() as tracker:
        history = fitted(tracker, epochs=5).history
    assert {"val_loss", "val_accuracy", "lr", "samples_per_s"} <= set(history[0])
    check(history)


def test_it_is_on_the_disk_after_each_epoch(log):
    made, check = log
    counted = []
    fitted(made(), lambda model, row: counted.append(check(model.history)))
    assert len(counted) == 3


def test_columns_may_come_later(log):
    made, check = log
    tracker = made()
    model = fitted(tracker, validation=None)
    fitted(tracker, model=model, epochs=2)
    assert "val_loss" not in model.history[0]
    assert "val_loss" in model.history[4]
    check(model.history)


@pytest.mark.parametrize("odd", [math.nan, -math.inf, 1e300, 5e-324])
def test_odd_numbers(tmp_path, odd):
    """JSON has no NaN and no infinities; a log with them goes on."""
    for kind, read in ((tracking.CSV, read_csv), (tracking.JSONL, read_jsonl)):
        path = tmp_path / kind.__name__
        model = fitted(metric={"odd": lambda out, targets: odd}, validation=None)
        for row in model.history:
            row["odd"] = odd
        fitted(kind(path), model=model, epochs=1, metric={"odd": lambda out, targets: 1.0}, validation=None)
        fitted(kind(path), model=model, epochs=1, metric={"odd": lambda out, targets: 1.0}, validation=None)
        values = [row["odd"] for row in read(path)]
        wanted = None if kind is tracking.JSONL and not math.isfinite(odd) else odd
        assert values[3:] == [1.0, 1.0]
        assert all(value == wanted or (value != value and wanted != wanted) for value in values[:3])


def test_numbers_of_numpy_are_numbers_and_texts_are_left_out(tmp_path):
    model = sc.Model(NET)
    tracker = tracking.JSONL(tmp_path / "log.jsonl")
    tracker(model, {"epoch": 1, "loss": np.float32(0.5), "count": np.int64(3), "note": "text", "none": None})
    tracker(model, {"epoch": 2, "loss": np.ones(()), "stopped": np.True_, "list": np.ones(3)})
    rows = read_jsonl(tmp_path / "log.jsonl")
    assert rows == [{"epoch": 1, "loss": 0.5, "count": 3}, {"epoch": 2, "loss": 1.0, "stopped": 1}]
    assert "true" not in (tmp_path / "log.jsonl").read_text()


# ---- resumed, killed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1, 2], ids="none one two".split())
def test_a_log_that_lacks_rows_is_completed(log, tmp_path, lost):
    """Killed behind the save and before the tracker; or the tracker came later."""
    made, check = log
    model = fitted(made(), epochs=4 - lost)
    for _ in range(lost):
        fitted(model=model, epochs=1)
    model.save(tmp_path / "model")
    model = fitted(made(), model=sc.load(tmp_path / "model"), epochs=1)
    assert len(model.history) == 5
    check(model.history)


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_log_that_is_ahead_goes_back_with_the_model(log, tmp_path, ahead):
    """Killed behind the tracker and before the save: the epochs are trained again, in other times."""
    made, check = log
    model = fitted(made(), epochs=2)
    model.save(tmp_path / "model")
    fitted(made(), model=model, epochs=ahead)
    model = fitted(made(), model=sc.load(tmp_path / "model"), epochs=3)
    assert len(model.history) == 5
    check(model.history)


def test_a_resumed_fit_goes_on_in_the_same_log(log, tmp_path):
    made, check = log
    with made(sample=sample()) as tracker:
        fitted(tracker).save(tmp_path / "model")
    with made(sample=sample()) as tracker:
        model = fitted(tracker, model=sc.load(tmp_path / "model"), epochs=6, resume=True)
    assert len(model.history) == 6
    check(model.history, rates=2)  # those of the first fit stay


def test_fits_of_one_tracker_go_on_and_so_does_one_that_was_closed(log):
    made, check = log
    tracker = made()
    model = fitted(tracker)
    fitted(tracker, model=model)
    tracker.close()
    tracker.close()
    fitted(tracker, model=model)
    fitted(model=model)
    fitted(tracker, model=model)
    assert len(model.history) == 15
    check(model.history)


def test_a_half_written_event_is_lost_and_no_more(tmp_path):
    pytest.importorskip("tensorboard")
    model = fitted(tracking.TensorBoard(tmp_path))
    (file,) = tmp_path.glob("events*")
    file.write_bytes(file.read_bytes()[:-7])
    assert len(read_events(tmp_path)) == 2
    fitted(tracking.TensorBoard(tmp_path), model=model)
    assert [row["loss"] for row in read_events(tmp_path)] == [as_float32(row["loss"]) for row in model.history]


VICTIM = """
import sys, numpy as np, spikecore as sc
from spikecore import tracking
folder, kinds = sys.argv[1], sys.argv[2:]
x, y = np.random.default_rng(0).random((40, 8), dtype=np.float32), np.arange(40) % 3
try:
    model = sc.load(folder + "/model", engine="numpy")
except FileNotFoundError:
    model = sc.Model(sc.Sequential(sc.Linear(8, 3), sc.Leaky(threshold=0.1)), engine="numpy")
trackers = [getattr(tracking, kind)(f"{folder}/{kind}", overwrite=True) for kind in kinds]
print("begun", flush=True)
save = lambda model, row: model.save(folder + "/model")
model.fit(x, y, epochs=4000, num_steps=3, callbacks=(save, *trackers), resume=bool(model.epochs_done), progress=False)
"""


def killed(folder, kinds, after):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", VICTIM, str(folder), *kinds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as victim:
        victim.stdout.read(5)
        time.sleep(after)
        victim.send_signal(signal.SIGKILL)
    return sc.load(folder / "model", engine="numpy")


@pytest.mark.slow
def test_kills_lose_no_row_and_repeat_none(tmp_path):
    pytest.importorskip("tensorboard")
    before = 0
    for _ in range(8):
        model = killed(tmp_path, LOGS, 0.5 + RNG.random())
        assert len(model.history) > before, "the victim did not get as far as to train"
        before = len(model.history)
    trackers = [kind(tmp_path / name) for name, (kind, *_) in LOGS.items()]
    model.fit(X, Y, epochs=before + 2, num_steps=3, callbacks=tuple(trackers), resume=True, progress=False)
    for name, (_, _, read, rounded) in LOGS.items():
        rows = read(tmp_path / name)
        wanted = [{column: rounded(value) for column, value in row.items()} for row in model.history]
        assert rows == wanted, name


# ---- logs of others ------------------------------------------------------------------------------------------------


def test_the_log_of_another_training_is_refused_before_the_first_epoch(log):
    made, check = log
    first = fitted(made(), seed=1)
    model, other = sc.Model(NET), fitted(seed=2)
    for begun in (model, other):
        done = begun.epochs_done
        with pytest.raises(FileExistsError, match="has 3 epochs of another training.*overwrite=True"):
            fitted(made(), model=begun)
        assert begun.epochs_done == done
    check(first.history)
    fitted(made(overwrite=True), model=other)
    check(other.history)
    fitted(made(overwrite=True), model=model)
    check(model.history)


@pytest.mark.parametrize("text", ["my notes\n", "a,b\n1,2\n", "epoch,loss\nfirst,0.1\n", '{"loss": 1}\n', "[1]\n"])
def test_a_file_that_is_no_log_is_never_replaced(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    for kind in (tracking.CSV, tracking.JSONL):
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="is no log of this tracker, and is not replaced"):
                fitted(kind(path, overwrite=overwrite))
    assert path.read_text() == text

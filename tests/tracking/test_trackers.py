"""Trackers beside their logs: rates, pictures and texts, trackers of one's own, and what is refused."""

from __future__ import annotations

import io
import json
import re
import sys

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, tracking
from spikecore.installing import to_install
from tests.tracking import test_tracking
from tests.tracking.test_tracking import NET, RNG, X, fitted, read_csv, sample

log = test_tracking.log  # a fixture


# ---- samples, texts, pictures --------------------------------------------------------------------------------------


def test_rates_are_those_of_activity(tmp_path):
    model = fitted(tracking.CSV(tmp_path / "log.csv", sample=sample()))
    row = read_csv(tmp_path / "log.csv")[-1]
    found = functional.activity(model, X[:6], 5)
    assert {name: value for name, value in row.items() if name.startswith("rate/")} == {
        f"rate/{firing.name}": pytest.approx(firing.rate, abs=1e-15) for firing in found.firing
    }
    assert row["rate/1"] > 0


def test_the_rates_of_an_epoch_after_which_its_process_was_killed(tmp_path):
    """It had saved the model and not logged the epoch; of epochs before it nobody knows the rates any more."""
    model = fitted(tracking.CSV(tmp_path / "whole.csv", sample=sample()), epochs=3)
    seen = read_csv(tmp_path / "whole.csv")[-1]
    model.save(tmp_path / "model")
    fitted(tracking.CSV(tmp_path / "log.csv", sample=sample()), model=sc.load(tmp_path / "model"), epochs=1)
    rows = read_csv(tmp_path / "log.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert {n: v for n, v in rows[2].items() if n != "seconds"} == {n: v for n, v in seen.items() if n != "seconds"}
    assert rows[3]["rate/1"] > 0


def test_trackers_that_share_a_sample_run_the_model_once(tmp_path, monkeypatch):
    shared, count = sample(), []
    look = tracking.Sample._look
    monkeypatch.setattr(tracking.Sample, "_look", lambda *given: (count.append(1), look(*given))[1])
    fitted(*(kind(tmp_path / kind.__name__, sample=shared) for kind in (tracking.CSV, tracking.JSONL)))
    assert len(count) == 3


class Verified:
    """Stands for the report of ``verify``."""

    def __str__(self):
        return "verified"

    def table(self):
        return "each comparison"


def test_pictures_and_texts(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    config = {"seed": 3, "train": {"lr": 0.1}}
    common = {"sample": sample(pictures_every=2), "config": config}
    table, events = tracking.CSV(tmp_path / "log.csv", **common), tracking.TensorBoard(tmp_path / "events", **common)
    model = fitted(table, events)
    table.report(model, Verified())
    events.report(model, Verified())

    pictures = {f"log.{what}.{epoch:04d}.png" for what in ("raster", "membranes") for epoch in (1, 2)}
    names = {path.name for path in tmp_path.iterdir()} - {"events"}
    assert names == {"log.csv", "log.summary.txt", "log.config.txt", "log.verify.txt", *pictures}
    assert json.loads((tmp_path / "log.config.txt").read_text()) == config
    assert (tmp_path / "log.summary.txt").read_text() == model.summary()
    assert (tmp_path / "log.verify.txt").read_text() == "verified\n\neach comparison\n"

    seen = accumulator.EventAccumulator(str(tmp_path / "events"), size_guidance={"images": 0})
    seen.Reload()
    assert set(seen.Tags()["images"]) == {"raster", "membranes"}
    assert set(seen.Tags()["tensors"]) == {"summary", "config", "verify"}
    for what in ("raster", "membranes"):
        assert [event.step for event in seen.Images(what)] == [1, 2]
        shown = seen.Images(what)[1]
        assert (tmp_path / f"log.{what}.0002.png").read_bytes() == shown.encoded_image_string
        with image.open(io.BytesIO(shown.encoded_image_string)) as picture:
            assert picture.size == (shown.width, shown.height)
    (text,) = seen.Tensors("summary")
    assert text.tensor_proto.string_val[0].decode() == f"```\n{model.summary()}\n```"


def test_the_settings_of_a_model_that_says_none(tmp_path):
    fitted(tracking.CSV(tmp_path / "log.csv"))
    settings = json.loads((tmp_path / "log.config.txt").read_text())
    assert settings["seed"] == 0
    assert settings["optimizer"] == "Adam(lr=0.0005)"
    assert set(settings) == {"seed", "engine", "loss", "optimizer"}


def test_a_network_without_names_and_one_that_nests(tmp_path):
    sequence = RNG.random((5, 6, 8), dtype=np.float32)
    for net, columns in (
        (sc.Leaky(threshold=0.3), ["rate/network"]),
        (sc.Sequential(sc.Linear(8, 8), sc.Residual(sc.Sequential(sc.Leaky())), sc.LI()), ["rate/1.body.0"]),
    ):
        path, steps = tmp_path / columns[0].replace("/", "."), tracking.Sample(sequence, pictures_every=0)
        tracker = tracking.CSV(path, sample=steps)
        tracker(sc.Model(net, input_shape=8), {"epoch": 1})
        (row,) = read_csv(tracker.path)
        assert [column for column in row if column.startswith("rate/")] == columns


# ---- what else a user meets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "module"),
    [
        (lambda: tracking.TensorBoard("log"), "tensorboard.summary.writer.event_file_writer"),
        (tracking.MLflow, "mlflow"),
        (tracking.WandB, "wandb"),
    ],
    ids="TensorBoard MLflow WandB".split(),
)
def test_a_missing_package_names_the_extra(monkeypatch, make, module):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.split(".")[0]
    with pytest.raises(ImportError, match=f"needs the package {package}: {re.escape(to_install(package))}"):
        make()


def test_pictures_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape(to_install("plot"))):
        tracking.Sample(X)
    tracking.Sample(X, pictures_every=0)


def test_only_the_first_of_several_processes_logs(log, tmp_path, monkeypatch):
    made, check = log
    monkeypatch.setenv("RANK", "1")
    with made(sample=sample()) as tracker:
        model = fitted(tracker)
        tracker.report(model, None)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RANK", "0")
    with made() as tracker:
        check(fitted(tracker, model=model).history)


class Lines(tracking.Tracker):
    """A user's tracker, which keeps what it is told."""

    def __init__(self, **options):
        super().__init__(**options)
        self.told = []

    def scalars(self, step, row):
        self.told.append((step, row["loss"]))

    def stop(self, failed):
        self.told.append("failed" if failed else "done")


def test_a_tracker_of_ones_own():
    with Lines() as lines:
        model = fitted(lines)
        fitted(lines, model=model)
    assert lines.told == [*((row["epoch"], row["loss"]) for row in model.history), "done"]
    lines = Lines()
    fitted(lines, model=model, epochs=1)  # by default, its log is thought to have what came before
    assert lines.told == [(7, model.history[6]["loss"])]


def test_a_loop_of_ones_own(log):
    made, check = log
    model, rows = sc.Model(NET, input_shape=8), [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    with made() as tracker:
        for row in rows:
            tracker(model, row)
        tracker.report(model, Verified())
        tracker(model, {"epoch": 4, "loss": 0.1})
    check([*rows, {"epoch": 4, "loss": 0.1}])


def test_a_tracker_is_told_when_training_fails():
    lines = Lines()
    with pytest.raises(ZeroDivisionError), lines:
        fitted(lines, lambda model, row: 1 / 0)
    assert lines.told[-1] == "failed"


def test_a_tracker_without_scalars_says_so():
    class Empty(tracking.Tracker):
        pass

    with pytest.raises(NotImplementedError, match="Empty must write scalars"):
        fitted(Empty())


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="sample='digits' must be a Sample"):
        tracking.CSV("log.csv", sample="digits")
    with pytest.raises(TypeError, match=r"config=\[1\] must be a dict"):
        tracking.CSV("log.csv", config=[1])
    with pytest.raises(ValueError, match="pictures_every"):
        tracking.Sample(X, pictures_every=-1)


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[1, 2], [0] * 6, [6] * 6, [1.5] * 6])
def test_lengths_that_do_not_fit_the_samples_are_refused_before_training(lengths):
    with pytest.raises(ValueError, match="lengths"):
        sample(lengths=lengths)


def test_settings_that_cannot_be_written_are_refused_before_training(tmp_path):
    with pytest.raises(TypeError, match="CSV: config cannot be written as JSON: .*it takes numbers"):
        tracking.CSV(tmp_path / "log.csv", config={"net": object()})


def test_messages_name_the_tracker_and_not_its_base():
    with pytest.raises(TypeError, match="^CSV: sample="):
        tracking.CSV("log.csv", sample=X)

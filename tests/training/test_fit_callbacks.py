"""What goes along with fit: validation, callbacks, early stopping, schedules, and the bar of its progress."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import spikecore as sc
from tests.training import test_model
from tests.training.test_model import BATCHES, network, same

model = test_model.model  # a fixture


def test_validation_callbacks_and_schedule(model):
    seen = []
    history = model.fit(
        BATCHES, epochs=4, num_steps=4, optimizer=sc.SGD(lr=0.1), validation=BATCHES[:1],
        schedule=sc.schedule.step(every=2, factor=0.5), callbacks=(lambda model, row: seen.append(row["epoch"]),),
    )  # fmt: skip
    assert [row["lr"] for row in history] == [0.1, 0.1, 0.05, 0.05]
    assert seen == [1, 2, 3, 4]
    assert {"val_loss", "val_accuracy"} <= set(history[0])
    assert history[-1]["val_loss"] == model.evaluate(BATCHES[:1], num_steps=4)["loss"]


def test_callbacks_end_training(model):
    seen = []
    stop = lambda model, row: row["epoch"] == 2  # noqa: E731
    model.fit(BATCHES, epochs=9, num_steps=3, callbacks=(stop, lambda model, row: seen.append(row["epoch"])))
    assert model.epochs_done == 2
    assert seen == [1, 2], "the last epoch's other callbacks are called all the same"


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("largest", [0, 1 << 15], ids=["at once", "several"])
def test_metrics_that_wait_are_those_of_each_batch(engine, largest, monkeypatch, tmp_path):
    """Eight small batches are measured together; not so where a callback reads each step, or outputs are large."""
    monkeypatch.setattr("spikecore.api.training.evaluate.SMALL", largest)
    draw, seen = np.random.default_rng(0), []
    batches = [(draw.random((n, 6), np.float32), draw.integers(0, 3, n)) for n in [5] * 10 + [2]]
    listening = type("Listening", (), {"after_step": staticmethod(lambda model, step: seen.append(step.metrics))})()
    options = {"num_steps": 4, "optimizer": sc.Adam(lr=0.1), "metric": ["accuracy", "f1"], "progress": False}
    several, single = sc.Model(network(), engine, seed=1), sc.Model(network(), engine, seed=1)
    same_memory = np.empty((5, 6), np.float32), np.empty(5, np.int64)

    class Loading:
        """A loader that writes each batch where the last one was."""

        def __iter__(self):
            for x, y in batches:
                inputs, targets = (array[: len(x)] for array in same_memory)
                inputs[:], targets[:] = x, y
                yield inputs, targets

    rows = several.fit(Loading(), epochs=2, **options)
    told = single.fit(batches, epochs=2, callbacks=(listening,), **options)
    assert [{**row, "seconds": 0, "samples_per_s": 0} for row in rows] == [
        {**row, "seconds": 0, "samples_per_s": 0} for row in told
    ]
    assert len(seen) == 22
    assert len({step["accuracy"] for step in seen}) > 1

    copies = []

    def broken():
        yield from batches[:9]
        copies.append(copy.deepcopy(several))
        yield from batches[9:10]
        several.save(tmp_path / "within.safetensors")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk"):
        several.fit(broken(), **options)
    left = several.trainer.unfinished
    assert (left.samples, left.cut) == (50, False)
    assert left.sums["accuracy/accuracy/1"] == 50, "all batches that were trained on are measured"
    assert copies[0].trainer.unfinished.sums["accuracy/accuracy/1"] == 45, "those of a copy, too"
    assert sc.load(tmp_path / "within.safetensors").trainer.unfinished.sums == left.sums, "and of a file"


def test_early_stopping(model):
    """Stops after ``patience`` epochs without improvement, and goes back to the best weights."""
    figures = iter([3.0, 1.0, 2.0, 1.5, 0.0])
    kept = {}

    def spoil(model, row):
        row["val_loss"] = next(figures)
        kept[row["epoch"]] = model.params()

    model.fit(BATCHES, epochs=9, num_steps=3, callbacks=(spoil, sc.EarlyStopping(patience=2)))
    assert model.epochs_done == 4
    same(model.params(), kept[2])
    rising = sc.EarlyStopping(patience=1, monitor="accuracy", restore_best=False)
    assert [rising(model, {"accuracy": a}) for a in (0.5, 0.6, 0.6)] == [None, None, True]
    with pytest.raises(KeyError, match=r"no 'val_loss' in the history \(accuracy\); pass validation"):
        sc.EarlyStopping()(model, {"accuracy": 1.0})
    with pytest.raises(ValueError, match="patience=0"):
        sc.EarlyStopping(patience=0)


def test_early_stopping_begins_anew_with_another_model():
    """A second model neither stops at the first one's figures nor gets its weights."""
    stopping = sc.EarlyStopping(patience=1, monitor="score", mode="min")
    for seed, figures in enumerate(([5.0, 6.0], [9.0, 8.0, 8.5])):
        scores, kept = iter(figures), []
        model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky()), input_shape=(6,), seed=seed)

        def score(model, row, scores=scores, kept=kept):
            row["score"] = next(scores)
            kept.append(model.params())

        model.fit(BATCHES, epochs=9, num_steps=3, callbacks=(score, stopping))
        same(model.params(), kept[len(figures) - 2])


def test_early_stopping_without_a_single_number(model):
    after = {}

    def spoil(model, row):
        row["val_loss"] = float("nan")
        after.update(model.params())

    with pytest.warns(UserWarning, match="val_loss was never a number, so there are no best weights"):
        model.fit(BATCHES, epochs=9, num_steps=3, callbacks=(spoil, sc.EarlyStopping(patience=2)))
    assert model.epochs_done == 2
    same(model.params(), after)


def test_progress_is_silent_unless_somebody_watches(model, capsys):
    model.fit(BATCHES, num_steps=2)
    assert capsys.readouterr() == ("", "")
    model.fit(BATCHES, num_steps=2, progress=True)
    assert "epoch 2/2" in capsys.readouterr().err


def bars(shown):
    """What a bar drew, picture by picture, without those that only erase it."""
    return [line for line in shown.replace("\n", "\r").split("\r") if "batch/s" in line or "?" in line]


def test_a_fit_has_one_bar_over_all_epochs_with_loss_accuracy_and_validation(model, capsys):
    """Two bars per epoch, one for training and one for validation, used to run through the output."""
    model.fit(BATCHES, num_steps=2, epochs=3, validation=BATCHES[:1], progress=True)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1, "one line, drawn over and over"
    last = bars(shown)[-1]
    assert last.startswith("epoch 3/3: 100%"), last
    assert f"{3 * len(BATCHES)}/{3 * len(BATCHES)}" in last
    row = model.history[-1]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert f"{name}={row[name]:.4g}" in last, name
    assert "epoch 1/3, validating" in shown


def test_a_bar_counts_what_an_earlier_fit_has_done_and_is_full_after_an_early_end(model, capsys):
    model.fit(BATCHES, num_steps=2, epochs=1, progress=False)
    model.fit(BATCHES, num_steps=2, epochs=4, progress=True, resume=True, callbacks=(lambda model, row: True,))
    shown = bars(capsys.readouterr().err)
    assert f"| {len(BATCHES)}/{4 * len(BATCHES)} [" in shown[0]
    assert shown[-1].startswith("epoch 2/4: 100%"), shown[-1]


def test_an_error_closes_the_bar_where_it_was(model, capsys):
    def stop(model, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(BATCHES, num_steps=2, epochs=4, progress=True, callbacks=(stop,))
    shown = capsys.readouterr().err
    assert shown.endswith("\n")
    assert f"{len(BATCHES)}/{4 * len(BATCHES)}" in bars(shown)[-1]


def test_what_callbacks_print_stands_above_the_bar(capsys):
    """A line printed while a bar is on the screen does not begin in the middle of the bar's line."""
    pytest.importorskip("tqdm")
    import sys

    def note(model, row):
        print("NOTE", row["epoch"], file=sys.stderr)

    sc.Model(network(), "numpy").fit(BATCHES, num_steps=2, epochs=2, callbacks=(note,), progress=True)
    lines = capsys.readouterr().err.split("\n")
    for epoch in (1, 2):
        (line,) = [line for line in lines if f"NOTE {epoch}" in line]
        assert line.rpartition("\r")[2] == f"NOTE {epoch}"  # the bar was wiped before it


def test_progress_without_tqdm_is_a_remark_made_once(monkeypatch, capsys):
    from spikecore import progress

    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(progress, "_said", False)
    for _ in range(2):
        assert list(progress.Progress("epoch 1/1", 3, True).over([1, 2])) == [1, 2]
    assert capsys.readouterr().err == "spikecore: no progress bar without tqdm (pip install tqdm)\n"
    assert progress.length(iter([])) is None


def test_schedules():
    cosine = sc.schedule.cosine(floor=0.1, warmup=2)
    assert [cosine(e, 6) for e in range(3)] == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]
    assert cosine(6, 6) == pytest.approx(0.1)
    assert cosine(4, 6) == pytest.approx(0.55)
    assert sc.schedule.constant()(3, 5) == 1.0
    assert sc.schedule.step(every=3)(7, 9) == pytest.approx(0.01)

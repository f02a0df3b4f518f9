"""Callbacks and schedules of ``fit`` that act at each step, and schedules that read the history."""

from __future__ import annotations

import math

import numpy as np
import pytest

import spikecore as sc
from spikecore import schedule

X = np.random.default_rng(0).random((20, 6), dtype=np.float32)
Y = np.arange(20) % 4
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8)]


@pytest.fixture(params=["numpy", "torch"])
def model(request):
    pytest.importorskip(request.param)
    return sc.Model(sc.Sequential(sc.Linear(6, 4), sc.Dropout(0.2), sc.Leaky()), request.param, seed=3)


def fit(model, data=BATCHES, **options):
    return model.fit(data, **{"num_steps": 3, "progress": False, "optimizer": sc.Adam(lr=0.1), **options})


class Notes:
    """A callback with ``after_step`` alone: what it was told, and when to stop."""

    def __init__(self, stop=None):
        self.steps, self.stop = [], stop

    def after_step(self, model, step):
        self.steps.append(step)
        return len(self.steps) == self.stop


def same(a, b):
    a, b = a.state(), b.state()
    for part in ("params", "optimizer"):
        assert all((a[part][name] == x).all() for name, x in b[part].items())
    assert (a["step"], a["lr"]) == (b["step"], b["lr"])


def test_what_callbacks_are_told(model):
    notes = Notes()
    history = fit(model, epochs=2, callbacks=(notes, lambda model, row: None))
    seen = [(step.epoch, step.batch, step.samples) for step in notes.steps]
    assert seen == [(1, 1, 8), (1, 2, 16), (1, 3, 20), (2, 1, 8), (2, 2, 16), (2, 3, 20)]
    for row, steps in zip(history, (notes.steps[:3], notes.steps[3:])):
        for name, of in (("loss", lambda step: step.loss), ("accuracy", lambda step: step.metrics["accuracy"])):
            assert row[name] == pytest.approx(sum(n * of(step) for n, step in zip((8, 8, 4), steps)) / 20)
    assert {step.lr for step in notes.steps} == {0.1}


def test_several_batches_of_an_update_are_one_step(model):
    notes = Notes()
    history = fit(model, compute=sc.Compute(accumulate=2), callbacks=(notes,))
    assert [(step.batch, step.samples) for step in notes.steps] == [(2, 16), (3, 20)]
    assert history[0]["loss"] == pytest.approx((16 * notes.steps[0].loss + 4 * notes.steps[1].loss) / 20)


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_training_stops_at_a_step_and_goes_on(model, stop):
    options = {"epochs": 2, "schedule": schedule.cosine(each="step")}
    whole = sc.Model(model.network, model.engine, seed=3)
    fit(whole, **options)
    assert len(fit(model, callbacks=(Notes(stop),), **options)) == (stop - 1) // 3
    assert model.state()["step"] == stop
    fit(model, resume=True, **options)
    same(model, whole)
    assert [row["loss"] for row in model.history] == [row["loss"] for row in whole.history]


def test_a_file_of_a_stopped_epoch_goes_on(model, tmp_path):
    options = {"epochs": 2, "schedule": schedule.one_cycle()}
    whole = sc.Model(model.network, model.engine, seed=3)
    fit(whole, **options)
    fit(model, callbacks=(Notes(2),), **options)
    model.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine=model.engine)
    fit(again, resume=True, **options)
    same(again, whole)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_stop_behind_the_last_batch_of_an_epoch_keeps_the_rate(model, accumulate):
    options = {"epochs": 2, "compute": sc.Compute(accumulate=accumulate), "schedule": schedule.cosine(each="step")}
    whole = sc.Model(model.network, model.engine, seed=3)
    fit(whole, **options)
    assert not fit(model, callbacks=(Notes(4 - accumulate),), **options)
    fit(model, resume=True, **options)
    assert [row["lr"] for row in model.history] == [row["lr"] for row in whole.history]
    same(model, whole)


def test_a_resumed_fit_has_the_rate_that_it_is_given(model):
    fit(model, schedule=schedule.exponential(0.5), epochs=2)
    fit(model, epochs=3, resume=True, optimizer=sc.Adam(lr=0.01))
    assert [row["lr"] for row in model.history] == [0.1, 0.05, 0.01]


class NoMethod:
    after_step = 3


@pytest.mark.parametrize("one", [Notes, NoMethod(), 3])
def test_what_is_no_callback_is_refused(model, one):
    with pytest.raises(TypeError, match=r"callbacks=.*after_step\(model, step\)"):
        fit(model, callbacks=(one,))


# ---- schedules -----------------------------------------------------------------------------------------------------


def rates(model, **options):
    notes = Notes()
    fit(model, callbacks=(notes,), **options)
    return [step.lr / 0.1 for step in notes.steps]


def test_a_schedule_by_steps(model):
    found = rates(model, epochs=2, schedule=schedule.cosine(each="step"))
    assert found == pytest.approx([0.5 * (1 + math.cos(math.pi * i / 6)) for i in range(6)])
    assert model.history[0]["lr"] == pytest.approx(0.1 * found[2])


def test_a_schedule_by_epochs(model):
    assert rates(model, epochs=2, schedule=schedule.exponential(0.5)) == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5])


def test_a_function_of_ones_own_by_steps(model):
    def ramp(epoch, epochs):
        return epoch / epochs

    ramp.each = "step"
    assert rates(model, epochs=2, schedule=ramp) == pytest.approx([i / 6 for i in range(6)])


def test_when_a_rate_changes_has_two_words(model):
    def ramp(epoch, epochs):
        return 1.0

    ramp.each = "steps"
    with pytest.raises(ValueError, match="each='steps', which must be 'epoch' or 'step'"):
        fit(model, schedule=ramp)


def test_accumulated_batches_have_one_rate(model):
    found = rates(model, epochs=1, compute=sc.Compute(accumulate=2), schedule=schedule.exponential(0.5, each="step"))
    assert found == pytest.approx([1.0, 0.5 ** (2 / 3)])


def test_steps_need_a_length(model):
    fit(model)
    with pytest.raises(ValueError, match="schedule=.* data has no length"):
        fit(model, data=iter(BATCHES), schedule=schedule.cosine(each="step"))


@pytest.mark.parametrize(
    ("one", "factors"),
    [
        (schedule.constant(warmup=2), [1 / 3, 2 / 3, 1, 1, 1, 1]),
        (schedule.step(every=2, factor=0.5, warmup=1), [0.5, 1, 1, 0.5, 0.5, 0.25]),
        (schedule.exponential(0.5, warmup=2), [1 / 3, 2 / 3, 1, 0.5, 0.25, 0.125]),
        (schedule.one_cycle(peak=0.5, start=0.0, end=0.0), [0.0, 0.25, 0.75, 1.0, 0.75, 0.25]),
    ],
)
def test_factors(one, factors):
    assert [one(epoch, 6) for epoch in range(6)] == pytest.approx(factors)


@pytest.mark.parametrize(
    "options",
    [{}, {"patience": 0}, {"cooldown": 3}, {"min_delta": 0.05}, {"floor": 0.3}, {"patience": 2, "mode": "max"}],
)
def test_plateaus_are_torchs(options):
    torch = pytest.importorskip("torch")
    options = {"patience": 1, "factor": 0.5, **options}
    values = np.round(np.random.default_rng(1).random(40), 2) + np.linspace(1, 0, 40)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    names = {"floor": "min_lr", "min_delta": "threshold", "mode": "mode"}
    theirs = {names.get(name, name): value for name, value in options.items()}
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, **{"threshold": 0.0, **theirs}, threshold_mode="abs", eps=0.0
    )
    mine, history = schedule.reduce_on_plateau(**options), []
    for epoch, value in enumerate(values):
        history.append({"val_loss": float(value)})
        reference.step(value)
        assert mine(epoch + 1, 40, history) == pytest.approx(optimizer.param_groups[0]["lr"]), epoch


def test_a_plateau_lowers_the_rate_and_resumes(model, tmp_path):
    options = {"schedule": schedule.reduce_on_plateau(0.5, patience=0, monitor="loss", min_delta=10.0)}
    whole = sc.Model(model.network, model.engine, seed=3)
    assert [row["lr"] for row in fit(whole, epochs=4, **options)] == pytest.approx([0.1, 0.1, 0.05, 0.025])
    fit(model, epochs=3, **options)
    model.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine=model.engine)
    fit(again, epochs=4, resume=True, **options)
    same(again, whole)


def test_epochs_without_the_column_do_not_count(model):
    fit(model, epochs=2)
    plateau = schedule.reduce_on_plateau(0.5, patience=0, min_delta=10.0)
    history = fit(model, epochs=3, validation=(X, Y), schedule=plateau)
    assert [row["lr"] for row in history[2:]] == pytest.approx([0.1, 0.1, 0.05])


def test_a_plateau_needs_its_column(model):
    with pytest.raises(KeyError, match="no 'val_loss' in the history"):
        fit(model, epochs=2, schedule=schedule.reduce_on_plateau())
    with pytest.raises(ValueError, match="monitor='seconds' is no loss, error or accuracy"):
        schedule.reduce_on_plateau(monitor="seconds")


# ---- several metrics -----------------------------------------------------------------------------------------------


def spikes_per_sample(out, targets):
    engine = sc.base.engine_of(out.spikes)
    return float(engine.to_numpy(engine.xp.sum(out.spikes))) / len(targets)


def test_several_metrics_go_everywhere(model):
    metric = ["accuracy", "accuracy_membrane", spikes_per_sample]
    names, notes = ["accuracy", "accuracy_membrane", "spikes_per_sample"], Notes()
    stopping = sc.EarlyStopping(monitor="val_spikes_per_sample", mode="max", patience=1)
    plateau = schedule.reduce_on_plateau(monitor="val_accuracy_membrane")
    history = fit(model, epochs=3, metric=metric, validation=(X, Y), callbacks=(stopping, notes), schedule=plateau)
    for name in names:
        assert all(name in row and f"val_{name}" in row for row in history)
        assert name in notes.steps[0].metrics
    assert [*model.evaluate(BATCHES, num_steps=3)] == ["loss", *names]
    assert [*model.evaluate(BATCHES, num_steps=3, metric={"rate": spikes_per_sample})] == ["loss", "rate"]
    row = model.train_step(*BATCHES[0], num_steps=3, metric=["accuracy_temporal", "accuracy_rate"])
    assert [*row] == ["loss", "accuracy_temporal", "accuracy_rate"]

"""Tasks: the suite's cases, and what needs no engine of its own: measures against scikit-learn, batches, mistakes."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore.conformance.rig import normal
from spikecore.conformance.test_tasks import *  # noqa: F403
from spikecore.conformance.test_tasks import EVERY, LENGTHS, STEPS, TASKS, X, network
from spikecore.samples import Loader

METRICS = {"class": ["accuracy", "f1"], "labels": ["accuracy", "f1"], "value": ["mae", "mse", "r2"]}


@EVERY
def test_measures_are_scikit_learns_whatever_the_batches(name):
    """F1 and R2 are no means over batches; here batches of 3, 3 and 1 samples give the figures of all together."""
    learn = pytest.importorskip("sklearn.metrics", reason="its metrics are the oracle")
    loss, outputs, targets = TASKS[name]
    model = sc.Model(network(outputs), "numpy", seed=1, input_shape=(4,))
    kind = loss.task.kind
    by_step = name.endswith("by-step")
    parts = [slice(0, 3), slice(3, 6), slice(6, 7)]
    batches = [(X[:, part], targets[:, part] if by_step else targets[part]) for part in parts]
    found = model.evaluate(batches, loss=loss, metric=METRICS[kind], progress=False)
    predicted = model.predict(X, loss=loss)
    if name.startswith("quantiles"):
        predicted = predicted[..., 1]
    if by_step:
        counted = targets >= 0 if kind == "class" else np.ones(targets.shape[:2], bool)
        predicted, targets = predicted[counted], targets[counted]
    oracle = {
        "accuracy": lambda: np.mean(predicted == targets),
        "f1": lambda: learn.f1_score(targets, predicted, average="macro", zero_division=0.0),
        "mae": lambda: learn.mean_absolute_error(targets, predicted),
        "mse": lambda: learn.mean_squared_error(targets, predicted),
        "r2": lambda: learn.r2_score(targets, predicted),
    }
    for metric in METRICS[kind]:
        assert found[metric] == pytest.approx(oracle[metric](), rel=1e-5), metric


def test_r2_of_constant_targets_and_far_from_zero():
    """A constant has no deviation to explain; a large mean costs no digits that matter."""
    from spikecore.api.functional.tasks import MEASURES

    def r2(predicted, wanted):
        column = [np.asarray(x, "float64").reshape(-1, 1) for x in (predicted, wanted)]
        return MEASURES["r2"].of(MEASURES["r2"].sums(*column, 1))

    assert r2([3.0, 3.0], [3.0, 3.0]) == 1.0
    assert r2([3.0, 4.0], [3.0, 3.0]) == 0.0
    rng = np.random.default_rng(0)
    wanted = 2e4 + rng.normal(size=100)
    predicted = wanted + 0.5 * rng.normal(size=100)
    assert r2(predicted, wanted) == pytest.approx(1 - ((predicted - wanted) ** 2).sum() / wanted.var() / 100, rel=1e-6)


def test_a_metric_of_another_kind_names_those_that_fit():
    model = sc.Model(network(1), "numpy", seed=0)
    batch = [(X, normal(7))]
    with pytest.raises(ValueError, match="metric='f1': the targets of .* are values: take 'mae', 'mse', 'r2'"):
        model.fit(batch, loss=F.mse_value_loss(), metric="f1")
    with pytest.raises(ValueError, match="metric='r2': the targets of .* class indices: take 'accuracy', 'f1'"):
        model.fit(batch, metric="r2")
    with pytest.raises(TypeError, match="ctc_loss.* does not say how to read it"):
        model.predict(X, loss=F.ctc_loss())


def test_columns_keep_their_order_and_callbacks_get_them():
    """A measure of your own name stands where you put it; callbacks see the figures of an update."""
    seen = []

    class Watch:
        def after_step(self, model, step):
            seen.append(step.metrics)

    loss, outputs, targets = TASKS["value"]
    model = sc.Model(network(outputs), "numpy", seed=0)
    metric = {"of mine": "r2", "rate": "rate", "error": "mae"}
    for accumulate in (1, 2):
        compute = sc.Compute(accumulate=accumulate)
        model.fit([(X, targets)] * 2, loss=loss, metric=metric, callbacks=[Watch()], compute=compute, progress=False)
        assert list(model.history[-1])[:5] == ["epoch", "loss", "of mine", "rate", "error"]
    assert [list(each) for each in seen] == [["of mine", "rate", "error"]] * 3
    assert seen[-1]["of mine"] == pytest.approx(model.history[-1]["of mine"])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_predictions_of_steps_have_the_axes_of_the_targets(axis):
    loss, outputs, targets = TASKS["class-by-step"]
    x, y = np.moveaxis(X, 0, 1) if axis == 1 else X, np.moveaxis(targets, 0, axis)
    if axis == -1:
        x = np.moveaxis(X, 0, -1)
    model = sc.Model(network(outputs), "numpy", seed=0)
    model.fit([(x, y)], loss=loss, time_axis=axis, progress=False)
    assert model.predict(x, time_axis=axis).shape == y.shape
    report = sc.verify(model, x, y, loss=loss, time_axis=axis)
    assert report.ok, report


def test_sequences_of_unequal_length_with_labels_at_each_step():
    """Their targets are padded with them, and each gets as many predictions as it has steps."""
    pairs = [(X[:n, i], STEPS[:n, i]) for i, n in enumerate(LENGTHS)]
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    results = []
    for data in ([(np.moveaxis(X, 0, 1), STEPS.T, LENGTHS)], Loader(x, y, batch_size=7, shuffle=False)):
        model = sc.Model(network(3), "numpy", seed=0)
        model.fit(data, loss=F.ce_step_loss(), time_axis=1, progress=False)
        results.append(model.history[-1]["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    found = model.predict(x, time_axis=1)
    assert [len(row) for row in found] == LENGTHS.tolist()


REFUSED = {
    "quantiles=.1.5,. must be numbers in": lambda: F.quantile_value_loss(quantiles=(1.5,)),
    "deviation=0.0 must be a number > 0": lambda: F.mse_value_loss(deviation=0.0),
    r"deviation=\(1.0, -1.0\) must be a number > 0, or one for": lambda: F.huber_value_loss(deviation=(1.0, -1.0)),
    "mean=nan must be a finite number": lambda: F.quantile_value_loss(mean=float("nan")),
    r"mean=\[\[1.0\]\] must be a number, or one for each value": lambda: F.mse_value_loss(mean=[[1.0]]),
    "mean has 3 numbers for 4 values per sample; give one for each": lambda: F.mse_value_loss(mean=(1, 2, 3))(
        X, normal(7, 4)
    ),
    "quantiles=.. must be": lambda: F.quantile_value_loss(quantiles=()),
    "delta=0.0 must be > 0": lambda: F.huber_value_loss(delta=0.0),
    "over_time='first' must be one of mean, last": lambda: F.mse_value_loss(over_time="first"),
    "values and no classes: leave weight out": lambda: F.mse_value_loss(weight=(1.0, 2.0)),
    "leave population_code out": lambda: F.huber_value_loss(population_code=True, num_classes=2),
    "leave population_code, num_classes and normalise out": lambda: F.bce_value_loss(normalise=True),
    "weight has shape .2,., expected .3,.": lambda: F.bce_value_loss(weight=(1, 2))(X[..., :3], TASKS["labels"][2]),
    "has 4 outputs for 7 samples; for 1 value per sample it needs 1": lambda: F.mse_value_loss()(X, normal(7)),
    "has 4 outputs for 7 samples; for 2 values per sample it needs 6": lambda: F.quantile_value_loss()(X, normal(7, 2)),
    r"targets\[2\] is nan: targets must be finite": lambda: F.mse_value_loss()(
        X[..., :1], np.where(np.arange(7) == 2, np.nan, 0.0)
    ),
    r"expected \(7, 4\): 0 or 1 for each class; .*to_one_hot": lambda: F.bce_value_loss()(X, np.arange(7)),
    r"targets\[0, 1\] = 2.0, expected 0 or 1": lambda: F.bce_value_loss()(X, np.tile([0.0, 2.0, 1.0, 1.0], (7, 1))),
    "one class index per step and sample, .time, batch.; .*pass time_axis=1": lambda: F.ce_step_loss()(X, STEPS.T),
    "for one label per sample take ce_rate_loss": lambda: F.ce_step_loss()(X, np.arange(7) % 3),
    r"targets\[3, 4\] = 9 is out of range.* ignore_index=-1": lambda: F.ce_step_loss()(X, _with(STEPS, 9)),
    "expected integer class indices.*for values take mse_value_loss": lambda: F.ce_step_loss()(X, 0.5 * STEPS),
}


def _with(labels, wrong):
    labels = labels.copy()
    labels[3, 4] = wrong
    return labels


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_with_the_remedy(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()

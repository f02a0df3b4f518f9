"""Tasks: training, loss, metrics and predictions with classes, labels or values as targets, of samples and of steps."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore.conformance.rig import assert_close, normal

X = normal(6, 7, 4)  # (time, batch, features)
NUMBERS = normal(7, 2, seed=1)
UNIT = np.array([[20.0, -3.0], [5.0, 0.5]])  # mean and deviation of each of two values
CURVES = normal(6, 7, 2, seed=2)
STEPS = np.random.default_rng(0).integers(-1, 3, (6, 7))
LENGTHS = np.array([6, 5, 3, 6, 4, 1, 2])
# loss, neurons of the last layer, targets
TASKS = {
    "class": (F.ce_membrane_loss(), 3, np.arange(7) % 3),
    "labels": (F.bce_value_loss(weight=(1.0, 3.0, 2.0)), 3, (normal(7, 3, seed=3) > 0.5) * 1),
    "value": (F.mse_value_loss(over_time="last"), 1, NUMBERS[:, 0]),
    "values": (F.huber_value_loss(delta=0.5), 2, NUMBERS),
    "quantiles": (F.quantile_value_loss(), 6, NUMBERS),
    "value-unit": (F.mse_value_loss(mean=20.0, deviation=4.0), 1, 20.0 + 4.0 * NUMBERS[:, 0]),
    "quantiles-unit": (F.quantile_value_loss(mean=UNIT[0], deviation=UNIT[1]), 6, NUMBERS * UNIT[1] + UNIT[0]),
    "class-by-step": (F.ce_step_loss(weight=(1.0, 2.0, 0.5)), 3, STEPS),
    "value-by-step": (F.mse_membrane_loss(time_var_targets=True), 2, CURVES),
}
EVERY = pytest.mark.parametrize("name", TASKS)


def network(outputs):
    hidden = sc.Leaky(beta=0.8, threshold=0.3)
    return sc.Sequential(sc.Linear(4, 8), hidden, sc.Linear(8, outputs), sc.LI(beta=0.7))


def trained(engine, name, lengths=None):
    """A model after two updates, and the loss of each of them."""
    loss, outputs, targets = TASKS[name]
    model = sc.Model(network(outputs), engine, seed=1)
    batch = (X, targets) if lengths is None else (X, targets, lengths)
    model.fit([batch], loss=loss, optimizer=sc.SGD(lr=0.1), epochs=2, progress=False)
    return model, [row["loss"] for row in model.history]


def by_hand(name, predicted, targets, lengths):
    """The loss's own metric, over the targets that count."""
    if name.endswith("by-step"):
        counted = np.arange(6)[:, None] < (6 if lengths is None else lengths) * np.ones(7, int)
        counted &= np.ones((6, 7), bool) if name.startswith("value") else targets >= 0
        predicted, targets = predicted[counted], targets[counted]
    if name.startswith("quantiles"):
        predicted = predicted[..., 1]
    return np.mean(predicted == targets) if targets.dtype.kind == "i" else np.mean(np.abs(predicted - targets))


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@EVERY
def test_every_task_trains_and_is_measured_by_what_it_predicts(engine, name, lengths):
    """Losses are those of the NumPy engine in float64; the metric is that of the predictions."""
    targets, (model, losses) = TASKS[name][2], trained(engine, name, lengths)
    assert_close(np.array(losses), np.array(trained(sc.get_engine("numpy", dtype="float64"), name, lengths)[1]), 1e-6)
    batch = (X, targets) if lengths is None else (X, targets, lengths)
    row = model.evaluate([batch], progress=False)
    metric = "accuracy" if targets.dtype.kind == "i" else "mae"
    assert list(row) == ["loss", metric]
    predicted = model.predict(X, lengths=lengths)
    assert predicted.shape == ((7, 2, 3) if name.startswith("quantiles") else targets.shape)
    assert_close(np.array(row[metric]), np.array(by_hand(name, predicted, targets, lengths)), 1e-6)
    assert_close(model.predict(X, lengths=lengths, batch_size=3), predicted, 1e-6)


@EVERY
def test_dtype_in_is_dtype_out(engine32, name):
    loss, outputs, targets = TASKS[name]
    found = engine32.to_numpy(loss(engine32.asarray(normal(6, 7, outputs)), targets))
    assert found.dtype == "float32"
    assert found.shape == ()


def test_accuracy_of_steps(engine):
    """Of the labels that count; ties go to the lowest class."""
    membrane = engine.asarray(np.eye(3)[np.array([[0, 1], [2, 2], [1, 0]])])  # (time, batch, classes)
    targets = np.array([[0, 1], [1, 2], [-1, -1]])
    assert F.accuracy_step(membrane, targets) == 3 / 4
    assert F.accuracy_step(membrane, targets, lengths=[1, 3]) == 1.0
    assert F.accuracy_step(membrane, targets, ignore_index=1) == 2 / 4
    assert F.accuracy_step(engine.asarray(np.ones((3, 2, 3))), targets) == 1 / 4

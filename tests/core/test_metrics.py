"""What is reported beside the loss: the accuracy of the loss's own decoder, and metrics of the user's choice."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as SF
from spikecore.samples import Loader
from tests.digits import digits

RNG = np.random.default_rng(0)
X = RNG.random((12, 6)).astype("float32")
Y = np.arange(12) % 3
STEPS = 5
DATA = [(X[:8], Y[:8]), (X[8:], Y[8:])]
LOSSES = {
    "rate": SF.ce_rate_loss(),
    "count": SF.ce_count_loss(),
    "count, squares": SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2),
    "silent is right": SF.mse_count_loss(correct_rate=0.0, incorrect_rate=1.0),
    "membrane": SF.ce_membrane_loss(),
    "membrane, summed": SF.ce_membrane_loss(over_time="sum"),
    "highest membrane": SF.ce_max_membrane_loss(),
    "membrane, squares": SF.mse_membrane_loss(on_target=0.3, off_target=0.9),
    "first spike": SF.ce_temporal_loss(),
    "first spike, reciprocal": SF.ce_temporal_loss(inverse="reciprocal"),
    "spike time": SF.mse_temporal_loss(),
    "late is right": SF.mse_temporal_loss(on_target=-1, off_target=0),
    "spike time, tolerant": SF.mse_temporal_loss(on_target=1, off_target=4, tolerance=2),
    "spike times": SF.mse_temporal_loss(on_target=[0, 2], off_target=[3, 4], multi_spike=True),
    "weighted": SF.ce_rate_loss(weight=[0.2, 0.3, 0.5]),
    "a sum": SF.ce_max_membrane_loss() + 0.1 * SF.ce_rate_loss() + SF.l1_rate_sparsity(),
}


def network(readout=None, classes=3):
    return sc.Sequential(sc.Linear(6, 8), sc.Leaky(beta=0.8), sc.Linear(8, classes), readout or sc.Leaky(beta=0.7))


def model_on(engine, readout=None, classes=3):
    if engine == "torch":
        pytest.importorskip("torch")
    return sc.Model(network(readout, classes), engine=engine, seed=1)


def smallest(loss, out, classes=3):
    """The class with which each sample's loss would be smallest, and by how much, from the loss itself."""
    first = loss.terms[0][1] if hasattr(loss, "terms") else loss
    each = dataclasses.replace(first, reduction="none", weight=None)
    costs = []
    for label in range(classes):
        found = np.asarray(each(out, np.full(12, label)))
        costs.append(found if found.ndim == 1 else found.mean(axis=1))
    costs = np.stack(costs, axis=1)
    return costs.argmin(axis=1), np.diff(np.sort(costs, axis=1)[:, :2], axis=1)[:, 0] > 1e-9


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_the_accuracy_is_that_of_the_class_with_which_the_loss_would_be_smallest(loss):
    """D3: spikes were counted, whatever the loss looked at."""
    model = sc.Model(sc.Sequential(sc.Leaky(beta=0.8)), input_shape=3, dtype="float64")
    draw = np.random.default_rng(3).random
    x = 2.0 * draw((12, 12, 3)) * draw((12, 3)) ** 2
    decided, sure = smallest(loss, model(x))
    assert sure.sum() > 3
    assert model.evaluate([(x[:, sure], decided[sure])], loss=loss, progress=False)["accuracy"] == 1.0
    assert model.evaluate([(x[:, sure], (decided[sure] + 1) % 3)], loss=loss, progress=False)["accuracy"] == 0.0


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["highest membrane", "membrane", "first spike"])
def test_training_validation_and_evaluation_agree(engine, name):
    """D3: with ``LI`` nothing spikes, so that counts say nothing."""
    model = model_on(engine, sc.LI(beta=0.9) if "membrane" in name else None)
    before = model.evaluate(DATA, loss=LOSSES[name], num_steps=STEPS, progress=False)
    frozen = sc.SGD(lr=1e-12)
    (row,) = model.fit(DATA, loss=LOSSES[name], optimizer=frozen, num_steps=STEPS, validation=DATA, progress=False)
    assert row["accuracy"] == row["val_accuracy"] == before["accuracy"]
    out = model(X, STEPS)
    right = {
        "highest membrane": lambda: SF.accuracy_membrane(out, Y),
        "membrane": lambda: SF.accuracy_membrane(out, Y, over_time="mean"),
        "first spike": lambda: SF.accuracy_temporal(out, Y),
    }[name]()
    assert before["accuracy"] == pytest.approx(right)


WAYS = [
    {},
    {"learning": sc.BPTT(update_every=2)},
    {"learning": "eprop"},
    {"learning": sc.OTTT(update_every=2)},
    {"learning": "rtrl"},
]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("readout", [None, sc.LI(beta=0.9)], ids=["Leaky", "LI"])
def test_metrics_of_the_membrane_in_every_way_of_learning(engine, way, readout):
    """D3: the loss reads spikes, a metric the membrane; pieces of a sequence are judged as one."""
    model = model_on(engine, readout)
    several = {"accuracy": "accuracy", "by membrane": SF.accuracy_membrane, "mean": lambda out, y: out.membrane.mean()}
    frozen = sc.SGD(lr=1e-12)
    (row,) = model.fit(
        DATA, loss=SF.ce_rate_loss(), optimizer=frozen, num_steps=STEPS, metric=several, progress=False, **way
    )
    out = model(X, STEPS)
    assert row["by membrane"] == pytest.approx(SF.accuracy_membrane(out, Y))
    assert row["accuracy"] == pytest.approx(SF.accuracy_rate(out, Y))
    assert row["mean"] == pytest.approx(float(model.engine.to_numpy(out.membrane).mean()), rel=1e-4)


@pytest.mark.parametrize("way", WAYS[:2], ids=str)
def test_a_metric_of_the_membrane_on_a_device_that_keeps_its_states(way):
    """D3: the training program returns what the metric looks at."""
    pytest.importorskip("torch")
    model = sc.Model(network(), engine="ipu", simulate=True, seed=1)
    x, y = X.repeat(2, axis=0)[:8], np.arange(8) % 3
    several = {"accuracy": "accuracy", "by membrane": SF.accuracy_membrane}
    frozen = sc.SGD(lr=1e-12)
    (row,) = model.fit(
        [(x, y)], loss=SF.ce_rate_loss(), optimizer=frozen, num_steps=4, metric=several, progress=False, **way
    )
    out = model(x, 4)
    assert row["by membrane"] == pytest.approx(SF.accuracy_membrane(out, y))
    assert row["accuracy"] == pytest.approx(SF.accuracy_rate(out, y))


def test_a_function_as_loss_gets_an_accuracy_by_option():
    """D3"""
    loss = lambda out, y: (out.spikes * out.spikes).mean() if hasattr(out.spikes, "mean") else None  # noqa: E731
    model = model_on("torch")
    plain = model.fit(DATA, loss=loss, num_steps=STEPS, progress=False)[-1]
    assert not [name for name in plain if "accuracy" in name]
    row = model.fit(DATA, loss=loss, num_steps=STEPS, metric=SF.accuracy_rate, validation=DATA, progress=False)[-1]
    assert row["val_accuracy_rate"] == pytest.approx(SF.accuracy_rate(model(X, STEPS), Y))
    assert set(model.evaluate(DATA, num_steps=STEPS, progress=False)) == {"loss", "accuracy_rate"}, "as in fit"
    assert set(model.evaluate(DATA, loss=SF.ce_rate_loss(), num_steps=STEPS, progress=False)) == {"loss", "accuracy"}
    model.fit(DATA, loss=loss, num_steps=STEPS, metric={"accuracy": "accuracy_temporal"}, progress=False)
    assert "accuracy" in model.history[-1]
    json.dumps(model.history)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_several_metrics_and_early_stopping(engine):
    """D3: early stopping looks at any column; which way is better has to be said where the name does not."""
    model = model_on(engine)
    silent = lambda out, y: (out.spikes == 0.0).sum() / (1.0 * 5 * 3)  # noqa: E731
    stop = sc.EarlyStopping(patience=2, monitor="val_silent", mode="max")
    model.fit(
        DATA,
        optimizer=sc.SGD(lr=1e-12),
        epochs=9,
        num_steps=STEPS,
        validation=DATA,
        callbacks=(stop,),
        progress=False,
        metric={"accuracy": "accuracy", "silent": silent},
    )
    assert len(model.history) == 3
    assert isinstance(model.history[0]["val_silent"], float)
    unsaid = sc.EarlyStopping(monitor="silent")
    with pytest.raises(ValueError, match="monitor='silent' is no loss, error or accuracy by its name: say mode='min'"):
        model.fit(DATA, num_steps=STEPS, callbacks=(unsaid,), metric={"silent": silent}, progress=False)


def test_a_list_of_metrics_names_its_columns():
    """D3"""
    mean = functools.partial(SF.accuracy_membrane, over_time="mean")
    several = ["accuracy", "accuracy_temporal", mean]
    found = sc.Model(network(), seed=0).evaluate(DATA, num_steps=STEPS, metric=several, progress=False)
    assert list(found) == ["loss", "accuracy", "accuracy_temporal", "accuracy_membrane"]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_steps_that_are_padding_do_not_decide(engine):
    """D3: sequences of unequal length."""
    model = model_on(engine, sc.LI(beta=0.9))
    x = RNG.random((STEPS, 12, 6)).astype("float32")
    lengths = np.array([1, 2, 3, 4, 5, 5] * 2)
    found = model.evaluate([(x, Y, lengths)], loss=SF.ce_max_membrane_loss(), progress=False)["accuracy"]
    alone = [SF.accuracy_membrane(model(x[:n, i : i + 1]), Y[i : i + 1]) for i, n in enumerate(lengths)]
    assert found == pytest.approx(np.mean(alone))
    with pytest.raises(TypeError, match="metric=.* takes no lengths, so that padding would count"):
        model.evaluate([(x, Y, lengths)], metric={"mine": lambda out, y: 0.0}, progress=False)


def test_populations_are_pooled():
    """D3"""
    model = model_on("numpy", classes=6)
    loss = SF.ce_max_membrane_loss(population_code=True, num_classes=3)
    found = model.evaluate(DATA, loss=loss, num_steps=STEPS, progress=False)["accuracy"]
    out = model(X, STEPS)
    assert found == pytest.approx(SF.accuracy_membrane(out, Y, population_code=True, num_classes=3))


BAD = {
    "unknown metric 'acuracy'; did you mean 'accuracy'": "acuracy",
    "metric=3 must be a function": 3,
    "metric=CrossEntropyLoss.* takes arrays": "torch loss",
    "has no name for its column": lambda out, y: 0.0,
    "metric='accuracy' comes twice": ["accuracy", "accuracy"],
    "metric='loss' is the history's own": {"loss": SF.accuracy_rate},
    "metric='val_x' is the history's own": {"val_x": SF.accuracy_rate},
    r"metric 'two' gave .*, expected a number": {"two": lambda out, y: np.zeros(2)},
    "over_time='median' must be 'max' or 'mean'": functools.partial(SF.accuracy_membrane, over_time="median"),
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_what_is_no_metric_is_refused(message, call):
    """D3"""
    metric = BAD[message]
    if metric == "torch loss":
        metric = pytest.importorskip("torch").nn.CrossEntropyLoss()
    model = model_on("numpy")
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(model, call)(DATA, num_steps=STEPS, metric=metric, progress=False)


def test_the_accuracy_of_a_loss_without_labels_is_refused():
    """D3"""
    with pytest.raises(ValueError, match="which loss=.* does not have: say how to decide"):
        model_on("numpy").fit(DATA, loss=lambda out, y: out.spikes, num_steps=STEPS, metric="accuracy", progress=False)


def test_what_a_digit_readout_reports_is_what_it_decides():
    """D3: 81.0 % reported where 95.3 % were true; a readout whose membranes swing."""
    train, test = digits()
    net = sc.Sequential(sc.Linear(64, 40), sc.Leaky(beta=0.9), sc.Linear(40, 10), sc.LI(beta=0.5))
    model = sc.Model(net, seed=0)
    validation = Loader(test, shuffle=False)
    row = model.fit(
        Loader(train, seed=0),
        loss=SF.ce_max_membrane_loss(),
        optimizer=sc.Adam(lr=5e-3),
        epochs=3,
        num_steps=20,
        validation=validation,
        progress=False,
    )[-1]
    out = model(test.inputs, 20)
    assert row["val_accuracy"] == pytest.approx(SF.accuracy_membrane(out, test.targets))

"""Losses by their equations: the suite's cases, mutants, wrong inputs, training."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop
from spikecore import functional as F
from spikecore.api.functional import ctc, regulariser, similarity, spikemax, step_labels, values
from spikecore.conformance import loss_equations as equations
from spikecore.conformance.rig import assert_close, normal
from spikecore.conformance.test_loss_equations import *  # noqa: F403
from spikecore.conformance.test_loss_equations import BATCH, CASES, COSTS, EVERY, LABELS, LENGTHS, NET, check_equation

from .mistakes import with_mistake


@EVERY
def test_a_mutant_of_each_loss_is_found(monkeypatch, name):
    function, old, new = CASES[name][2]
    home = inspect.getmodule(function)
    owner, _, attribute = function.__qualname__.rpartition(".")
    monkeypatch.setattr(getattr(home, owner) if owner else home, attribute, with_mistake(function, old, new))
    with pytest.raises(AssertionError, match="relative error"):
        check_equation(sc.get_engine("numpy", dtype="float64"), name)


def test_every_loss_has_a_case_here_or_among_snntorchs():
    ours = {type(loss) for loss, _, _ in CASES.values()}
    modules = (ctc, regulariser, similarity, spikemax, step_labels, values)
    new = {
        kind for module in modules for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, (F.Loss, F.Regulariser)) and kind.__module__ == module.__name__
    }  # fmt: skip
    assert new - ours == {F.Regulariser, F.l1_rate_sparsity, values.NumberLoss, values.ValueLoss}


X = normal(5, 4, 3)


REFUSED = {
    "Lambda=2.0": lambda: F.tet_loss(Lambda=2.0),
    "phi=inf": lambda: F.tet_loss(phi=float("inf")),
    "mode='max' must be one of probability, softmax": lambda: F.spikemax_loss(mode="max"),
    "eps=0 must be > 0": lambda: F.spikemax_loss(eps=0),
    "shares of spikes need values >= 0": lambda: F.spikemax_loss()(X, LABELS),
    "kernel='cosine' must be one of linear": lambda: F.spike_similarity_loss(kernel="cosine"),
    "distance='l2' must be one of mse": lambda: F.spike_similarity_loss(distance="l2"),
    "scale=0": lambda: F.spike_similarity_loss(scale=0),
    "population_code and num_classes": lambda: F.spike_similarity_loss(population_code=True, num_classes=2),
    "weight has 2 classes, but a label is 2": lambda: F.spike_similarity_loss(weight=[1.0, 2.0])(X, LABELS),
    r"targets\[1\] = -1 must be >= 0": lambda: F.spike_similarity_loss()(X, [0, -1, 1, 1]),
    "min_rate=0.5 and max_rate=0.1": lambda: F.event_rate_loss(0.1, 0.5),
    "silence_loss: min_spikes=0": lambda: F.silence_loss(0),
    "sparsity_loss: max_spikes=nan": lambda: F.sparsity_loss(float("nan")),
    "Lambda=inf must be a finite": lambda: F.silence_loss(Lambda=float("inf")),
    "expected .time, batch, ...": lambda: F.silence_loss()(np.ones(3)),
    "reads layers 1: pass the network's Output": lambda: F.silence_loss(layers=("1",))(X),
    "no weight and no normalise": lambda: F.ctc_loss(weight=[1.0, 2.0]),
    "expected .4, labels.: one sequence": lambda: F.ctc_loss()(X, LABELS),
    "padding, but a label follows": lambda: F.ctc_loss()(X, [[-1, 1]] * 4),
    "= -2 is no label": lambda: F.ctc_loss()(X, [[1, -2]] * 4),
    "= 0 is the blank": lambda: F.ctc_loss()(X, [[1, 0]] * 4),
    r"targets\[0, 1\] = 3 is out of range: the last layer has 3": lambda: F.ctc_loss()(X, [[1, 3]] * 4),
    "rows differ in length: pad them, .* with -1": lambda: F.ctc_loss()(X, [[1], [1, 2], [2], [1]]),
    "integer class indices": lambda: F.ctc_loss()(X, [[1.0, 2.0]] * 4),
    "blank=3 is out of range": lambda: F.ctc_loss(blank=3)(X, [[1, 2]] * 4),
}


@pytest.mark.parametrize("message", REFUSED)
def test_wrong_inputs_are_named(message):
    with pytest.raises((ValueError, TypeError), match=message):
        REFUSED[message]()


def test_regularisers_of_hidden_layers_are_exact():
    """Their value by hand, and their gradient by finite differences, in which the hidden layer's spikes count."""
    model = sc.Model(NET, sc.get_engine("numpy", dtype="float64"), seed=0)
    out = model(BATCH, record=True)
    spikes = out.states["1"].spikes
    by_hand = equations.silence(spikes, None, min_spikes=3.0) + equations.event_rate(spikes, None, None, 0.1, 0.05)
    assert by_hand > 0.1
    assert_close(COSTS(out, LABELS), np.array(by_hand))
    assert sc.verify(model, BATCH, LABELS, loss=COSTS).ok


def test_a_layer_that_is_not_there_is_named():
    model = sc.Model(NET, "numpy", seed=0)
    with pytest.raises(ValueError, match="layer to record '9'"):
        model.fit([(BATCH, LABELS)], loss=F.tet_loss() + F.silence_loss(layers=("9",)), progress=False)


def test_a_network_learns_sequences():
    """Labels without times: each input pulse names a label, and the output repeats them in order."""
    rng = np.random.default_rng(0)
    targets = rng.integers(1, 4, (32, 3))
    x = np.zeros((12, 32, 4), "float32")
    for b, row in enumerate(targets):
        x[[1, 5, 9], b, row] = 3.0
    net = sc.Sequential(sc.Linear(4, 24), sc.Leaky(beta=0.5), sc.Linear(24, 4), sc.LI(beta=0.3))
    model = sc.Model(net, "numpy", seed=0)
    model.fit(
        [(x, targets)],
        loss=F.ctc_loss(),
        optimizer=sc.Adam(lr=0.02),
        epochs=60,
        metric="label_error_rate",
        progress=False,
    )
    assert model.history[0]["label_error_rate"] > 0.5
    assert model.history[-1]["label_error_rate"] == 0.0
    assert F.ctc_decode(model(x)) == targets.tolist()


def test_targets_are_checked_before_training():
    model = sc.Model(NET, "numpy", seed=0)
    with pytest.raises(ValueError, match=r"targets\[0, 1\] = 3 is out of range"):
        model.fit([(BATCH, np.array([[1, 3]] * 4))], loss=F.ctc_loss(), progress=False)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_samples_too_short_for_their_labels_are_named_in_training(lengths):
    model, loss = sc.Model(NET, "numpy", seed=0), F.ctc_loss()
    targets = np.array([[1, 2, -1]] * 2 + [[1, 2, 2 if lengths else 1]] + [[2, 2, -1]])
    batch = (BATCH, targets) if lengths else (BATCH[:2], targets)
    batch = (*batch, lengths) if lengths else batch
    match = r"targets\[2\] needs (3|4) steps .* but the sample has (2|3)"
    for run in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=match):
            run([batch], loss=loss, progress=False)
    with pytest.raises(ValueError, match=match):
        sc.verify(model, batch[0], targets, loss=loss, lengths=lengths)


def test_learning_forward_refuses_hidden_layers():
    model = sc.Model(NET, "numpy", seed=0)
    with pytest.raises(ValueError, match="sees the last layer only"):
        backprop.online(model, BATCH, LABELS, loss=F.tet_loss() + F.l1_rate_sparsity(layers=("1",)))


def test_tet_is_known_step_by_step():
    """Learning forward in time gives the gradient of BPTT, since the loss is a mean over steps."""
    model = sc.Model(sc.Sequential(sc.Linear(4, 3), sc.LI(beta=0.8)), "numpy", seed=0)
    _, grads = model.value_and_grad(BATCH, LABELS, loss=F.tet_loss())
    forward = backprop.rtrl(model, BATCH, LABELS, loss=F.tet_loss())
    assert_close(forward.grads["0.weight"], grads["0.weight"], 1e-5)

"""Data that teach nothing or are none: text, NaN, one class, constant columns, unequal lengths, three samples.

Each is named with what to do.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore.errors import TrainingWarning
from spikecore.samples import DataError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5)).astype(np.float32), RNG.integers(0, 3, 40)
VALUES = X[:, 0]
SEQUENCES = [RNG.normal(size=(n, 5)) for n in (4, 6, 3)]
HOLE = np.arange(40) == 7


def fitted(x, y, outputs=3, **options):
    hidden = sc.Leaky(beta=0.9, threshold=0.5)
    net = sc.Sequential(sc.Linear(5, 8), hidden, sc.Linear(8, outputs), sc.LI(beta=0.9))
    options = {"num_steps": 4, **options} if "time_axis" not in options else options
    return sc.Model(net, "numpy", seed=0).fit(x, y, progress=False, **options)


REGRESSION = {"outputs": 1, "loss": F.mse_value_loss()}
STEPS = {"time_axis": 1, "loss": F.ce_step_loss()}
REFUSED = {
    "text labels": (X, np.array(["cat", "dog"] * 20), {}, r"number classes that have names: np.unique"),
    "text in a list": (X, ["cat", "dog"] * 20, {}, r"number classes that have names: np.unique"),
    "NaN in the inputs": (np.where(HOLE[:, None], np.nan, X), Y, {}, r"is nan: the input must be finite .*isfinite"),
    "minus infinity": (np.where(HOLE[:, None], -np.inf, X), Y, {}, r"is -inf: the input must be finite"),
    "NaN in values": (X, np.where(HOLE, np.nan, VALUES), REGRESSION, r"is nan: targets must be finite; .*isfinite"),
    "NaN in labels": (X, np.where(HOLE, np.nan, Y), {}, "expected integer class indices"),
    "a target too few": (X, Y[:39], {}, "40 inputs but 39 targets"),
    "values for classes": (X, VALUES, {}, "for values take mse_value_loss"),
    "rows of unequal length": ([[1.0], [1.0, 2.0]], np.array([0, 1]), STEPS, "a list of arrays"),
    "labels of unequal length": (SEQUENCES, [np.zeros(n, int) for n in (4, 6, 3)], STEPS, "pass spikecore.datasets.Lo"),
}
WARNED = {
    "one class": (X, np.zeros(40, int), {}, "all 40 training samples are of class 0, so there is nothing to learn"),
    "one class at every step": (
        RNG.normal(size=(9, 6, 5)),
        np.ones((9, 6), int),
        STEPS,
        "all 54 training steps are of",
    ),
    "one value": (X, np.full(40, 2.5), REGRESSION, "all 40 training samples have the target 2.5"),
    "values in a large unit": (
        X,
        1e3 + VALUES,
        REGRESSION,
        r"mean 999.9 and deviation .*: mse_value_loss\(mean=y.mean\(axis=0\), deviation=y.std",
    ),
    "a constant column": (
        np.where(np.arange(5) == 2, 7.0, X),
        Y,
        {},
        r"column 2, of 7. Leave them out: np.delete\(x, \[2\]",
    ),
    "three samples": (X[:3], Y[:3], {}, "3 training samples are too few .* some dozens of each class"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_is_refused_with_the_remedy(name):
    x, y, options, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError, DataError), match=message):
        fitted(x, y, **options)


@pytest.mark.parametrize("name", WARNED)
def test_what_teaches_nothing_is_told(name):
    x, y, options, message = WARNED[name]
    with pytest.warns(TrainingWarning, match=message):
        fitted(x, y, **options)


def test_healthy_data_are_not_told_of():
    """Pixels that are always 0, a column that is nearly constant, a curve that all samples share, a unit that the loss
    has.
    """
    border = np.where(np.arange(5) == 2, 0.0, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(border, Y)
        fitted(np.where((np.arange(5) == 2) & ~HOLE[:, None], 1.0, X), Y)
        curves = np.tile(np.sin(np.arange(6.0))[None, :, None], (9, 1, 1))
        curve = F.mse_membrane_loss(time_var_targets=True)
        fitted(RNG.normal(size=(9, 6, 5)), curves, outputs=1, loss=curve, time_axis=1)
        fitted(X, 1e3 + X[:, :2], outputs=2, loss=F.mse_value_loss(mean=(1e3, 1e3)))

"""Mistakes that a fresh reader of the pages made: each is told what is wrong there, and what to write instead."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.errors import TrainingWarning
from spikecore.samples import DataError

rng = np.random.default_rng(0)
X, Y = rng.random((40, 6)).astype("float32"), np.arange(40) % 3
SERIES = rng.random((40, 12, 6)).astype("float32")
BY_STEP = np.repeat(Y[:, None], 12, axis=1)


def model(outputs=3):
    return sc.Model(sc.Sequential(sc.Linear(6, outputs), sc.Leaky(beta=0.9)), "numpy")


def test_a_time_first_array_beside_targets_is_seen():
    with pytest.raises(
        sc.errors.ShapeError, match=r"its 40 samples, .* along axis 1.*x\.swapaxes\(0, 1\) and time_axis=1"
    ):
        model().fit(SERIES.swapaxes(0, 1), Y, progress=False)
    model().fit(SERIES, Y, time_axis=1, progress=False)


def test_a_label_per_sample_for_a_loss_of_steps_and_the_reverse():
    with pytest.raises(sc.errors.ShapeError, match=r"expected \(12, 40\).*for one label per sample take ce_rate_loss"):
        model().fit(SERIES, Y, time_axis=1, loss=functional.ce_step_loss(), progress=False)
    with pytest.raises(sc.errors.ShapeError, match=r"for a label at every step take ce_step_loss\(\)"):
        model().fit(SERIES, BY_STEP, time_axis=1, loss=functional.ce_rate_loss(), progress=False)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_targets_far_from_membranes_are_told(scale):
    values = scale + X[:, 0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(1).fit(X, values, loss=functional.mse_value_loss(), num_steps=3, progress=False)
    said = [str(each.message) for each in caught if "train on (y - mean) / deviation" in str(each.message)]
    assert len(said) == (scale > 10.0)


def test_classes_as_floats_and_one_hot_codes_in_a_recipe():
    with pytest.warns(TrainingWarning, match=r"only the numbers 0 to 2, of dtype float64.*give y\.astype\(int\)"):
        sc.recipe(X, Y.astype(float))
    for code in (np.eye(3), np.eye(3, dtype=int)):
        with pytest.raises(DataError, match=r"is a one-hot code; give the classes, y\.argmax\(axis=1\)"):
            sc.recipe(X, code[Y])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.recipe(X, X[:, 0])
        sc.recipe(X, Y)


def test_classes_as_floats_are_told_both_ways_out():
    with pytest.raises(
        ValueError, match=r"float64.*for classes give targets\.astype\(int\), for values take mse_value"
    ):
        functional.ce_rate_loss()(np.zeros((3, 40, 3)), Y.astype(float))
    with pytest.raises(ValueError, match=r"compared with classes; for values take mse_value_loss"):
        functional.ce_rate_loss()(np.zeros((3, 40, 3)), X[:, 0].astype(float))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array([["a", 1.0]] * 40, object), "entries that are no numbers .*'a'.*; number texts, or leave them out"),
        ([np.zeros((0, 2)), np.zeros((3, 2))] * 20, r"x\[0\] is a series without steps; leave it out"),
        (np.ma.masked_array(X, X > 0.9), r"a masked array with missing values.*x\.filled\(0\)"),
    ],
)
def test_what_a_recipe_cannot_read_is_named(x, said):
    with pytest.raises(DataError, match=said):
        sc.recipe(x, Y)

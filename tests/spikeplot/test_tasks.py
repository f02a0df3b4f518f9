"""Predicted values against true ones, and labels over time: the artists hold the figures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import OnDevice, cut_texts, nothing_global_changes, overlapping_texts  # noqa: E402, F401

TRUE = np.array([[0, 0, 1, 1, -1], [2, 2, 2, -1, -1]])
SAID = np.array([[0, 1, 1, 1, 0], [2, 0, 2, 1, 1]])


@pytest.mark.parametrize("kind", [np.array, lambda each: OnDevice(np.array(each))])
def test_points_are_pairs_of_true_and_predicted_values(kind):
    true, said = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.5, 2.0], [2.0, 4.0]])
    drawn = spikeplot.fitted_values(kind(true), kind(said))
    np.testing.assert_array_equal(drawn.points.get_offsets(), np.stack([true.ravel(), said.ravel()], axis=1))
    assert drawn.points.axes.get_title() == "mean absolute error 0.375"
    assert not cut_texts(drawn.points.figure)
    assert "FittedValues" in repr(drawn)


def test_rows_are_truth_and_prediction_of_each_sequence():
    drawn = spikeplot.labels_over_time(TRUE, SAID, labels=["P", "QRS", "T"])
    shown = np.ma.filled(drawn.image.get_array().astype(float), np.nan)
    wanted = np.where(np.repeat(TRUE, 2, axis=0) < 0, np.nan, np.array([TRUE[0], SAID[0], TRUE[1], SAID[1]]))
    np.testing.assert_array_equal(shown, wanted)
    assert drawn.image.axes.get_title() == "71.4 % of 7 steps right"
    figure = drawn.image.figure
    assert not cut_texts(figure)
    assert not overlapping_texts(figure)
    assert spikeplot.labels_over_time(TRUE[0], SAID[0]).image.get_array().shape == (2, 5)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("need 1 to 20,000 values, as many in both", lambda: spikeplot.fitted_values([1.0, 2.0], [1.0])),
        ("must be finite", lambda: spikeplot.fitted_values([1.0, np.nan], [1.0, 2.0])),
        ("need .time,. or .sequences, time.", lambda: spikeplot.labels_over_time(TRUE, SAID[:, :3])),
        (
            "labels has 2 names, and there is a class 2",
            lambda: spikeplot.labels_over_time(TRUE, SAID, labels=["a", "b"]),
        ),
        ("must be class indices", lambda: spikeplot.labels_over_time(TRUE + 0.5, SAID)),
    ],
)
def test_what_cannot_be_drawn_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()

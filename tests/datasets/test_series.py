"""Windows of series: what lies where, standard units by the training part alone, and mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataError, DataFileError

TABLE = np.random.default_rng(0).normal(5.0, 3.0, (50, 2)) * [1.0, 100.0]


def test_windows_hold_what_lies_before_and_behind_their_step():
    """Sample by sample; a later part sees the end of the one before, but all its targets are its own."""
    (train, validation, test), standard = datasets.windows(TABLE, 6, 3, parts=(30, 8, 12))
    z = (TABLE - TABLE[:30].mean(0)) / TABLE[:30].std(0)
    for part, (first, end) in zip((train, validation, test), ((6, 30), (30, 38), (38, 50))):
        steps = range(first, end - 3 + 1)
        assert part.inputs.shape == (len(steps), 6, 2)
        assert part.targets.shape == (len(steps), 6)
        for t, (x, y) in zip(steps, part):
            np.testing.assert_allclose(x, z[t - 6 : t], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(y, z[t : t + 3].reshape(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(standard.undo(test.targets)[0], TABLE[38:41], rtol=1e-5)


def test_what_comes_later_leaves_the_units_as_they_are():
    """The standard units know nothing of validation and test."""
    other = TABLE.copy()
    other[40:] += 1e3
    (train, _), standard = datasets.windows(TABLE, 4, parts=(0.8, 0.2))
    (same, _), again = datasets.windows(other, 4, parts=(0.8, 0.2))
    np.testing.assert_array_equal(train.inputs, same.inputs)
    np.testing.assert_array_equal(standard.mean, again.mean)


def test_stride_a_single_series_and_one_that_is_constant():
    (part,), standard = datasets.windows(np.ones(20), 5, stride=4, parts=(1.0,))
    assert part.inputs.shape == (4, 5, 1)
    assert not part.inputs.any()
    np.testing.assert_array_equal(standard.undo(part.targets), np.ones((4, 1, 1)))


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("part 1 has 5 steps, too few", {"horizon": 6, "parts": (0.9, 0.1)}),
        ("part 0 has 4 steps, too few", {"parts": (4, 40)}),
        ("parts=.0.7, 0.7. must be shares > 0 that add up to at most 1", {"parts": (0.7, 0.7)}),
        ("parts=.40, 0.2. must be", {"parts": (40, 0.2)}),
        ("parts=.. must be", {"parts": ()}),
        ("expected .samples, 4.: 2 steps of 2 series", {"horizon": 2, "undo": np.ones((3, 5))}),
    ],
)
def test_what_does_not_fit_is_refused(message, options):
    undo = options.pop("undo", None)
    with pytest.raises(DataError, match=message):
        datasets.windows(TABLE, 5, **options).standard.undo(undo)


def test_gaps_and_text_are_named():
    holed = TABLE.copy()
    holed[7, 1] = np.nan
    with pytest.raises(DataError, match=r"series\[7, 1\] is nan: fill gaps first"):
        datasets.windows(holed, 5)
    with pytest.raises(DataError, match="series=.* must be an array of numbers"):
        datasets.windows([["a", "b"]] * 9, 5)


def test_series_in_a_csv_file(tmp_path):
    path = tmp_path / "load.csv"
    lines = [f"2020-01-01 {i:02d}h,{a:.6f},{b:.6f}" for i, (a, b) in enumerate(TABLE)]
    path.write_text("\n".join(["date,load,price", *lines]), encoding="utf-8")
    found = datasets.series_csv(path, 6, 3, parts=(30, 20), leave_out=["date"])
    wanted = datasets.windows(TABLE, 6, 3, parts=(30, 20))
    np.testing.assert_allclose(found.parts[1].inputs, wanted.parts[1].inputs, atol=1e-5)
    with pytest.raises(DataFileError, match="line 2, 'date'.* leave the column out"):
        datasets.series_csv(path, 6)
    with pytest.raises(DataError, match="column 'day'"):
        datasets.series_csv(path, 6, leave_out=["day"])

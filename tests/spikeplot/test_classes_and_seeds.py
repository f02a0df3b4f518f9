"""Confusion matrices, and trainings over seeds: the artists hold the figures, numbers can be read on their cells."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import (  # noqa: E402, F401
    OnDevice,
    cut_texts,
    nothing_global_changes,
    overlapping_texts,
    pixels,
)

TRUE, GUESS = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]
MATRIX = [[2, 1, 0], [0, 2, 0], [1, 0, 0]]


def written(numbers):
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in numbers}


@pytest.mark.parametrize(
    "kind", [list, np.array, lambda each: OnDevice(np.array(each)), lambda each: np.array(each) + 0.0]
)
def test_rows_are_true_classes_and_columns_predicted_ones(kind):
    drawn = spikeplot.confusion(kind(TRUE), kind(GUESS))
    np.testing.assert_array_equal(drawn.image.get_array(), MATRIX)
    assert written(drawn.numbers) == {(0, 0): "2", (0, 1): "1", (1, 1): "2", (2, 0): "1"}
    ax = drawn.image.axes
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true class", "predicted class")
    assert ax.get_title() == "66.7 % of 6 samples right"
    assert ax.yaxis_inverted(), "the first class is at the top"


def test_the_matrix_is_that_of_scikit_learn():
    metrics, rng = pytest.importorskip("sklearn.metrics"), np.random.default_rng(0)
    true, guess = rng.integers(0, 7, (2, 300))
    np.testing.assert_array_equal(
        spikeplot.confusion(true, guess).image.get_array(), metrics.confusion_matrix(true, guess)
    )
    np.testing.assert_allclose(
        spikeplot.confusion(true, guess, shares=True).image.get_array(),
        metrics.confusion_matrix(true, guess, normalize="true"),
    )


def test_shares_are_of_a_row_in_percent_and_a_class_without_samples_has_none():
    drawn = spikeplot.confusion(TRUE, GUESS, labels=["cat", "dog", "owl", "fox"], shares=True)
    np.testing.assert_allclose(
        drawn.image.get_array(), np.divide([[*r, 0] for r in [*MATRIX, [0] * 3]], [[3], [2], [1], [1]])
    )
    assert written(drawn.numbers)[0, 1] == "33"
    assert [label.get_text() for label in drawn.image.axes.get_yticklabels()] == ["cat", "dog", "owl", "fox"]


def test_each_number_stands_out_from_its_cell_on_white_pages_and_on_dark_ones():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, 900)
    guess = np.where(rng.random(900) < 0.5, true, rng.integers(0, 6, 900) // 2)
    for page in ("white", "black"):
        figure = Figure((6, 6), facecolor=page, layout="constrained")
        drawn = spikeplot.confusion(true, guess, figure.subplots())
        shown = pixels(figure)
        assert len(drawn.numbers) > 12
        for text in drawn.numbers:
            box = text.get_window_extent()
            height = len(shown)
            inside = shown[height - int(box.y1) : height - int(box.y0), int(box.x0) : int(box.x1)].mean(axis=2)
            assert np.ptp(inside.astype(float)) > 110, text


@pytest.mark.parametrize("count", [1, 2, 10, 30, 200])
def test_any_number_of_classes_has_texts_side_by_side(count):
    rng, names = np.random.default_rng(0), [f"a kind of {n}" for n in range(count)]
    for labels in (None, names):
        drawn = spikeplot.confusion(rng.integers(0, count, 500), rng.integers(0, count, 500), labels=labels)
        figure = drawn.image.figure
        assert overlapping_texts(figure) == cut_texts(figure) == []
        assert bool(drawn.numbers) == (count < 60), "numbers where there is room for them"


@pytest.mark.parametrize(
    ("true", "guess", "options", "message"),
    [
        ([0, 1], [0], {}, "targets has 2 samples and predicted 1"),
        ([], [], {}, r"targets has shape \(0,\)"),
        ([0, 1], [[0.1, 0.9]] * 2, {}, r"predicted has shape \(2, 2\).*argmax"),
        ([0, 1], [0, -1], {}, "predicted has -1: need class indices"),
        ([0, 1.5], [0, 1], {}, "targets has 1.5"),
        ([0, np.nan], [0, 1], {}, "targets has nan"),
        ([0, 1000], [0, 1], {}, "targets has 1000.*0 to 999"),
        ([0, 2], [0, 1], {"labels": ["a", "b"]}, "labels has 2 names, and there is a class 2"),
        (["cat", "dog"], [0, 1], {}, "targets=.*return_inverse"),
    ],
)
def test_classes_that_are_none_are_refused(true, guess, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        spikeplot.confusion(true, guess, **options)


# ---------------------------------------------------------------------------------------- seeds


def history(*values, column="val_accuracy"):
    return [{"epoch": epoch, column: value, "lr": 0.1} for epoch, value in enumerate(values, 1)]


THREE = [history(0.1, 0.5, 0.9), history(0.3, 0.6, 0.8), history(0.5, 0.4, 0.4, 0.2)]


def edges(band):
    """Lowest and highest values of a band at each epoch."""
    points = np.concatenate([path.vertices for path in band.get_paths()])
    return {
        int(x): (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max())
        for x in np.unique(points[:, 0])
    }


@pytest.mark.parametrize(
    ("options", "middle", "low", "high"),
    [
        ({}, [0.3, 0.5, 0.7], [0.1, 0.4, 0.4], [0.5, 0.6, 0.9]),
        ({"middle": "median"}, [0.3, 0.5, 0.8], [0.1, 0.4, 0.4], [0.5, 0.6, 0.9]),
        ({"middle": "median", "band": "quartiles"}, [0.3, 0.5, 0.8], [0.2, 0.45, 0.6], [0.4, 0.55, 0.85]),
    ],
)
def test_a_line_for_the_middle_and_a_band_for_the_spread_over_epochs_that_all_have(options, middle, low, high):
    drawn = spikeplot.seeds(THREE, **options)["val_accuracy"]
    np.testing.assert_array_equal(drawn.middle.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(drawn.middle.get_ydata(), middle)
    np.testing.assert_allclose([*edges(drawn.band).values()], [*zip(low, high)])
    assert drawn.middle.axes.get_ylabel() == "validation accuracy"


def test_groups_have_lines_of_their_own_and_say_how_many_seeds_they_have():
    figure = Figure((6, 4), layout="constrained")
    groups = {f"beta = {n}": THREE[: 1 + n % 3] for n in range(9)}
    drawn = spikeplot.seeds(groups, "val_accuracy", figure.subplots())
    assert list(drawn) == list(groups)
    assert len({(each.middle.get_color(), each.middle.get_linestyle()) for each in drawn.values()}) == 9
    legend = [text.get_text() for text in drawn["beta = 0"].middle.axes.get_legend().get_texts()]
    assert legend[:3] == ["beta = 0 (1 seed)", "beta = 1 (2 seeds)", "beta = 2 (3 seeds)"]
    assert overlapping_texts(figure) == cut_texts(figure) == []


def test_histories_of_models_and_rows_without_the_column():
    x, y = np.random.default_rng(0).random((20, 5)), np.arange(20) % 2
    histories = []
    for seed in (0, 1):
        model = sc.Model(sc.Sequential(sc.Linear(5, 2), sc.Leaky()), engine="numpy", seed=seed)
        model.fit(x, y, epochs=2, num_steps=3, progress=False)
        histories.append(model.history)
    drawn = spikeplot.seeds(histories, "loss")["loss"]
    np.testing.assert_allclose(
        drawn.middle.get_ydata(), np.mean([[row["loss"] for row in h] for h in histories], axis=0)
    )
    gaps = [[{"a": 1.0}, {"b": 3.0, "a": None}, {"a": 5.0}], [{"a": 3.0}, {"a": 4.0}, {"a": 7.0}]]
    np.testing.assert_array_equal(spikeplot.seeds(gaps, "a")["a"].middle.get_xydata(), [[1, 2], [3, 6]])


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        ({}, {}, "histories: need at least one group"),
        ([], {}, r"histories\['val_accuracy'\]: need a list of histories"),
        (THREE[0], {}, "need a list of histories, one for each seed"),
        ({"a": THREE[0]}, {}, r"histories\['a'\]: need a list of histories"),
        (THREE, {"column": "val_acuracy"}, "column='val_acuracy': .*their columns: epoch, val_accuracy, lr"),
        ([THREE[0], []], {}, "have no epoch in which all have it"),
        (THREE, {"middle": "mode"}, "middle='mode' must be one of 'mean', 'median'"),
        (THREE, {"band": "sd"}, "band='sd' must be one of 'range', 'quartiles'"),
    ],
)
def test_what_is_no_list_of_histories_is_refused(histories, options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.seeds(histories, **options)

"""Activity maps, surrogate curves and gradient errors: the artists hold the data, the pixels show it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore import spikeplot, surrogate  # noqa: E402
from tests.spikeplot.spikeplot_rig import colour_at, is_blue, is_orange, nothing_global_changes, pixels  # noqa: E402, F401

# ---------------------------------------------------------------------------------------- activity


def test_the_map_holds_the_fraction_that_fires_at_each_step():
    rng = np.random.default_rng(0)
    first, second = rng.random((6, 4, 2, 3)) < 0.5, 7.0 * (rng.random((6, 4, 5)) < 0.2)
    image = spikeplot.activity_map({"first": first, "second": second}, graded=True)
    expected = [first.mean((1, 2, 3)), (second != 0).mean((1, 2))]
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_clim() == (0, np.max(expected))
    labels = [label.get_text() for label in image.axes.get_yticklabels()]
    assert labels == [f"first  ({np.mean(expected[0]):.2g})", f"second  ({np.mean(expected[1]):.2g})"]


def test_the_map_is_dark_where_a_layer_fires_and_white_where_it_is_silent():
    busy, silent = np.zeros((10, 4)), np.zeros((10, 4))
    busy[5:] = 1
    axes = Figure().subplots()
    assert spikeplot.activity_map({"busy": busy, "silent": silent}, axes, colorbar=False).axes is axes
    image = pixels(axes.figure)
    assert is_blue(colour_at(axes, 7, 0, image))  # the first layer is the upper one
    assert colour_at(axes, 2, 0, image).min() > 240
    assert colour_at(axes, 7, 1, image).min() > 240
    assert len(axes.figure.axes) == 1


@pytest.mark.parametrize("layers", [{}, {"a": np.zeros((3, 2)), "b": np.zeros((4, 2))}, {"a": np.zeros((3, 0))}, [1]])
def test_the_map_refuses_what_is_no_set_of_layers(layers):
    with pytest.raises((ValueError, TypeError), match="spikes"):
        spikeplot.activity_map(layers)


# -------------------------------------------------------------------------------------- surrogates

U = np.linspace(-2, 2, 201)
XP = sc.get_engine("numpy", dtype="float64").xp


def evaluated(one):
    return U, one.derivative(XP, U), one.antiderivative(XP, U)


def test_each_panel_holds_derivative_and_antiderivative():
    curves = {"atan": evaluated(surrogate.atan()), "sigmoid": evaluated(surrogate.sigmoid())[:2]}
    lines = spikeplot.surrogate_curves(curves)
    np.testing.assert_array_equal(lines["atan"].derivative.get_xydata(), np.column_stack(curves["atan"][:2]))
    antiderivative = curves["atan"][2]
    np.testing.assert_array_equal(lines["atan"].curve.get_ydata(), antiderivative - antiderivative[0])
    assert lines["sigmoid"].curve is None
    assert [each.derivative.axes.get_title() for each in lines.values()] == ["atan", "sigmoid"]


def test_panels_are_the_callers_or_one_for_all():
    curves = {f"a{n}": evaluated(surrogate.atan(alpha=1.0 + n)) for n in range(9)}
    axes = Figure().subplots(3, 3)
    assert [each.derivative.axes for each in spikeplot.surrogate_curves(curves, axes).values()] == list(axes.flat)
    single = Figure().subplots()
    lines = spikeplot.surrogate_curves(curves, single)
    assert {each.derivative.axes for each in lines.values()} == {single}
    looks = {(each.derivative.get_color(), str(each.derivative.get_linestyle())) for each in lines.values()}
    assert len(looks) == 9  # dashes where the colours have been through
    assert [text.get_text() for text in single.get_legend().get_texts()] == list(curves)


def test_the_peak_is_inked_and_the_space_above_the_tail_is_not():
    line = spikeplot.surrogate_curves({"atan": evaluated(surrogate.atan())[:2]})["atan"].derivative
    image = pixels(line.figure)
    assert is_blue(colour_at(line.axes, 0.0, 1.0, image))
    assert colour_at(line.axes, 1.4, 0.9, image).min() == 255


@pytest.mark.parametrize(
    ("curves", "options", "message"),
    [
        ({}, {}, "curves is empty"),
        ({"one": (U,)}, {}, r"curves\['one'\] has arrays of shapes"),
        ({"one": (U, U[1:])}, {}, r"need \(u, derivative\)"),
        ({"one": (U, U)}, {"columns": 0}, "columns=0"),
        ({"one": (U, U)}, {"axes": Figure().subplots(1, 2)}, "axes: 2 given, 1 needed"),
    ],
)
def test_surrogate_curves_refuses_what_does_not_fit(curves, options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.surrogate_curves(curves, **options)


# --------------------------------------------------------------------------------------- gradients


def row(name, max_rel, verdict="ok", check="float64", limit=1e-11):
    return SimpleNamespace(check=check, name=name, max_rel=max_rel, limit=limit, verdict=verdict)


ROWS = [
    row("loss", 1e-16),
    row("gradient a", 1e-15),
    row("gradient b", 1e-3, "FAIL"),
    row("gradient c", 0.0),
    row("gradient d", None, "not available", limit=None),
    row("gradient e", float("nan"), "FAIL"),
    row("gradient a", 1e-9, check="finite differences", limit=1e-6),
]


def test_errors_stand_at_their_value_apart_by_verdict():
    drawn = spikeplot.gradient_errors(SimpleNamespace(rows=ROWS))
    assert list(drawn) == ["float64", "finite differences"]
    float64 = drawn["float64"]
    assert float64.ok.get_xydata().tolist() == [[1e-15, 0]]
    assert float64.failed.get_xydata()[0].tolist() == [1e-3, 1]
    assert set(float64.limit.get_xdata()) == {1e-11}
    ax = float64.ok.axes
    left, right = ax.get_xlim()
    (equal,), (_, nan) = float64.equal.get_xdata(), float64.failed.get_xdata()
    assert left < equal < 1e-15
    assert 1e-3 < nan < right
    assert [label.get_text() for label in ax.get_yticklabels()] == list("abcde")
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["FAIL", "not available", "FAIL"]
    assert drawn["finite differences"].failed.get_xydata().size == 0


def test_failures_are_orange_beyond_the_limit_and_the_rest_is_blue():
    drawn = spikeplot.gradient_errors(SimpleNamespace(rows=ROWS), checks=["float64"])["float64"]
    image = pixels(drawn.ok.figure)
    assert is_blue(colour_at(drawn.ok.axes, 1e-15, 0, image))
    assert is_orange(colour_at(drawn.ok.axes, 1e-3, 1, image))
    assert colour_at(drawn.ok.axes, 3e-13, 0.3, image).min() == 255
    assert 200 < colour_at(drawn.ok.axes, 3e-9, 0.3, image).max() < 255  # beyond the limit it is grey


def test_a_report_of_verify_is_drawn_as_it_stands():
    x = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky()), engine="numpy")
    report = sc.verify(model, x, np.arange(4) % 3, num_steps=5)
    axes = Figure().subplots(1, 3)
    drawn = spikeplot.gradient_errors(report, axes)
    assert [ax.get_title() for ax in axes] == list(drawn) == ["float64", "finite differences", "float32"]
    for check, lines in drawn.items():
        rows = [each for each in report.rows if each.check == check and each.name.startswith("gradient")]
        assert len(lines.ok.get_xdata()) + len(lines.equal.get_xdata()) == len(rows) == 3
        assert list(lines.ok.get_xdata()) == [each.max_rel for each in rows if each.max_rel]


def test_a_report_without_gradients_or_without_the_check_is_refused():
    with pytest.raises(ValueError, match=r"checks=None: the report has gradients of the checks \[\]"):
        spikeplot.gradient_errors(SimpleNamespace(rows=ROWS[:1]))
    with pytest.raises(ValueError, match=r"checks=\['float16'\]"):
        spikeplot.gradient_errors(SimpleNamespace(rows=ROWS), checks=["float16"])

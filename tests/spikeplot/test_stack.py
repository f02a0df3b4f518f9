"""The textbook's stack of input, membrane and spikes; samples with predictions; marks, names and percents."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import colour_at, is_orange, nothing_global_changes, overlapping_texts, pixels  # noqa: E402, F401

RNG = np.random.default_rng(0)
CURRENT = np.repeat([0.0, 0.4, 0.0], [10, 60, 10])
MEM = RNG.normal(size=(80, 5))
SPIKES = (RNG.random((80, 5)) < 0.2).astype(float)


def axes_of(artists):
    return artists.mem[0].figure.axes


# --------------------------------------------------------------------------------------------- stack


def test_input_membrane_and_spikes_stand_below_one_another_on_one_time():
    drawn = spikeplot.stack(MEM[:, 0], SPIKES[:, 0], CURRENT, threshold=1.5)
    above, middle, below = axes_of(drawn)
    np.testing.assert_array_equal(drawn.inputs[0].get_ydata(), CURRENT)
    np.testing.assert_array_equal(drawn.mem[0].get_ydata(), MEM[:, 0])
    assert set(drawn.threshold[0].get_ydata()) == {1.5}
    np.testing.assert_array_equal(drawn.spikes.get_offsets()[:, 0], np.flatnonzero(SPIKES[:, 0]))
    assert [ax.get_ylabel() for ax in (above, middle, below)] == ["input", "membrane", "spikes"]
    assert [ax.get_xlabel() for ax in (above, middle, below)] == ["", "", "time step"]
    assert {ax.get_xlim() for ax in (above, middle, below)} == {(-0.5, 79.5)}
    heights = [ax.get_window_extent().y0 for ax in (above, middle, below)]
    assert heights == sorted(heights, reverse=True)
    assert overlapping_texts(above.figure) == []


def test_input_spikes_are_a_raster_and_other_inputs_are_lines():
    coded = (RNG.random((80, 30)) < 0.1).astype(float)
    assert len(spikeplot.stack(MEM[:, 0], inputs=coded).inputs[0].get_offsets()) == coded.sum()
    several = spikeplot.stack(MEM[:, 0], inputs=coded + 0.5).inputs
    assert len(several) == 30
    own = spikeplot.stack(MEM, inputs=2 * MEM, neurons=[3, 1])
    np.testing.assert_array_equal([line.get_ydata() for line in own.inputs], 2 * MEM[:, [3, 1]].T)
    assert [a.get_color() == b.get_color() for a, b in zip(own.inputs, own.mem)] == [True, True], "whose input it is"


def test_several_neurons_have_colours_and_rows_of_their_own():
    drawn = spikeplot.stack(MEM, SPIKES, neurons=[4, 0, 2], threshold=[1, 1, 2, 3, 1])
    assert len({line.get_color() for line in drawn.mem}) == 3
    assert sorted(set(line.get_ydata()[0] for line in drawn.threshold)) == [1, 2]
    middle, below = axes_of(drawn)
    assert [text.get_text() for text in middle.get_legend().get_texts()] == [
        "neuron 4", "neuron 0", "neuron 2", "threshold",
    ]  # fmt: skip
    assert [label.get_text() for label in below.get_yticklabels()] == ["4", "0", "2"]
    np.testing.assert_array_equal(drawn.spikes.get_offsets(), np.argwhere(SPIKES[:, [4, 0, 2]]))


def test_an_output_brings_membrane_and_spikes_of_a_layer():
    network = sc.Sequential(sc.Linear(4, 6), sc.Leaky(threshold=0.1), sc.Linear(6, 3), sc.LI())
    x = RNG.random((20, 2, 4)).astype(np.float32)
    out = sc.Model(network, seed=1)(x, record=True)
    last = spikeplot.stack(out, inputs=x, batch_index=1)
    assert last.spikes is None, "LI does not spike"
    np.testing.assert_array_equal(last.mem[0].get_ydata(), out.states["3"].mem[:, 1, 0])
    assert len(last.inputs) == 4
    hidden = spikeplot.stack(out, batch_index=1, layer="1", neurons=2)
    assert len(hidden.spikes.get_offsets()) == out.states["1"].spikes[:, 1, :2].sum() > 0
    for options, words in (
        ({"layer": "2"}, r"layer='2': the Output has membranes of layers \['1', '3'\]"),
        ({"neurons": 9}, "batch_index"),
    ):
        with pytest.raises(ValueError, match=words):
            spikeplot.stack(out, **options)
    with pytest.raises(ValueError, match="record=True"):
        spikeplot.stack(sc.Model(network)(x, record=False), batch_index=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"spikes": SPIKES[:, :4]}, r"spikes \(80, 4\) and mem \(80, 5\) must have the same shape"),
        ({"inputs": CURRENT[:70]}, "inputs has 70 time steps and mem has 80"),
        ({"neurons": [5]}, r"neurons=\[5\]: need a count or indices of 1 to 8 of the 5 neurons"),
        ({"threshold": [1, 2]}, "threshold has 2 values"),
        ({"layer": "1"}, "layer='1' is for an Output of a model: leave it out for arrays"),
        ({"spikes": SPIKES, "axes": Figure().subplots(3)}, "axes: 3 given, 2 needed"),
        ({"batch_index": 5}, "batch_index=5"),
    ],
    ids=str,
)
def test_stack_refuses_what_does_not_fit(given, words):
    with pytest.raises(ValueError, match=words):
        spikeplot.stack(MEM, **given)


def test_stack_draws_on_given_axes_and_is_short_in_print():
    axes = Figure(layout="constrained").subplots(3)
    drawn = spikeplot.stack(MEM, SPIKES, MEM, axes)
    assert [artist.axes for artist in (drawn.inputs[0], drawn.mem[0], drawn.spikes)] == list(axes)
    assert repr(drawn) == "Stack(inputs: 1 Line2D; mem: 1 Line2D; threshold: none; spikes: 1 PathCollection)"
    assert "0x" not in repr(spikeplot.traces(MEM, SPIKES)) + repr(spikeplot.spike_count(SPIKES))


# --------------------------------------------------------------------------------------- predictions


def test_predictions_name_what_was_said_and_in_orange_what_was_wrong():
    images = RNG.random((10, 8, 8))
    panels = spikeplot.predictions(images, [0, 1] * 5, [0, 1] * 4 + [1, 1], labels=["cat", "dog"])
    assert [ax.get_title() for ax in panels] == ["cat", "dog"] * 4 + ["dog, not cat", "dog"]
    colours = [matplotlib.colors.to_hex(ax.title.get_color()) for ax in panels]
    assert [colour == "#d55e00" for colour in colours] == [False] * 8 + [True, False]
    np.testing.assert_array_equal(panels[3].images[0].get_array(), images[3])
    assert overlapping_texts(panels[0].figure) == []
    box = panels[8].title.get_window_extent()
    assert any(is_orange(colour) for colour in _inside(panels[0].figure, box))


def _inside(figure, box):
    image = pixels(figure)
    rows = slice(int(image.shape[0] - box.y1), int(image.shape[0] - box.y0))
    return image[rows, int(box.x0) : int(box.x1)].reshape(-1, 3).astype(int)


def test_predictions_of_series_colour_images_and_numbers():
    assert len(spikeplot.predictions(RNG.random((3, 50)), [0, 1, 2], [0, 1, 2])[0].lines) == 1
    assert spikeplot.predictions(RNG.random((2, 3, 8, 9)), [7, 1], [7, 1])[0].images[0].get_array().shape == (8, 9, 3)
    (panel,) = spikeplot.predictions(RNG.random((1, 1, 8, 9)), [7], [3], Figure().subplots())
    assert panel.get_title() == "3, not 7"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"inputs": np.ones((2, 5, 8, 8))}, r"inputs has shape \(2, 5, 8, 8\): need images"),
        ({"targets": [1]}, r"shapes \(2, 4, 4\), \(1,\) and \(2,\): need 1 to 64 samples"),
        ({"inputs": np.ones((65, 4, 4))}, "need 1 to 64 samples"),
        ({"labels": ["a"]}, "labels has 1 names, and there is a class 1"),
        ({"axes": Figure().subplots(1, 3)}, "axes: 3 given, 2 needed"),
    ],
    ids=str,
)
def test_predictions_refuse_what_does_not_fit(given, words):
    with pytest.raises(ValueError, match=words):
        spikeplot.predictions(**{"inputs": np.ones((2, 4, 4)), "targets": [0, 1], "predicted": [0, 1], **given})


# ------------------------------------------------------------------------ visible, named, consistent


def luminance(colour):
    """Relative luminance of sRGB, 0 to 1 (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot", "classic"])
@pytest.mark.filterwarnings("ignore::matplotlib.MatplotlibDeprecationWarning")
def test_marks_can_be_seen_on_every_style(style):
    """Rasters used to be black, also on black."""
    with matplotlib.rc_context():
        matplotlib.style.use(style)
        marks = spikeplot.raster(SPIKES)
        ground = matplotlib.colors.to_hex(marks.axes.get_facecolor())
        found = marks.get_edgecolor() if marks.get_edgecolor().size else marks.get_facecolor()
        assert contrast(found[0][:3], ground) >= 3.0
        step, neuron = marks.get_offsets()[3]
        seen = colour_at(marks.axes, step, neuron) / 255
        assert contrast(seen, ground) >= 2.5, "drawn"
        drawn = spikeplot.stack(MEM, SPIKES, MEM, threshold=1.0)
        for line in (*drawn.mem, *drawn.threshold, *drawn.inputs):
            assert contrast(line.get_color(), ground) >= 3.0


def test_the_grid_is_fainter_than_the_data_on_black():
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        ax = spikeplot.raster(np.zeros((30, 60))).axes
        image = pixels(ax.figure)
        box = ax.get_window_extent()
        inside = image[
            int(image.shape[0] - box.y1) + 5 : int(image.shape[0] - box.y0) - 5, int(box.x0) + 5 : int(box.x1)
        ]
        assert 0 < inside.max() < 70


@pytest.mark.parametrize(("neurons", "bars"), [(1, True), (50, True), (51, False), (800, False)])
@pytest.mark.parametrize("height", [1.2, 3.0, 9.0])
def test_bars_up_to_fifty_neurons_and_dots_beyond_whatever_the_size(neurons, bars, height):
    spikes = np.zeros((30, neurons))
    spikes[3] = 1
    marks = spikeplot.raster(spikes, Figure(figsize=(5, height)).subplots())
    assert (marks.get_paths()[0].vertices.shape[0] == 2) == bars


def test_all_classes_stand_at_the_axis():
    for height in (1.7, 3.0):
        figure = Figure(figsize=(5, height), layout="constrained")
        ax = spikeplot.raster(np.zeros((20, 10)), figure.subplots()).axes
        pixels(figure)
        assert [label.get_text() for label in ax.get_yticklabels()] == [str(n) for n in range(10)]
        assert overlapping_texts(figure) == []
    names = [f"digit {n}" for n in range(10)]
    ax = spikeplot.raster(np.zeros((20, 10)), labels=names).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    many = Figure(figsize=(5, 3), layout="constrained")
    spikeplot.raster(np.zeros((20, 60)), many.subplots(), labels=range(60))
    assert overlapping_texts(many) == [], "where there is no room, some names are left out"
    with pytest.raises(ValueError, match="labels has 3 names: need one for each of 10 neurons"):
        spikeplot.raster(np.zeros((20, 10)), labels=["a", "b", "c"])


def test_accuracy_is_in_percent_without_a_fraction_that_says_nothing():
    rows = [{"epoch": n, "loss": 1.0, "accuracy": value} for n, value in enumerate((0.6, 0.8, 1.0), 1)]
    ax = spikeplot.training_curves(rows)["accuracy"].axes
    pixels(ax.figure)
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert "100 %" in shown
    assert not [text for text in shown if ".0" in text]
    assert [each.get_title() for each in ax.figure.axes] == ["", ""], "the axis says what it is"

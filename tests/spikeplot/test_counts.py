"""Spike counts and animations: still, and step by step in what is saved."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import (  # noqa: E402
    colour_at,
    frames_of,
    is_blue,
    is_orange,
    nothing_global_changes,  # noqa: F401
    overlapping_texts,
    pixels,
)

FOUR = np.array([[0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 1, 1]])  # (time, neurons): 0, 2 and 4 spikes


# -------------------------------------------------------------------------------------- spike count


def test_bars_are_as_long_as_there_are_spikes():
    drawn = spikeplot.spike_count(FOUR, labels=["a", "b", "c"])
    assert [segment[1].tolist() for segment in drawn.bars.get_segments()] == [[0, 0], [2, 1], [4, 2]]
    np.testing.assert_array_equal(drawn.dots.get_xydata(), [[0, 0], [2, 1], [4, 2]])
    assert drawn.dots.axes.get_xlim() == (0, 4)
    assert [label.get_text() for label in drawn.dots.axes.get_yticklabels()] == ["a", "b", "c"]
    assert drawn.dots.axes.get_title() == "6 spikes in 4 time steps"


@pytest.mark.parametrize(("neurons", "every"), [(30, 1), (60, 2), (100, 5), (1000, 50)])
def test_many_neurons_have_names_that_can_be_read_and_bars_apart(neurons, every):
    labels = [f"class {n}" for n in range(neurons)]
    drawn = spikeplot.spike_count(np.ones((3, neurons)), labels=labels)
    ax = drawn.dots.axes
    assert overlapping_texts(ax.figure) == []
    assert ax.get_yticks().tolist() == list(range(0, neurons, every))
    assert [label.get_text() for label in ax.get_yticklabels()] == labels[::every]
    row = ax.get_window_extent().height / ax.figure.dpi * 72 / neurons
    assert drawn.bars.get_linewidths()[0] < 0.8 * row


def test_graded_spikes_count_once():
    np.testing.assert_array_equal(spikeplot.spike_count(FOUR * 2.5, graded=True).dots.get_xdata(), [0, 2, 4])


def test_pixels_are_blue_along_a_bar_and_nowhere_else():
    drawn = spikeplot.spike_count(FOUR, gridshader=False)
    ax, image = drawn.dots.axes, pixels(drawn.dots.figure)
    assert is_blue(colour_at(ax, 1.5, 1, image))
    assert is_blue(colour_at(ax, 3.5, 2, image))
    assert colour_at(ax, 2.5, 1, image).min() == 255
    assert colour_at(ax, 1.5, 0, image).min() == 255


def test_every_other_interval_between_ticks_is_shaded_in_the_given_colour():
    spikes = np.zeros((10, 2))
    shaded = spikeplot.spike_count(spikes, gridcolor="#ccddee").dots.axes
    image = pixels(shaded.figure)
    ticks = shaded.get_xticks()
    colours = [colour_at(shaded, (a + b) / 2, 0.5, image).tolist() for a, b in zip(ticks, ticks[1:])]
    assert colours[:4] == [[255, 255, 255], [0xCC, 0xDD, 0xEE]] * 2


def test_spike_count_as_snntorch_users_call_it():
    figure = Figure()
    ax = figure.subplots()
    drawn = spikeplot.spike_count(FOUR, figure, ax, ["0", "1", "2"], num_steps=3, time_step=1e-3)
    assert drawn.dots.axes is ax
    np.testing.assert_array_equal(drawn.dots.get_xdata(), [0, 1, 3])
    assert ax.get_xlim() == (0, 3)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "0.001", "0.002", "0.003"]
    assert "(s)" in ax.get_xlabel()


def test_one_sample_of_a_batch_and_a_colour_of_ones_own():
    batch = np.stack([np.zeros_like(FOUR), FOUR], axis=1)
    drawn = spikeplot.spike_count(batch, batch_index=1, color="#ff0000")
    np.testing.assert_array_equal(drawn.dots.get_xdata(), [0, 2, 4])
    assert drawn.dots.get_color() == "#ff0000"


def test_the_animation_counts_up_and_its_last_picture_has_counted_them_all(tmp_path):
    figure = Figure((4, 3), dpi=60)
    ax = figure.subplots()
    moving = spikeplot.spike_count(FOUR, figure, ax, animate=True, interpolate=2, gridshader=False)
    pictures = frames_of(moving, tmp_path / "counts.gif")
    assert len(pictures) == 2 * (4 + 1)
    half = [is_blue(colour_at(ax, 0.6, 2, picture)) for picture in pictures]
    assert half == [False] * 2 + [True] * 8
    whole = [is_blue(colour_at(ax, 3.6, 2, picture)) for picture in pictures]
    assert whole == [False] * 8 + [True] * 2
    line = [is_orange(colour_at(ax, 2.5, 0.5, picture)) for picture in pictures]
    assert line == [number == 5 for number in range(10)]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (FOUR, {"labels": ["a"]}, r"labels has 1 names: need one for each of 3 neurons"),
        (FOUR, {"num_steps": 5}, r"num_steps=5: need 1 to 4"),
        (FOUR, {"interpolate": 0.5}, r"interpolate=0\.5 must be an int"),
        (FOUR, {"animate": True, "interval": 0}, r"interval=0: need milliseconds"),
        (FOUR[:, None], {}, r"data has shape \(4, 1, 3\): need \(time, neurons\), or batch_index"),
        (FOUR[:0], {}, r"there is no time step to show"),
        (FOUR, {"fig": Figure(), "ax": Figure().subplots()}, r"ax lies on another figure than fig"),
    ],
)
def test_spike_count_refuses_what_does_not_fit(data, options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.spike_count(data, **options)


# ----------------------------------------------------------------------------------------- animator


def test_the_animator_shows_each_step_in_one_colour_scale(tmp_path):
    data = np.zeros((3, 2, 2))
    data[0, 0, 0], data[1, 1, 1], data[2] = 1, 2, 2
    figure = Figure((3, 3), dpi=60)
    ax = figure.subplots()
    pictures = frames_of(spikeplot.animator(data, figure, ax, cmap="gray"), tmp_path / "any.gif")
    seen = [[[colour_at(ax, column, row, picture)[0] for column in (0, 1)] for row in (0, 1)] for picture in pictures]
    np.testing.assert_allclose(seen, data / 2 * 255, atol=3)
    assert not ax.axison


def test_the_animator_shows_the_first_steps_and_takes_one_channel(tmp_path):
    moving = spikeplot.animator(np.random.default_rng(0).random((5, 1, 4, 4)), num_steps=2, interval=10)
    assert len(frames_of(moving, tmp_path / "any.gif")) == 2


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 4, 4), (0, 4, 4)])
def test_the_animator_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"shape \("):
        spikeplot.animator(np.zeros(shape))

"""Plots: the artists hold the data, the pixels are where they should be, and nothing global changes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import OnDevice, nothing_global_changes, overlapping_texts, pixels  # noqa: E402, F401

HISTORY = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.3, "val_loss": 2.1},
    {"epoch": 2, "loss": 1.0, "accuracy": 0.6},
    {"epoch": 3, "loss": 0.5, "accuracy": 0.9, "val_loss": 0.8, "val_accuracy": None},
]


@pytest.fixture
def spikes():
    return (np.random.default_rng(0).random((30, 12)) < 0.1).astype(np.float32)


# ------------------------------------------------------------------------------------------- raster


def test_raster_marks_are_the_spikes(spikes):
    marks = spikeplot.raster(spikes)
    np.testing.assert_array_equal(marks.get_offsets(), np.argwhere(spikes))
    assert marks.axes.get_xlim() == (-0.5, 29.5)
    assert marks.axes.get_ylim() == (-0.5, 11.5)
    assert marks.axes.get_xlabel() == "time step"
    assert marks.axes.get_ylabel() == "neuron"
    assert marks.axes.get_title().startswith(f"12 neurons, {int(spikes.sum())} spikes")


def test_raster_of_one_sample_of_a_batch(spikes):
    batch = np.stack([np.zeros_like(spikes), spikes], axis=1)
    np.testing.assert_array_equal(spikeplot.raster(batch, batch_index=-1).get_offsets(), np.argwhere(spikes))
    images = batch.reshape(30, 2, 1, 3, 4)
    np.testing.assert_array_equal(spikeplot.raster(images, batch_index=1).get_offsets(), np.argwhere(spikes))
    assert spikeplot.raster(batch, batch_index=0).get_offsets().shape == (0, 2)


def test_raster_as_snntorch_users_call_it(spikes):
    ax = Figure().subplots()
    ax.set_title("mine")
    marks = spikeplot.raster(spikes, ax, s=1.5, c="red")
    assert marks.axes is ax
    assert ax.get_title() == "mine"
    assert marks.get_sizes().tolist() == [1.5]
    np.testing.assert_array_equal(marks.get_facecolor()[0], [1, 0, 0, 1])
    spikeplot.raster(spikes, ax, color="blue", marker="x", linewidths=0.5)


def test_raster_of_a_single_neuron_and_of_silence():
    np.testing.assert_array_equal(spikeplot.raster([0, 1, 0, 1]).get_offsets(), [[1, 0], [3, 0]])
    silent = spikeplot.raster(np.zeros((5, 3)))
    assert silent.axes.get_ylim() == (-0.5, 2.5)
    assert "0 spikes" in silent.axes.get_title()
    assert not pixels(silent.figure)[:, :, 0].all()  # axes and labels are there


def mark_size(neurons, spikes, steps=100, ax=None):
    """Diameter in points of the marks of that many spikes."""
    fired = np.zeros((steps, neurons))
    fired.flat[np.linspace(0, fired.size - 1, spikes).astype(int)] = 1
    return spikeplot.raster(fired, ax).get_sizes()[0] ** 0.5


def test_marks_of_few_spikes_are_large_whatever_the_number_of_neurons():
    assert mark_size(784, 1) == mark_size(784, 250) == mark_size(100, 200) == 3
    assert mark_size(1000, 1000, ax=Figure((4, 3)).subplots()) > 1.5
    sizes = [mark_size(784, spikes) for spikes in (250, 2500, 5000, 50_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1.2


def test_marks_of_many_steps_do_not_run_into_each_other():
    assert mark_size(100, 10_000, steps=5000) < 1.5  # a row would have room for 2.5
    few, many = (spikeplot.raster(np.eye(steps)[:, :10]).get_linewidths()[0] for steps in (20, 1000))
    assert (few, many) == (1.5, 0.7)


def test_marks_of_a_figure_of_its_own_are_sized_by_its_final_layout():
    marks = spikeplot.raster(np.ones((4, 60)))
    before = marks.axes.get_window_extent().height
    pixels(marks.figure)
    assert marks.axes.get_window_extent().height == pytest.approx(before, rel=0.01)


def test_the_title_of_narrow_axes_has_two_lines(spikes):
    figure = Figure(figsize=(9, 8), layout="constrained")
    for ax in figure.subplots(3, 2).flat:
        spikeplot.raster(np.tile(spikes, (1, 100)), ax)
    assert ax.get_title().count("\n") == 1
    assert overlapping_texts(figure) == []
    assert "\n" not in spikeplot.raster(spikes).axes.get_title()


def test_axes_of_one_neuron_or_one_epoch_have_no_fractions():
    one, epoch = spikeplot.raster(np.ones((1, 1))).axes, spikeplot.training_curves(HISTORY[:1])["loss"].axes
    for axis, ticks in ((one.yaxis, [0]), (one.xaxis, [0]), (epoch.xaxis, [1])):
        low, high = axis.get_view_interval()
        assert [tick for tick in axis.get_ticklocs() if low <= tick <= high] == ticks


def test_raster_pixels_are_dark_exactly_where_a_spike_is():
    spikes = np.zeros((10, 4))
    spikes[3, 1] = spikes[8, 2] = 1
    marks = spikeplot.raster(spikes)
    image = pixels(marks.figure)

    def darkest_near(time, neuron):
        x, y = (int(round(value)) for value in marks.axes.transData.transform((time, neuron)))
        row = image.shape[0] - 1 - y  # display coordinates run upwards
        return image[row - 4 : row + 5, x - 3 : x + 4].min()

    assert darkest_near(3, 1) < 60
    assert darkest_near(8, 2) < 60
    assert darkest_near(3, 2) > 200
    assert darkest_near(6, 1) > 200


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 2, 3), {}, r"spikes has shape \(5, 2, 3\): need \(time, neurons\), or batch_index"),
        ((5, 2, 3), {"batch_index": 2}, r"batch_index=2: spikes has shape \(5, 2, 3\)"),
        ((5,), {"batch_index": 0}, r"batch_index=0"),
        ((), {}, r"spikes has shape \(\)"),
    ],
)
def test_raster_refuses_other_shapes(shape, options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.raster(np.zeros(shape), **options)


# ------------------------------------------------------------------------------------------- traces


def test_traces_hold_membrane_threshold_and_spikes(spikes):
    mem = np.random.default_rng(1).normal(size=spikes.shape).astype(np.float32)
    threshold = np.linspace(0.5, 1.5, 12)
    drawn = spikeplot.traces(mem, spikes, threshold=threshold, neurons=[7, 0])
    for line, level, dots, neuron in zip(drawn.mem, drawn.threshold, drawn.spikes, (7, 0)):
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([np.arange(30), mem[:, neuron]]))
        assert set(level.get_ydata()) == {threshold[neuron]}
        at = np.flatnonzero(spikes[:, neuron])
        np.testing.assert_array_equal(dots.get_xydata(), np.column_stack([at, mem[at, neuron]]))
        assert line.axes.get_ylabel() == f"neuron {neuron}"
    assert [line.axes.get_xlabel() for line in drawn.mem] == ["", "time step"]


def test_traces_shows_the_first_neurons_and_one_sample(spikes):
    mem = np.random.default_rng(1).normal(size=(30, 2, 3, 1))
    drawn = spikeplot.traces(mem, batch_index=1)
    assert len(drawn.mem) == 3
    assert drawn.threshold == drawn.spikes == []
    np.testing.assert_array_equal(drawn.mem[2].get_ydata(), mem[:, 1, 2, 0])


@pytest.mark.parametrize("neurons", [1, 2, 4])
def test_panels_of_traces_are_of_a_height_to_read_also_a_single_one(spikes, neurons):
    figure = spikeplot.traces(spikes, spikes, threshold=1.0, neurons=neurons, titles=["a"]).mem[0].figure
    pixels(figure)
    assert min(ax.get_window_extent().height for ax in figure.axes) > 90


def test_traces_draws_on_given_axes(spikes):
    axes = Figure().subplots(2, 2)
    drawn = spikeplot.traces(spikes, axes=axes, threshold=1)
    assert [line.axes for line in drawn.mem] == list(axes.flat)
    assert not axes[0, 0].figure.legends
    single = Figure().subplots()
    assert spikeplot.traces(spikes, axes=single, neurons=1).mem[0].axes is single


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spikes": np.zeros((30, 11))}, r"spikes \(30, 11\) and mem \(30, 12\) must have the same shape"),
        ({"neurons": [12]}, r"neurons=\[12\]: need a count or indices"),
        ({"neurons": 0}, r"neurons=0"),
        ({"threshold": np.ones(3)}, r"threshold has 3 values: need one, or one for each of 12 neurons"),
        ({"axes": Figure().subplots(1, 2)}, r"axes: 2 given, 4 needed"),
    ],
)
def test_traces_refuses_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.traces(np.zeros((30, 12)), **options)


def test_traces_as_snntorch_users_call_it(spikes):
    mem = np.random.default_rng(1).normal(size=spikes.shape)
    for drawn in (
        spikeplot.traces(mem, spikes, (3, 3), spk_height=5, titles=["a", "b"]),
        spikeplot.traces(mem, spk=spikes, dim=(3, 3), spk_height=5, titles=["a", "b"]),
    ):
        assert len(drawn.mem) == 9
        assert drawn.spikes == []
        for neuron, line in enumerate(drawn.mem):
            np.testing.assert_array_equal(line.get_ydata(), mem[:, neuron] + 5 * spikes[:, neuron])
        assert [line.axes.get_title() for line in drawn.mem[:3]] == ["a", "b", "neuron 2"]
        assert len({line.axes.get_ylim() for line in drawn.mem}) == 1
        places = {line.axes.get_subplotspec().rowspan.start for line in drawn.mem}
        assert places == {0, 1, 2}
        assert overlapping_texts(drawn.mem[0].figure) == []


def test_a_grid_with_fewer_neurons_than_panels_shows_what_there_is(spikes):
    drawn = spikeplot.traces(spikes[:, :4], dim=(2, 3))
    assert len(drawn.mem) == len(drawn.mem[0].figure.axes) == 4
    # The third column has one panel: its time must be readable although another row follows.
    assert [line.axes.get_xlabel() for line in drawn.mem] == ["", "time step", "time step", "time step"]
    third = drawn.mem[2].axes
    pixels(third.figure)
    assert [label.get_text() for label in third.get_xticklabels() if label.get_visible()][:2] == ["0", "10"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spikes": np.zeros((30, 12)), "spk": np.zeros((30, 12))}, r"spk is another name of spikes"),
        ({"dim": (0, 3)}, r"dim=\(0, 3\): need \(rows, columns\)"),
        ({"axes": (2, 2), "dim": (2, 2)}, r"axes=\(2, 2\) and dim=\(2, 2\): give one"),
        ({"axes": Figure().subplots(2, 2), "dim": (2, 2)}, r"dim=\(2, 2\) is for a new figure"),
        ({"dim": (1, 2), "neurons": [0, 1, 2]}, r"neurons=\[0, 1, 2\]: need a count or indices of 1 to 2"),
    ],
)
def test_traces_refuses_a_grid_that_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.traces(np.zeros((30, 12)), **options)


# ---------------------------------------------------------------------------------- training curves


def test_training_curves_hold_what_the_rows_have():
    lines = spikeplot.training_curves(HISTORY)
    assert {key: line.get_xydata().tolist() for key, line in lines.items()} == {
        "loss": [[1, 2.0], [2, 1.0], [3, 0.5]],
        "val_loss": [[1, 2.1], [3, 0.8]],
        "accuracy": [[1, 0.3], [2, 0.6], [3, 0.9]],
    }
    assert lines["loss"].axes is lines["val_loss"].axes
    assert lines["accuracy"].axes.get_ylabel() == "accuracy"
    assert [text.get_text() for text in lines["loss"].axes.get_legend().get_texts()] == ["training", "validation"]


def test_training_curves_without_epochs_or_accuracy():
    lines = spikeplot.training_curves({"loss": row["loss"]} for row in HISTORY)
    assert lines["loss"].get_xdata().tolist() == [1, 2, 3]
    assert len(lines["loss"].figure.axes) == 1


def test_training_curves_on_given_axes_and_refusals():
    axes = Figure().subplots(1, 2)
    assert spikeplot.training_curves(HISTORY, axes)["accuracy"].axes is axes[1]
    with pytest.raises(ValueError, match=r"axes: 1 given, 2 needed"):
        spikeplot.training_curves(HISTORY, axes[0])
    with pytest.raises(ValueError, match=r"no row has loss"):
        spikeplot.training_curves([{"epoch": 1}])

"""The viewer of event frames: colours tell polarities apart, and one scale holds for all frames."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import colour_at, frames_of, is_blue, is_orange, nothing_global_changes, pixels  # noqa: E402, F401

OFF, ON = 0, 1


@pytest.fixture
def frames():
    """Four steps of 3 x 5 pixels: an ON event, an OFF event, both in one pixel, nothing."""
    made = np.zeros((4, 2, 3, 5))
    made[0, ON, 0, 0] = made[1, OFF, 2, 4] = made[2, :, 1, 2] = 1
    return made


def test_on_is_blue_off_is_orange_both_are_dark_and_nothing_is_white(frames):
    first, second, third, fourth = spikeplot.event_frames(frames)
    image = pixels(first.figure)
    assert is_blue(colour_at(first.axes, 0, 0, image))
    assert is_orange(colour_at(second.axes, 4, 2, image))
    assert colour_at(third.axes, 2, 1, image).max() < 100
    assert colour_at(fourth.axes, 2, 1, image).min() == 255
    assert [each.axes.get_title() for each in (first, fourth)] == ["step 0", "step 3"]
    assert [text.get_text() for text in first.figure.legends[0].get_texts()] == ["ON: brighter", "OFF: darker"]


def test_colour_grows_with_the_root_of_the_count_on_one_scale():
    counts = np.zeros((2, 1, 1, 3))
    counts[0, 0, 0] = [0, 1, 4]
    counts[1, 0, 0] = [16, 0, 0]
    weak, strong = (image.get_array()[0, :, 0] for image in spikeplot.event_frames(counts))
    full = 1 - strong[0]
    np.testing.assert_allclose(1 - weak, [0, full / 4, full / 2])


def test_frames_of_the_transforms_are_shown_pixel_by_pixel():
    from spikecore.datasets import Events
    from spikecore.datasets.transforms import ToFrames

    events = Events(t=[0, 10, 20], x=[1, 2, 3], y=[0, 1, 2], p=[1, 0, 1], sensor=(5, 3))
    shown = spikeplot.event_frames(ToFrames(steps=3)(events))
    assert [np.argwhere((image.get_array() < 1).any(-1)).tolist() for image in shown] == [[[0, 1]], [[1, 2]], [[2, 3]]]
    assert [is_blue(255 * image.get_array().min((0, 1))) for image in shown] == [True, False, True]


def test_steps_are_spread_from_first_to_last_or_chosen(frames):
    many = np.tile(frames, (5, 1, 1, 1))
    titles = [image.axes.get_title() for image in spikeplot.event_frames(many, steps=3)]
    assert titles == ["step 0", "step 10", "step 19"]
    axes = Figure().subplots(1, 2)
    images = spikeplot.event_frames(many, axes, steps=[5, 0])
    np.testing.assert_array_equal(images[0].get_array(), spikeplot.event_frames(many, steps=[5])[0].get_array())
    assert [image.axes for image in images] == list(axes)
    assert not axes[0].figure.legends


@pytest.mark.parametrize(("steps", "inches"), [(1, 3.0), (2, 3.0), (4, 5.0)])
def test_one_or_two_frames_are_as_wide_as_their_legend(frames, steps, inches):
    assert spikeplot.event_frames(frames, steps=steps)[0].figure.get_figwidth() == inches


def test_one_sample_of_a_batch(frames):
    batch = np.stack([np.zeros_like(frames), frames], axis=1)
    for image, expected in zip(spikeplot.event_frames(batch, batch_index=1), spikeplot.event_frames(frames)):
        np.testing.assert_array_equal(image.get_array(), expected.get_array())


def test_the_animation_shows_frame_after_frame(frames, tmp_path):
    figure = Figure((3, 2.5), dpi=60)
    ax = figure.subplots()
    moving = spikeplot.event_animation(frames, figure, ax, num_steps=3)
    first, second, third = frames_of(moving, tmp_path / "events.gif")
    assert is_blue(colour_at(ax, 0, 0, first))
    assert is_orange(colour_at(ax, 4, 2, second))
    assert colour_at(ax, 0, 0, second).min() > 250  # a GIF has 256 colours
    assert colour_at(ax, 2, 1, third).max() < 110


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((4, 3, 3, 5)), {}, r"frames has shape \(4, 3, 3, 5\): need \(time, polarity, height, width\)"),
        (np.zeros((4, 5)), {}, r"frames has shape \(4, 5\)"),
        (-np.ones((4, 3, 5)), {}, r"values from -1\.0 to -1\.0: need counts"),
        (np.zeros((4, 3, 5)), {"steps": 0}, r"steps=0: need a count or indices of 1 to 64 of the 4 time steps"),
        (np.zeros((4, 3, 5)), {"steps": [4]}, r"steps=\[4\]"),
        (np.zeros((4, 2, 3, 5)), {"batch_index": 2}, r"batch_index=2: frames has shape"),
        (np.zeros((4, 3, 5)), {"axes": Figure().subplots(1, 3)}, r"axes: 3 given, 4 needed"),
    ],
)
def test_event_frames_refuses_what_does_not_fit(values, options, message):
    with pytest.raises(ValueError, match=message):
        spikeplot.event_frames(values, **options)

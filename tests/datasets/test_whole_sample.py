"""``transforms.WholeSample``: recordings of which a network sees all steps at once."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.datasets import DataError, EventDataset, Sound, transforms
from spikecore.datasets.transforms import LogMel


def tone(frequency):
    return Sound(np.sin(np.arange(1600) * 2 * np.pi * frequency / 8000).astype("float32"), 8000)


def test_a_spectrogram_is_one_sample():
    """Without it a batch is time first; with it the steps are an axis of a sample without time."""
    sounds = EventDataset([tone(300.0), tone(900.0)], [0, 1], name="tones").map(LogMel(mels=8))
    whole = sounds.map(transforms.WholeSample())
    assert (sounds.timed, whole.timed) == (True, False)
    assert sounds.batch([0, 1]).shape == (20, 2, 8)
    np.testing.assert_array_equal(whole.batch([0, 1]), np.moveaxis(sounds.batch([0, 1]), 0, 1))
    with pytest.raises(DataError, match="put it behind ToFrames or LogMel"):
        transforms.WholeSample()(tone(300.0))


def test_frames_are_channels_of_one_image():
    frames = np.arange(4 * 2 * 3 * 5).reshape(4, 2, 3, 5)
    np.testing.assert_array_equal(transforms.WholeSample()(frames), frames.reshape(8, 3, 5))

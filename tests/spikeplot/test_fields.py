"""``spikeplot.weights``: which pixel is which weight, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from spikecore import spikeplot  # noqa: E402


def test_each_neuron_is_an_image():
    weight = np.arange(1.0, 31.0).reshape(5, 6)
    picture = spikeplot.weights(weight, shape=(2, 3), columns=2, labels=list("abcde"), colorbar=False)
    found = picture.get_array().filled(np.nan)
    assert found.shape == (3 * 3 - 1, 2 * 4 - 1)  # three rows of two images, with gaps
    assert (found[3:5, 4:7] == weight[3].reshape(2, 3)).all()
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 3]).all()
    assert np.isnan(found[6:, 4:]).all()
    assert [text.get_text() for text in picture.axes.texts] == list("abcde")
    assert picture.get_clim() == (0.0, 30.0)
    assert picture.cmap.name == "Greys"


def test_weights_of_both_signs_share_a_scale_around_zero():
    picture = spikeplot.weights(np.array([[-1.0, 2.0, 0.0, 0.5]]))
    assert (picture.get_clim(), picture.cmap.name) == ((-2.0, 2.0), "RdBu_r")
    filters = np.random.default_rng(0).normal(size=(4, 3, 5, 6))
    found = spikeplot.weights(filters, columns=4).get_array().filled(np.nan)
    assert (found[:, 19:37] == np.concatenate(list(filters[1]), axis=1)).all()  # channels side by side
    assert np.isfinite(spikeplot.weights(np.zeros((3, 4))).get_clim()).all()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("6 inputs are no such image; pass shape", {"weight": np.ones((2, 6))}),
        (r"shape=\(2, 2\) has 4 pixels", {"weight": np.ones((2, 6)), "shape": (2, 2)}),
        ("not empty", {"weight": np.ones((0, 4))}),
        ("need one for each of 2 neurons", {"weight": np.ones((2, 4)), "labels": ["a"]}),
        ("columns=0 must be at least 1", {"weight": np.ones((2, 4)), "columns": 0}),
    ],
)
def test_what_is_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        spikeplot.weights(**arguments)

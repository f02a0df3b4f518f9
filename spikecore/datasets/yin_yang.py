"""The Yin-Yang data set: points in a circle that a linear classifier cannot tell apart, made anew from a seed."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from spikecore.arguments import Size
from spikecore.datasets.errors import DataError, checked
from spikecore.samples import Dataset

RADIUS, DOT = 0.5, 0.1


def _classes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0 for yin, 1 for yang, 2 for the two dots, -1 outside the circle."""
    left, right = np.hypot(x - 0.5 * RADIUS, y - RADIUS), np.hypot(x - 1.5 * RADIUS, y - RADIUS)
    upper = (left <= 0.5 * RADIUS) | ((y > RADIUS) & (right > 0.5 * RADIUS))  # with the head on the left
    classes = np.where(upper, 0, 1)
    classes = np.where((left < DOT) | (right < DOT), 2, classes)
    return np.where(np.hypot(x - RADIUS, y - RADIUS) <= RADIUS, classes, -1)


@checked
def yin_yang(train: Size = 5000, test: Size = 1000, *, seed: int = 0) -> Tuple[Dataset, Dataset]:
    """Points of the Yin-Yang sign as (train, test).

    Inputs are (samples, 4), float32 in [0, 1]: x, y, 1 - x and 1 - y of a point in the unit square. Targets are 0 for
    yin, 1 for yang and 2 for the two dots, equally many of each, in random order; the points of a class are uniform in
    its area. Kriener et al. report about 64 % for a linear classifier, 85 % for a network that learns in its last layer
    only, and 97 to 99 % for networks whose gradient reaches all layers.

    Args:
        train: number of training samples, at least 1; default 5000.
        test: number of test samples, at least 1, drawn after the training samples; default 1000.
        seed: of the points; an integer ≥ 0. Give another one for a third set, e.g. for validation.

    Source: L. Kriener, J. Göltz, M. A. Petrovici, The Yin-Yang dataset, NICE 2022.

    Raises:
        DataError: a number is out of range.
    """
    if seed < 0:
        raise DataError(f"yin_yang: seed={seed!r} must be an integer >= 0")
    generator = np.random.default_rng(seed)
    wanted = generator.permutation(np.arange(train + test) % 3)
    points = np.empty((len(wanted), 2))
    for label in range(3):
        places = np.nonzero(wanted == label)[0]
        accepted = np.empty((0, 2))
        while len(accepted) < len(places):  # a third of the square is yin or yang, a sixteenth dots
            drawn = generator.random((32 * len(places) + 32, 2))
            accepted = np.concatenate([accepted, drawn[_classes(*drawn.T) == label]])
        points[places] = accepted[: len(places)]
    inputs = np.concatenate([points, 1.0 - points], axis=1).astype(np.float32)
    whole = Dataset(inputs, wanted.astype(np.int64), name="Yin-Yang", classes=("yin", "yang", "dot"))
    return whole.split(train)

"""The digits that come with scikit-learn, for tests of the core, which has no data sets."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.samples import Dataset


def digits():
    """1347 samples to train on and 450 by other writers."""
    load = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn").load_digits
    pixels, labels = load(return_X_y=True)
    return Dataset((pixels / 16).astype(np.float32), labels.astype(np.int64)).split(1347, seed=None)

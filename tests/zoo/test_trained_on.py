"""A pretrained network is trained on."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from tests.training.test_fit_again import ADAM, falling


def test_a_pretrained_network_is_trained_on_from_the_schedules_beginning():
    model = sc.zoo.pretrained("fashion_mnist")
    done, steps = model.epochs_done, model.notes["num_steps"]
    assert done > 0
    x, y = np.zeros((4, *model.input_shape), np.float32), np.zeros(4, int)
    model.fit([(x, y)], optimizer=ADAM, epochs=3, schedule=falling, num_steps=steps, progress=False)
    assert [row["lr"] for row in model.history[done:]] == pytest.approx([0.1, 0.2 / 3, 0.1 / 3])

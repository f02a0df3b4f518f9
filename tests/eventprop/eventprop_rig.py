"""What the tests of exact spike times share: tolerances, and a small problem."""

from __future__ import annotations

import numpy as np

from spikecore import eventprop

QUOTIENT = 1e-6  # of the best of several difference quotients: truncation and rounding of a loss in float64
CANCELLING = 1e-10  # of sums in float64 whose terms are much larger and cancel
ROUNDING = 1e-12  # of some thousand operations in float64,
FEW = 1e-14  # and of a few


def small(threshold=None):
    """A network of two layers with parameters, a batch of two and a loss; the last layer fires at ``threshold``."""
    network = eventprop.Network([eventprop.Layer(3, 3), eventprop.Layer(3, 2, threshold=threshold)], 40.0)
    loss = eventprop.first_spike_loss(tau=2.0) if threshold else eventprop.max_membrane_loss()
    return network, network.init(3), np.array([[1.0, 5.0, 8.0], [4.0, 2.0, 12.0]]), [0, 1], loss

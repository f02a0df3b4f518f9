"""Shared parts of residual networks and VGGs: their neuron, and the initial weights of convolutions."""

from __future__ import annotations

import math

from spikecore import IF
from spikecore.init import normal

HARD_IF = IF(reset_mechanism="zero")


def he_normal(outs: int, kernel: int) -> normal:
    """Weights with which gradients keep their size on the way back (He et al., 2015).

    Args:
        outs: channels that the convolution gives.
        kernel: its height and width.
    """
    return normal(std=math.sqrt(2.0 / (outs * kernel * kernel)))

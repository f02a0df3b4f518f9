"""Networks and inputs for the tests of streams and of runs on events."""

from __future__ import annotations

import math

import numpy as np

import spikecore as sc
from spikecore.api.core.layer import shapes_of


def spikes(*shape, rate=0.3, seed=0):
    """Zeros and ones, float32."""
    return (np.random.default_rng(seed).random(shape) < rate).astype("float32")


def exact(model, scale=2.0):
    """The model with weights that float32 adds up without rounding, in whatever order."""
    state = model.state()
    for name, array in state["params"].items():
        if name.endswith(("weight", "bias")):
            state["params"][name] = np.round(array * 64 * (scale if array.ndim > 1 else 1)) / 64
    model.load_state(state)
    return model


def drawn_network(seed):
    """A network of dense layers (odd seeds) or convolutions with neurons that are drawn, and the shape of a sample."""
    draw = np.random.default_rng(seed)
    neurons = [
        lambda: sc.Leaky(beta=0.5, reset_mechanism=str(draw.choice(["subtract", "zero", "none", "subtract_decayed"]))),
        lambda: sc.Leaky(beta=0.5, threshold=0.75, reset_delay=False),
        lambda: sc.IF(threshold=1.5),
        lambda: sc.Lapicque(R=2.0, C=1.0, threshold=0.5),
        lambda: sc.Synaptic(alpha=0.5, beta=0.25),
        lambda: sc.ALIF(beta=0.5, rho=0.75, adaptation=0.5),
        lambda: sc.Refractory(sc.Leaky(beta=0.5), period=2),
        lambda: sc.DeltaLeaky(beta=0.5, delta_threshold=0.25),
    ]

    def neuron():
        return neurons[draw.integers(len(neurons))]()

    if seed % 2:
        residual = sc.Residual(sc.Sequential(sc.Linear(70, 70), neuron()))
        recurrent = sc.Recurrent(sc.Leaky(beta=0.5), sc.Linear(70, 70))
        return sc.Sequential(sc.Linear(130, 70), neuron(), residual, recurrent, sc.Linear(70, 9), neuron()), (130,)
    stride, shape = int(draw.integers(1, 3)), (2, 16, 16)
    maps = [sc.Conv2d(2, 4, 3, stride=stride, padding=1), neuron(), sc.AvgPool2d(2), sc.Conv2d(4, 6, 3, groups=2)]
    body = sc.Sequential(*maps, neuron(), sc.MaxPool2d(2), neuron(), sc.Flatten())
    return sc.Sequential(*body.layers, sc.Linear(math.prod(shapes_of(body, shape).shape), 9), neuron()), shape

"""Streams: what they refuse, what they keep, and that the compiled one is what it says."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import ShapeError

DENSE = sc.Sequential(sc.Linear(64, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9))


def spikes(*shape, rate=0.3, seed=0):
    return (np.random.default_rng(seed).random(shape) < rate).astype("float32")


def exact(model):
    """The model with weights that float32 adds up without rounding, in whatever order."""
    state = model.state()
    for name, array in state["params"].items():
        if name.endswith(("weight", "bias")):
            state["params"][name] = np.round(array * 64 * (3 if array.ndim > 1 else 1)) / 64
    model.load_state(state)
    return model


def drawn_network(seed):
    """A network of convolutions or dense layers with neurons that are drawn, and the shape of a sample."""
    draw = np.random.default_rng(seed)
    neurons = [
        lambda: sc.Leaky(beta=0.5, reset_mechanism=str(draw.choice(["subtract", "zero", "none"]))),
        lambda: sc.Leaky(beta=0.5, threshold=0.75, reset_delay=False),
        lambda: sc.IF(threshold=1.5),
        lambda: sc.Synaptic(alpha=0.5, beta=0.25),
        lambda: sc.ALIF(beta=0.5, rho=0.75, adaptation=0.5),
        lambda: sc.Refractory(sc.Leaky(beta=0.5), period=2),
        lambda: sc.Leaky(beta=draw.choice([0.25, 0.5, 1.0], 1)),
    ]
    neuron = lambda: neurons[draw.integers(len(neurons))]()  # noqa: E731
    if seed % 2:
        body = [sc.Linear(30, 70), neuron(), sc.Residual(sc.Sequential(sc.Linear(70, 70), neuron())), sc.Linear(70, 9)]
        return sc.Sequential(*body, neuron()), (30,)
    stride = int(draw.integers(1, 3))
    body = [sc.Conv2d(2, 4, 3, stride=stride, padding=1), neuron(), sc.AvgPool2d(2), sc.Conv2d(4, 6, 3, groups=2)]
    return sc.Sequential(*body, neuron(), sc.MaxPool2d(2), neuron(), sc.Flatten(), sc.LazyLinear(9), neuron()), (
        2,
        16,
        16,
    )

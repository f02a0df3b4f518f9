"""Networks and calls of a newcomer who knows PyTorch and snnTorch."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc

X, Y = np.random.default_rng(0).random((6, 5)), np.array([0, 1, 2, 0, 1, 2])
SPIKES = np.zeros((4, 6, 3))


def network():
    return sc.Sequential(sc.Linear(5, 3), sc.Leaky())


def fit(data=((X, Y),), **options):
    return sc.Model(network(), "numpy").fit(data, num_steps=2, progress=False, **options)


def refuses(act, message, kind=TypeError):
    with pytest.raises(kind, match=message):
        act()


def run(net=None, **options):
    return sc.Model(net or network(), "numpy")(X, num_steps=2, **options)


def model(**options):
    return sc.Model(network(), "numpy", **options)


def out():
    return model()(X, num_steps=2)

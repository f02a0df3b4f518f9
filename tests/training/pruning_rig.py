"""A network to prune, its training, and where it has no connections."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.samples import Loader

X = np.random.default_rng(0).random((26, 6)).astype("float32")
Y = X[:, :3].argmax(1).astype("int64")
NETWORK = sc.Sequential(
    sc.Linear(6, 16), sc.RLeaky(beta=sc.learn(0.8, per="neuron"), threshold=0.5, linear_features=16),
    sc.Linear(16, 3), sc.Leaky(beta=0.7, threshold=0.5),
)  # fmt: skip
WEIGHTS = ("0.weight", "1.connection.weight", "2.weight")
SIZES = {"0.weight": 96, "1.connection.weight": 256, "2.weight": 48}
KEEPING = sc.Adam(lr=0.01, keep_zeros=True)
ENGINES = pytest.mark.parametrize("engine", ["numpy", "torch"])


def fresh(engine="numpy", **options):
    return sc.Model(NETWORK, engine, seed=3, **options)


def fit(model, *callbacks, optimizer=KEEPING, epochs=4, **options):
    """Four updates per epoch."""
    data = Loader(X, Y, batch_size=7, seed=1)
    model.fit(data, optimizer=optimizer, epochs=epochs, num_steps=4, progress=False, callbacks=callbacks, **options)
    return model


def absent(model):
    return {name: model.params()[name] == 0 for name in WEIGHTS}


def counts(model):
    return {name: int(gone.sum()) for name, gone in absent(model).items()}

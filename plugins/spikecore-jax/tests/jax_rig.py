"""The network and the data that the tests train, and the comparison of weights."""

from __future__ import annotations

import numpy as np

import spikecore as sc
from spikecore.conformance.rig import assert_close, normal

NET = sc.Sequential(
    sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.8), threshold=0.5), sc.Dropout(0.3), sc.Linear(8, 3), sc.Leaky(beta=0.7)
)
X, LABELS = np.abs(normal(7, 10, 6)) + 0.3, np.arange(10) % 3


def data(batches=4):
    return [(X + 0.1 * i, LABELS) for i in range(batches)]


def trained(engine, epochs=2, net=NET, **options):
    model = sc.Model(net, engine=engine, dtype="float64", seed=3)
    return fitted(model, epochs, **options)


def fitted(model, epochs, **options):
    optimizer = sc.Adam(lr=0.01, clip_norm=options.pop("clip_norm", None))
    model.fit(data(), optimizer=optimizer, epochs=epochs, progress=False, **options)
    return model


def assert_same_weights(a, b, limit=1e-10):
    for name, x in b.params().items():
        assert_close(a.params()[name], x, limit, name)

"""What the tests of the IPU engine share: networks, batches, models in the simulation."""

from __future__ import annotations

import numpy as np

import spikecore as sc
from spikecore import functional

NET = sc.Sequential(sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.8)), sc.Linear(8, 3), sc.Leaky(threshold=0.7))
NORMALISED = sc.Sequential(
    sc.Linear(6, 8, bias=False),  # before BatchNorm a bias has no gradient but rounding noise, which Adam blows up
    sc.BatchNorm1d(8),
    sc.Leaky(),
    sc.Dropout(0.3),
    sc.Linear(8, 3),
    sc.Leaky(),
)
LOSS = functional.ce_count_loss() + 0.3 * functional.mse_membrane_loss()


def batch(samples=8, seed=0):
    """Inputs (batch, 6) and labels."""
    rng = np.random.default_rng((seed, samples))
    return rng.normal(size=(samples, 6)).astype("float32") + 0.5, rng.integers(0, 3, samples)


def model(network=NET, **options):
    """A model on the simulated IPU."""
    return sc.Model(network, "ipu", simulate=True, **options)


def difference(a, b):
    """The largest difference of a weight of two models."""
    a, b = a.params(), b.params()
    return max(float(abs(a[name] - b[name]).max()) for name in b)


def fitted(one, data, **options):
    """A model after ``fit``."""
    options = {"optimizer": sc.SGD(lr=0.1), "loss": LOSS, "num_steps": 5, "progress": False, **options}
    one.fit(data, **options)
    return one


def some(cases):
    """One of each class of layers, which the default suite takes."""
    return list({type(case.layer): case for case in reversed(cases)}.values())[::-1]


def others(cases):
    """The cases that ``some`` leaves out."""
    taken = {case.name for case in some(cases)}
    return [case for case in cases if case.name not in taken]

"""The same training through the real PopTorch, where it is installed: on Graphcore's IPU Model, or on an IPU.

Nobody has run these tests yet.
"""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc

NET = sc.Sequential(sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.8)), sc.Linear(8, 3), sc.Leaky())


def check_training(update_every=None, **options):
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(8, 6)).astype("float32") + 0.5, rng.integers(0, 3, 8)) for _ in range(3)]
    models = [sc.Model(NET, engine) for engine in (sc.get_engine("ipu", **options), sc.get_engine("torch"))]
    for one in models:
        fitting = {"epochs": 2, "num_steps": 6, "update_every": update_every, "validation": data[:1]}
        one.fit(data, optimizer=sc.SGD(lr=0.1), **fitting, progress=False)
    ours, theirs = (one.params() for one in models)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)


@pytest.mark.ipu_model
def test_training_on_the_ipu_model():
    check_training(use_ipu_model=True)
    check_training(use_ipu_model=True, update_every=2, inference_loop=True)


@pytest.mark.ipu
def test_training_on_an_ipu():
    check_training()
    check_training(gradient_accumulation=2, device_iterations=1)
    check_training(update_every=2, inference_loop=True)

"""Sparse connectivity: the same connections go and come on every engine, by a reference in plain NumPy."""

from __future__ import annotations

import numpy as np

import spikecore as sc
from spikecore.conformance.rig import assert_close, normal

NETWORK = sc.Sequential(
    sc.Conv2d(1, 3, 2), sc.Leaky(threshold=0.2), sc.Flatten(), sc.Linear(12, 6),
    sc.RLeaky(linear_features=6, threshold=0.2),
)  # fmt: skip
WEIGHTS = ("0.weight", "3.weight", "4.connection.weight")
X = abs(normal(5, 2, 1, 3, 3))


def model(engine):
    return sc.Model(NETWORK, engine, seed=2, input_shape=(1, 3, 3))


def smallest(weights, count):
    """Places of the ``count`` smallest of several weights: a mask for each."""
    order = sorted((abs(x), name, i) for name, w in weights.items() for i, x in enumerate(w.reshape(-1)))
    gone = {(name, i) for _, name, i in order[:count]}
    return {name: np.array([(name, i) in gone for i in range(w.size)]).reshape(w.shape) for name, w in weights.items()}


def check_prune(engine):
    """The smallest weights of all layers are zero, and the network computes what it does with these weights."""
    pruned, dense = model(engine), model(engine)
    before = {name: dense.params()[name] for name in WEIGHTS}
    total = sum(w.size for w in before.values())
    report = sc.compression.prune(pruned, 0.6)
    masks = smallest(before, round(0.6 * total))
    state = dense.state()
    for name, mask in masks.items():
        assert np.array_equal(pruned.params()[name] == 0, mask), name
        state["params"][name] = np.where(mask, 0.0, before[name])
    dense.load_state(state)
    assert report.possible - report.existing == round(0.6 * total)
    out = pruned(X), dense(X)
    assert_close(*(engine.to_numpy(one.spikes) for one in out), 0.0)
    assert engine.to_numpy(out[0].spikes).any()


def test_prune(engine):
    check_prune(engine)


def check_rewire(engine):
    """As many connections of each weight come as go: the smallest go, and new ones come where there was none."""
    sparse = model(engine)
    sc.compression.prune(sparse, 0.5, scope="layer")
    before = sparse.params()
    sc.compression.rewire(sparse, 0.4, seed=5)
    after = sparse.params()
    for name in WEIGHTS:
        gone, new = (before[name] != 0) & (after[name] == 0), (before[name] == 0) & (after[name] != 0)
        count = round(0.4 * (before[name] != 0).sum())
        assert gone.sum() == new.sum() == count, name
        kept = (before[name] != 0) & ~gone
        assert abs(before[name][gone]).max() <= abs(before[name][kept]).min(), name
        assert np.array_equal(before[name][kept], after[name][kept])
    return {name: after[name] != 0 for name in WEIGHTS}


def test_rewire(engine):
    """Equal seeds draw equal places on every engine."""
    expected = check_rewire(sc.get_engine("numpy", dtype="float64"))
    found = check_rewire(engine)
    assert all(np.array_equal(found[name], mask) for name, mask in expected.items())

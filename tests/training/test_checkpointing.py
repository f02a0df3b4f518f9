"""``checkpoint_every=k``: fewer states kept, the same gradients."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten, map_leaves
from spikecore.api.core.variants import unfused, with_dtype

STEPS = 13
NEURONS = [
    sc.Leaky(beta=sc.learn(0.8), threshold=sc.learn(0.5), graded_spikes_factor=sc.learn(1.5)),
    sc.RLeaky(beta=sc.learn(0.8), linear_features=5, threshold=0.5),
    sc.SLSTM(input_size=5, hidden_size=5),
]


def gradients(engine, layer, *, constant=False, window=None, record=False, shape=(3, 5), steps=STEPS):
    x = np.random.default_rng(0).random((1 if constant else steps, *shape))
    init = layer.init(Key((0,)), shape[1:])
    held = Tree(params=map_leaves(engine.asarray, init.params), x=engine.asarray(x))
    weights = engine.asarray(np.random.default_rng(1).random((steps, *shape)))

    def function(held, w):
        run = Pass(engine, steps if constant else None, record=record, window=window)
        out = layer.run(run, held.params, Tree(), None, held.x)
        extra = engine.xp.sum(w * out.recorded.mem) if record else 0.0
        return engine.xp.sum(w * out.outputs) + extra, ()

    value, _, grads = engine.value_and_grad(function, held, weights)
    return float(value), {name: engine.to_numpy(g) for name, g in flatten(grads).items()}


@pytest.mark.parametrize("options", [{}, {"constant": True}, {"window": 4}, {"record": True}], ids=str)
@pytest.mark.parametrize("every", [1, 3, 12, 13, 50])
@pytest.mark.parametrize("layer", NEURONS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_gradients_do_not_depend_on_it(name, layer, every, options):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    value, expected = gradients(sc.get_engine(name, dtype="float64", fused=False), layer, **options)
    engine = sc.get_engine(name, dtype="float64", fused=False, checkpoint_every=every)
    again, found = gradients(engine, layer, **options)
    assert again == value
    for field, g in expected.items():
        assert np.array_equal(g, found[field]), field
        assert abs(g).max() > 0 or field.endswith("bias")


def peak(engine):
    tracemalloc.start()
    gradients(engine, sc.Leaky(beta=0.8), constant=True, shape=(1, 20_000), steps=100)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_it_saves_memory():
    state = 100 * 20_000 * 4
    saved = peak(sc.get_engine("numpy", fused=False)) - peak(sc.get_engine("numpy", fused=False, checkpoint_every=10))
    assert saved > 0.5 * state  # 20 of 100 states at a time; the peak then lies elsewhere, where the loss is computed


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_bad_number_is_refused(name):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(ValueError, match="checkpoint_every=0 must be a number of steps, at least 1, or None"):
        sc.get_engine(name, checkpoint_every=0)


def test_copies_of_an_engine_keep_it():
    engine = sc.get_engine("numpy", checkpoint_every=4)
    assert with_dtype(engine, "float64").checkpoint_every == unfused(engine).checkpoint_every == 4

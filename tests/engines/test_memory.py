"""BPTT on the numpy engine keeps states, not steps."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Tree, map_leaves
from spikecore.engines.numpy.tape import Tape

STEPS, BATCH, NEURONS = 100, 128, 512


@pytest.mark.parametrize(
    "layer",
    [sc.Leaky(beta=0.9), sc.Leaky(beta=sc.learn(0.9), threshold=sc.learn(1.0, per="neuron"))],
    ids=["fixed", "learned"],
)
@pytest.mark.parametrize("fused", [False, True], ids=["loop", "fused"])
def test_peak_memory_of_bptt(layer, fused):
    """At most 1.3 times inputs, upstream gradient, outputs, states and input gradient: five arrays over time."""
    if fused:
        pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    engine = sc.get_engine("numpy", fused=fused)
    rng = np.random.default_rng(0)
    x, upstream = (rng.random((STEPS, BATCH, NEURONS), dtype=np.float32) for _ in range(2))
    held = Tree(params=map_leaves(engine.asarray, layer.init(Key((0,)), (NEURONS,)).params), x=x)

    def forward_and_backward():
        tape = Tape(engine)
        lifted = map_leaves(tape.variable, held)
        params = layer.prepare(engine, lifted.params)
        spikes, _, _ = engine.scan(layer, params, layer.rest(engine, params, lifted.x[0, ...]), lifted.x)
        return tape.backward({spikes.slot: upstream})[lifted.x.slot]

    forward_and_backward()  # compiles, where there is something to compile
    tracemalloc.start()
    try:
        gradient = forward_and_backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    arrays = (peak + x.nbytes + upstream.nbytes) / x.nbytes
    assert gradient.shape == x.shape
    assert arrays <= 1.3 * 5
    assert arrays <= (5 if not fused else 4) * 1.1, "a kernel keeps no states, the loop nothing but states"


@pytest.mark.parametrize("fused", [False, True], ids=["loop", "fused"])
def test_a_batch_is_gone_after_its_update(fused):
    """Training takes the memory of one batch, not of all batches until Python looks for circles of references."""
    if fused:
        pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    neurons = sc.Conv1d(1, 4, 3), sc.Leaky(beta=0.5), sc.Conv1d(4, 4, 3), sc.Leaky(beta=0.5)
    network = sc.Sequential(*neurons, sc.Flatten(), sc.Linear(48, 2), sc.Leaky(beta=0.9))
    model = sc.Model(network, engine=sc.get_engine("numpy", fused=fused), seed=0)
    x = np.random.default_rng(0).random((12, 1, 16), dtype=np.float32)
    gc.disable()
    try:
        model.fit(x, np.arange(12) % 2, num_steps=4, batch_size=4, epochs=1, progress=False)
        held = [thing for thing in gc.get_objects() if type(thing) is Tape and thing.nodes]
    finally:
        gc.enable()
    assert not held

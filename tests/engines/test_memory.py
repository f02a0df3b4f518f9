"""BPTT on the numpy engine keeps states, not steps."""

from __future__ import annotations

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

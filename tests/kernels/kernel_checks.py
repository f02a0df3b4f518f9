"""What the tests of CPU kernels share: a run and its gradients, and the comparison of kernels with the loop."""

from __future__ import annotations

import numpy as np

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten, map_leaves

L = sc.learn
QUICK = [
    sc.Leaky(beta=L(0.8), threshold=L(0.5, per="neuron"), graded_spikes_factor=L(1.5)),
    sc.Leaky(
        beta=0.8, threshold=0.5, reset_mechanism="zero", reset_delay=False, surrogate=sc.surrogate.fast_sigmoid(5.0)
    ),
    sc.Synaptic(alpha=L(0.6), beta=L(0.7, per="neuron"), threshold=0.5),
    sc.ALIF(beta=L(0.8), rho=0.9, adaptation=L(1.0), threshold=0.4),
    sc.RLeaky(beta=L(0.7, per="neuron"), linear_features=5, threshold=L(0.5)),
]
#: Their states enter a step in several places; autograd adds the shares one by one, a kernel adds their sum.
OTHER_ORDER = (sc.Alpha, sc.DeltaLeaky, sc.Izhikevich)
APPROXIMATE = (sc.surrogate.sigmoid, sc.surrogate.gaussian)  # the kernels' exp is not torch's
SHAPE = (5,)


def run(engine, layer, steps=13, batch=3, constant=False, window=None, shape=SHAPE):
    """Outputs, membranes, and gradients by input and parameters of a random functional of both."""
    x = np.random.default_rng(0).random((1 if constant else steps, batch, *shape))
    init = layer.init(Key((0,)), shape)
    held = Tree(params=map_leaves(engine.asarray, init.params), x=engine.asarray(x))
    weights = engine.asarray(np.random.default_rng(1).random((steps, batch, *shape)))

    def function(held, w):
        out = layer.run(
            Pass(engine, steps if constant else None, record=True, window=window), held.params, Tree(), None, held.x
        )
        return engine.xp.sum(w * out.outputs) + engine.xp.sum(0.3 * w * out.recorded.mem), (
            out.outputs,
            out.recorded.mem,
        )

    _, (outputs, mem), grads = engine.value_and_grad(function, held, weights)
    return engine.to_numpy(outputs), engine.to_numpy(mem), {n: engine.to_numpy(g) for n, g in flatten(grads).items()}


def check(name, dtype, layer, **options):
    loop, fast = (run(sc.get_engine(name, dtype=dtype, fused=fused), layer, **options) for fused in (False, True))
    assert np.array_equal(loop[0], fast[0])
    assert np.array_equal(loop[1], fast[1])
    assert np.mean(loop[0] != 0) > 0.02
    surrogate = layer.core[0].surrogate
    exact = not isinstance(surrogate, APPROXIMATE) and not (name == "torch" and isinstance(layer, OTHER_ORDER))
    close = {"float32": 1e-6, "float64": 1e-14}[dtype]
    for field, expected in loop[2].items():
        if field == "x" and exact:
            assert np.array_equal(expected, fast[2][field]), f"bits of the gradient by {field}"
        else:
            scale = abs(expected).max()
            limit = 5e-6 if isinstance(layer, sc.Alpha) and dtype == "float32" else close
            assert abs(expected - fast[2][field]).max() <= limit * scale, field


def name_of(layer):
    return f"{type(layer).__name__}-{getattr(layer, 'reset_mechanism', '')}-{type(layer.core[0].surrogate).__name__}"

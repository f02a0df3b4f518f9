"""Every neuron with every surrogate: outputs and gradients in float64 equal those of the NumPy and the torch engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("jax", reason="the engine computes with JAX: pip install jax")

import jax

import spikecore as sc
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, assert_trees_close, differentiate, normal, run

LIMIT = 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.NEURONS, ids=lambda case: case.name)
def test_every_neuron_with_every_surrogate(case):
    """Operation by operation; the compiled scan of each neuron is compared by the conformance suite."""
    layer = case.layer
    any_surrogate = hasattr(layer, "surrogate") and not isinstance(layer, sc.ILIF)  # whose gradient is a rectangle
    kinds = [one for _, one in cases.SURROGATES] if any_surrogate else [None]
    net = sc.Concat(*(layer if one is None else replace(layer, surrogate=one) for one in kinds))
    x = normal(8, 2, *case.shape) + 0.5
    engine = sc.get_engine("jax", dtype="float64")
    with engine.isolated(), jax.disable_jit():
        outputs, grads = run(engine, net, x).outputs, differentiate(engine, net, x)[1]
    for name in ("numpy", "torch"):
        other = sc.get_engine(name, dtype="float64", fused=False)
        assert_close(outputs, run(other, net, x).outputs, LIMIT, name)
        assert_trees_close(grads, differentiate(other, net, x)[1], LIMIT)

"""Every neuron against its equation, written out with NumPy in ``equations.py``."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Tree
from spikecore.conformance import equations, reset_equations
from spikecore.conformance.rig import assert_close, normal, run

IDS = [type(case[0]).__name__ for case in equations.CASES]
NEURONS = pytest.mark.parametrize("case", equations.CASES, ids=IDS)


def plain(tree):
    return {name: plain(value) if isinstance(value, Tree) else value for name, value in tree.items()}


def check_equation(engine, case):
    layer, oracle, shape, scale, _ = case
    x = scale * abs(normal(9, 3, *shape))
    weights = plain(layer.init(Key((0, "weights")), shape).params)
    expected = oracle(x, weights)
    assert (expected != 0).mean() > 0.02, "the case is too quiet to show anything"
    assert_close(run(engine, layer, x).outputs, expected, 1e-12, "outputs")


@NEURONS
def test_the_neuron_follows_its_equation(engine, case):
    check_equation(engine, case)


# ---- every reset ---------------------------------------------------------------------------------------------------

RESETS = pytest.mark.parametrize(
    "case", reset_equations.CASES, ids=[type(c.layer).__name__ for c in reset_equations.CASES]
)


def check_resets(engine, case):
    """Outputs and membranes under each reset of a neuron, delayed and at once, where it has these."""
    shape = (2, 4, 3) if isinstance(case.layer, sc.SConv2dLSTM) else (5,)
    x = 2.0 * normal(case.steps, 3, *shape, seed=7) + 0.2
    for reset, delayed, layer in reset_equations.ways(case):
        weights = plain(layer.init(Key((0, "weights")), shape).params)
        expected, membranes = reset_equations.outputs(case, x, weights, (3, *shape), reset, delayed)
        found, name = run(engine, layer, x), f"{reset}, {'delayed' if delayed else 'at once'}"
        assert (expected != 0).mean() > 0.02, f"{name}: too quiet to show anything"
        assert_close(found.outputs, expected, 1e-12, f"outputs, {name}")
        assert_close(found.recorded.mem, membranes, 1e-12, f"membranes, {name}")


@RESETS
def test_the_neuron_follows_each_of_its_resets(engine, case):
    check_resets(engine, case)


@pytest.mark.parametrize("reset", sc.Alpha.resets)
def test_alpha_follows_each_of_its_resets(engine, reset):
    x = normal(12, 3, 5, seed=7) + 0.2
    layer = sc.Alpha(alpha=0.9, beta=0.8, threshold=0.4, reset_mechanism=reset)
    assert_close(run(engine, layer, x).outputs, reset_equations.alpha(x, reset), 1e-12, "outputs")

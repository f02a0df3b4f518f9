"""Every neuron against its equation, written out with NumPy in ``equations.py``."""

from __future__ import annotations

import pytest

from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Tree
from spikecore.conformance import equations
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

"""Neurons without reset computed at once against the loop over steps, whatever the number of steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

import spikecore as sc
from spikecore.api.core.tree import Tree, flatten
from spikecore.conformance.rig import assert_close, assert_trees_close, differentiate, normal, run

NEURONS = [
    (sc.LI(beta=sc.learn(0.8), parallel=True), (5,)),
    (sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=0.5, reset_mechanism="none", parallel=True), (5,)),
    (sc.Leaky(beta=sc.learn(0.8, per="channel"), threshold=0.5, reset_mechanism="none", parallel=True), (2, 3, 3)),
    (sc.Synaptic(alpha=sc.learn(0.6), beta=sc.learn(0.7), reset_mechanism="none", parallel=True), (5,)),
    (sc.DeltaLeaky(beta=sc.learn(0.8), delta_threshold=0.6, parallel=True), (5,)),
    (sc.StateLeaky(beta=sc.learn(0.8), threshold=0.5), (5,)),
    (sc.LinearLeaky(beta=0.9, in_features=5, out_features=4, threshold=0.3), (5,)),
    (sc.AssociativeLeaky(in_dim=5, d_value=2, d_key=3, threshold=0.1), (5,)),
]


@pytest.mark.parametrize("steps", [1, 2, 17, 1000])
@pytest.mark.parametrize(("layer", "shape"), NEURONS, ids=lambda part: type(part).__name__)
def test_all_steps_at_once_equal_one_step_after_the_other(engine, layer, shape, steps):
    x = normal(steps, 2, *shape)
    loop = replace(layer, parallel=False)
    ours, theirs = run(engine, layer, x), run(engine, loop, x)
    assert_close(ours.recorded.mem, theirs.recorded.mem, 1e-12, "membranes")
    assert_close(ours.outputs, theirs.outputs, 1e-12, "outputs")
    assert_trees_close(Tree(ours.state), Tree(theirs.state), 1e-12)
    (_, found), (_, expected) = (differentiate(engine, one, x) for one in (layer, loop))
    assert_trees_close(Tree(flatten(found)), Tree(flatten(expected)), 1e-10)

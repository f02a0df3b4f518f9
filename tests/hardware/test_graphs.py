"""Graphs on chips: they fit where the container fits that joins as they do."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.base import Concatenation, Sum


@pytest.mark.parametrize("merge", [Concatenation(), Sum()])
def test_a_graph_needs_what_the_container_needs_that_joins_alike(merge):
    sides = (sc.Sequential(sc.Linear(4, 3), sc.Leaky()), sc.Sequential(sc.Linear(4, 3), sc.Leaky()))
    container = (sc.Concat if isinstance(merge, Concatenation) else sc.Add)(*sides)
    graph = sc.Graph(("a", "b", "both"), (*sides, merge), (("input",), ("input",), ("a", "b")), ("both",))
    said = [
        [
            (one.what, one.error)
            for one in sc.hardware.check(sc.Model(net, "numpy", input_shape=(4,)), "loihi").objections
        ]
        for net in (graph, container)
    ]
    assert said[0] == said[1]

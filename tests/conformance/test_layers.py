"""Layers: the suite's cases, which are complete."""

from __future__ import annotations

from spikecore.conformance import cases
from spikecore.conformance.test_layers import *  # noqa: F403


def test_every_layer_has_a_case():
    from spikecore.api.core.layer import Stateless
    from spikecore.api.training.checkpoint import known_classes

    layers = {
        one
        for one in known_classes().values()
        if issubclass(one, Stateless)
        and one.__module__.startswith("spikecore.api.")
        and not one.__name__.startswith("_")
    }
    assert layers == {type(case.layer) for case in cases.LAYERS}

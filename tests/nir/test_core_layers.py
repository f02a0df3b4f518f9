"""Layers and models of the core in NIR: what has no node, and what a pruned network keeps."""

from __future__ import annotations

import pytest

import spikecore as sc
from tests.core.test_psn import CAUSAL, STEPS, net

nir = pytest.importorskip("nir", reason="the NIR package is not installed (extra 'nir')")


def test_nir_has_no_such_node():
    for layer in (sc.PSN(num_steps=STEPS), *CAUSAL[::2]):
        with pytest.raises(ValueError, match=rf"layer 1 \({type(layer).__name__}\): NIR has no such node"):
            sc.nir.export_to_nir(sc.Model(net(layer), "numpy"))


def test_nir_has_the_same_connections(tmp_path):
    neuron = sc.Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False)
    model = sc.Model(sc.Sequential(sc.Linear(6, 4), neuron, sc.Linear(4, 3), neuron))
    sc.compression.prune(model, 0.5)
    nir.write(tmp_path / "net.nir", sc.nir.export_to_nir(model))
    again = sc.nir.model_from_nir(nir.read(tmp_path / "net.nir"))
    assert [row[2:] for row in sc.compression.sparsity(again).weights] == [
        row[2:] for row in sc.compression.sparsity(model).weights
    ]
    assert sc.compression.sparsity(again).sparsity == 0.5

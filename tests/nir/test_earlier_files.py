"""A file of NIR and weights of a module that an earlier version wrote: the same spikes to the last bit."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np
import pytest

pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
torch = pytest.importorskip("torch", reason="modules need torch")

import spikecore.nn as snn  # noqa: E402
from spikecore.nir import import_from_nir, model_from_nir  # noqa: E402
from tests import ROOT  # noqa: E402

HERE = pathlib.Path(__file__).parent / "earlier"


def test_a_nir_file_gives_the_same_spikes_as_a_model_and_as_a_module(tmp_path):
    outputs = dict(np.load(ROOT / "tests" / "core" / "earlier" / "outputs.npz"))
    path = tmp_path / "graph.nir"
    path.write_bytes(gzip.decompress((HERE / "graph.nir.gz").read_bytes()))
    np.testing.assert_array_equal(model_from_nir(path, engine="numpy")(outputs["graph_x"]).spikes, outputs["graph"])
    net = import_from_nir(path)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
    net.load_state_dict(torch.load(HERE / "graph.pt", weights_only=True))  # its keys begin with "layers."
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    spikes = snn.run(net, torch.as_tensor(outputs["graph_x"]))
    np.testing.assert_array_equal(spikes.detach().numpy(), outputs["graph"])

"""Files of earlier versions, in ``earlier/``: each kind of container, and a graph that was read from NIR.

They were written before all containers became graphs of layers and merges; ``outputs.npz`` has inputs, and the spikes
that those versions computed.
"""

from __future__ import annotations

import gzip
import pathlib

import numpy as np
import pytest

import spikecore as sc

HERE = pathlib.Path(__file__).parent / "earlier"


@pytest.fixture(scope="module")
def outputs():
    return dict(np.load(HERE / "outputs.npz"))


@pytest.mark.parametrize("name", ["containers", "graph"])
def test_a_checkpoint_gives_the_same_spikes_to_the_last_bit(name, outputs):
    spikes = sc.load(HERE / f"{name}.safetensors")(outputs[f"{name}_x"]).spikes
    assert spikes.any()
    assert not spikes.all()
    np.testing.assert_array_equal(spikes, outputs[name])


def test_the_name_that_a_graph_had_may_still_be_given(outputs):
    model = sc.load(HERE / "graph.safetensors", classes=[sc.Graph])
    np.testing.assert_array_equal(model(outputs["graph_x"]).spikes, outputs["graph"])


def test_a_nir_file_gives_the_same_spikes_as_a_model_and_as_a_module(outputs, tmp_path):
    pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
    from spikecore.nir import import_from_nir, model_from_nir

    path = tmp_path / "graph.nir"
    path.write_bytes(gzip.decompress((HERE / "graph.nir.gz").read_bytes()))
    np.testing.assert_array_equal(model_from_nir(path, engine="numpy")(outputs["graph_x"]).spikes, outputs["graph"])
    torch = pytest.importorskip("torch", reason="modules need torch")
    import spikecore.nn as snn

    net = import_from_nir(path)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
    net.load_state_dict(torch.load(HERE / "graph.pt", weights_only=True))  # its keys begin with "layers."
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    spikes = snn.run(net, torch.as_tensor(outputs["graph_x"]))
    np.testing.assert_array_equal(spikes.detach().numpy(), outputs["graph"])

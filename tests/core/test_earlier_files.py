"""Files of earlier versions, in ``earlier/``: each kind of container, and a graph that was read from NIR.

They were written before all containers became graphs of layers and merges; ``outputs.npz`` has inputs, and the spikes
that those versions computed.
"""

from __future__ import annotations

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

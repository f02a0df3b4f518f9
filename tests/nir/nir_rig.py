"""What the tests of NIR share: a network through a graph and a file, and the spikes before and after."""

from __future__ import annotations

import warnings

import numpy as np

import spikecore as sc

STEPS, BATCH = 25, 3


def inputs(shape, scale=1.5, seed=0):
    return (np.random.default_rng(seed).random((STEPS, BATCH, *shape)) * scale).astype(np.float32)


def graph_of(module, *arguments, **options):
    """The graph, and the losses it warned of."""
    from spikecore.nir import NirLoss, export_to_nir

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = export_to_nir(module, *arguments, **options)
    assert all(issubclass(one.category, NirLoss) for one in caught)
    return graph, [str(one.message) for one in caught]


def through_file(graph, tmp_path):
    import nir

    path = tmp_path / "graph.nir"
    nir.write(path, graph)
    return path


def round_trip(network, shape, tmp_path, *, scale=1.5, seed=0, **options):
    """Outputs before, outputs after on the NumPy engine, the model read, the losses."""
    from spikecore.nir import model_from_nir

    model = sc.Model(network, "numpy", input_shape=shape, seed=seed)
    graph, losses = graph_of(model, **options)
    assert graph.check_types()
    again = model_from_nir(through_file(graph, tmp_path), engine="numpy")
    x = inputs(shape, scale)
    return model(x).spikes, again(x).spikes, again, losses

"""NIR by ``sc.export``: the graph of ``export_to_nir`` as a file, its losses as notes."""

from __future__ import annotations

import pytest

pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.nir import NirLoss, model_from_nir  # noqa: E402

EXACT = {"reset_mechanism": "zero", "reset_delay": False}


def model_of(*layers):
    return sc.Model(sc.Sequential(*layers), "numpy", input_shape=(4,), seed=0)


def test_a_file_gives_what_the_network_gives(tmp_path):
    model = model_of(
        sc.Linear(4, 8), sc.Leaky(beta=0.9, **EXACT), sc.Linear(8, 3), sc.Synaptic(alpha=0.7, beta=0.8, **EXACT)
    )
    exported = sc.export(model, tmp_path / "net.nir", to="nir", dt=1e-3)
    assert [file.name for file in exported.files] == ["net.nir"]
    assert exported.notes == ("NIR, a step is 0.001; 6 nodes",)
    x = np.random.default_rng(0).random((40, 2, 4), dtype="float32")
    np.testing.assert_array_equal(model_from_nir(exported.files[0], engine="numpy")(x).spikes, model(x).spikes)


def test_a_network_without_times_has_a_step_of_one(tmp_path):
    """IF has r = 1 then, which snnTorch and snn-mlir take; with a time constant in the graph a step is 1e-4."""
    import nir

    x = np.random.default_rng(0).random((40, 2, 4), dtype="float32")
    for layers, dt in (((), 1.0), ((sc.Linear(8, 8), sc.Leaky(beta=0.9, **EXACT)), 1e-4)):
        model = model_of(sc.Linear(4, 8), sc.IF(threshold=0.5, **EXACT), *layers)
        exported = sc.export(model, tmp_path / f"net{len(layers)}", to="nir")
        assert exported.notes == (f"NIR, a step is {dt:g}; {4 + len(layers)} nodes",)
        graph = nir.read(exported.files[0])
        assert graph.metadata["dt"] == dt
        assert {1 / dt} == {r for node in graph.nodes.values() if isinstance(node, nir.IF) for r in node.r}
        np.testing.assert_array_equal(model_from_nir(exported.files[0], engine="numpy")(x).spikes, model(x).spikes)


def test_a_file_for_older_readers_has_no_v_reset(tmp_path):
    h5py = pytest.importorskip("h5py")
    model = model_of(
        sc.Linear(4, 8), sc.Leaky(beta=0.9, **EXACT), sc.Linear(8, 3), sc.RLeaky(beta=0.8, linear_features=3, **EXACT)
    )
    x = np.random.default_rng(0).random((40, 2, 4), dtype="float32")
    for options in ({}, {"subgraphs": True}):
        names = {}
        for v_reset in (True, False):
            path = sc.export(model, tmp_path / f"net{v_reset}", to="nir", v_reset=v_reset, **options).files[0]
            with h5py.File(path) as file:
                file.visit(names.setdefault(v_reset, []).append)
            np.testing.assert_array_equal(model_from_nir(path, engine="numpy")(x).spikes, model(x).spikes)
        assert set(names[True]) - set(names[False]) == {name for name in names[True] if name.endswith("v_reset")}
        assert len(names[True]) == len(names[False]) + 2
    with pytest.raises(sc.errors.ExportError, match="v_reset=False, but node 1 resets to another value than 0"):
        sc.export(model_of(sc.Linear(4, 8), offset_leaky()), tmp_path / "net", to="nir", v_reset=False)


def offset_leaky():
    """A neuron that a graph of another library has given, with v_reset other than v_leak."""
    import nir

    from spikecore.nir import network_from_nir

    row = np.ones(8)
    node = nir.LIF(tau=row * 1e-3, r=row * 10, v_leak=row * 0, v_threshold=row, v_reset=row * -0.5)
    return network_from_nir(node, dt=1e-4, input_shape=8).network.layers[0]


def test_losses_are_notes_and_warnings(tmp_path):
    model = model_of(sc.Linear(4, 8), sc.Leaky(beta=0.9))
    with pytest.warns(NirLoss, match="subtract") as warned:
        exported = sc.export(model, tmp_path / "net", to="nir")
    assert exported.notes[1].startswith("not in the file: ")
    assert warned[0].filename == __file__
    assert "subtract" in exported.notes[1]


def test_what_nir_lacks_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(sc.errors.ExportError, match="ALIF"):
        sc.export(model_of(sc.Linear(4, 8), sc.ALIF()), tmp_path / "out" / "net", to="nir")
    with pytest.raises(sc.errors.ExportError, match="no weights yet"):
        sc.export(sc.Model(sc.Sequential(sc.Flatten(), sc.Leaky())), tmp_path / "out" / "net", to="nir")
    assert not list(tmp_path.iterdir())


def test_a_quantised_network_is_written_with_its_rounded_weights(tmp_path):
    layers = (
        sc.Linear(4, 8),
        sc.Leaky(beta=0.9, **EXACT),
        sc.Linear(8, 3),
        sc.RLeaky(beta=0.8, linear_features=3, **EXACT),
    )
    model = sc.compression.quantize(model_of(*layers), weights=4)
    with pytest.warns(NirLoss, match="their grid is not"):
        exported = sc.export(model, tmp_path / "net", to="nir")
    again = model_from_nir(exported.files[0], engine="numpy")
    x = np.random.default_rng(0).random((40, 2, 4), dtype="float32") * 2
    spikes = model(x).spikes
    np.testing.assert_array_equal(again(x).spikes, spikes)
    assert (model_of(*layers)(x).spikes != spikes).any()
    grid = again.params()["0.weight"] / np.abs(again.params()["0.weight"][again.params()["0.weight"] != 0]).min()
    np.testing.assert_array_equal(grid, np.round(grid))


def test_quantised_inputs_and_neurons_are_refused(tmp_path):
    for options, message in (
        ({"inputs": sc.compression.FixedPoint(8, 4)}, "input_quant, output_quant"),
        ({"parameters": 8}, "QuantizedNeuron"),
    ):
        quantised = sc.compression.quantize(model_of(sc.Linear(4, 8), sc.Leaky(beta=0.9, **EXACT)), **options)
        with pytest.raises(sc.errors.ExportError, match=message):
            sc.export(quantised, tmp_path / "net", to="nir")

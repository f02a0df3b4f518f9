"""Noise in exported programs: the draws of the model, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.export.errors import ExportError
from tests.export.c_rig import in_c, needs_compiler

X = np.random.default_rng(0).random((30, 1, 8), dtype=np.float32)


def model(distribution):
    inside = sc.Recurrent(sc.Noisy(sc.Leaky(threshold=0.3), 0.2, distribution=distribution), sc.Linear(6, 6))
    noisy = sc.Noisy(sc.Synaptic(threshold=0.5), 0.3, 0.1, distribution)
    made = sc.Model(sc.Sequential(sc.Linear(8, 6), noisy, sc.Linear(6, 6), inside), engine="numpy")
    made.build((8,))
    return made


def draws(states):
    return {name: value for name, value in states.items() if ".draw_" in name}


def expected(one):
    out = one(X)
    states = {f"{layer}.{name}": np.asarray(v) for layer, state in out.state.items() for name, v in state.items()}
    return np.asarray(out.spikes)[:, 0], draws(states)


@needs_compiler
@pytest.mark.parametrize(
    "options", [("-O0",), ("-O3", "-march=native", "-ffp-contract=fast")], ids=["plain", "contracted"]
)
def test_c_draws_the_same_bits(options, tmp_path):
    models = {name: model(name) for name in ("normal", "uniform", "logistic")}
    for name, program in in_c(models, tmp_path, None, *options).items():
        spikes, states = expected(models[name])
        found, after = program.run(X[:, 0])
        np.testing.assert_array_equal(found, spikes)
        assert len(draws(after)) == 6
        for state, values in draws(after).items():
            np.testing.assert_array_equal(values, states[state].ravel())


def test_onnx_runtime_draws_the_same_bits(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    one = model("normal")
    sc.export(one, tmp_path / "net.onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"), options, providers=["CPUExecutionProvider"])
    (x, *_), names = session.get_inputs(), [o.name for o in session.get_outputs()]
    states, found = {}, []
    for row in X:
        results = dict(zip(names, session.run(None, {x.name: row, **states})))
        states = {name[: -len(".next")]: value for name, value in results.items() if name.endswith(".next")}
        found.append(results[names[0]][0])
    spikes, after = expected(one)
    np.testing.assert_array_equal(found, spikes)
    for state, values in draws(states).items():
        np.testing.assert_array_equal(values, after[state])


def test_integers_and_nir_refuse_noise_by_name(tmp_path):
    network = sc.Sequential(sc.Linear(8, 6), sc.Noisy(sc.Leaky(), 0.1), sc.Linear(6, 3), sc.Leaky())
    one = sc.Model(network, engine="numpy")
    one.build((8,))
    small = sc.compression.quantize(one, weights=8, parameters=8, states=16, x=X)
    with pytest.raises(ExportError, match=r'layer 1 \(Noisy\): sc.Noisy draws .* dtype="float32"'):
        sc.export(small, tmp_path / "net", to="c", dtype="fixed", inputs=sc.compression.FixedPoint(8, 4))
    pytest.importorskip("nir")
    with pytest.raises(ExportError, match=r"layer 1 \(Noisy\): NIR has no such node"):
        sc.export(one, tmp_path / "net.nir")

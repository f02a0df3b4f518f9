"""ONNX files, run by onnxruntime."""

import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'export')")

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.api.core.tree import flatten  # noqa: E402
from spikecore.export.onnx import writer  # noqa: E402
from tests.conformance import cases  # noqa: E402

STEPS, BATCH = 6, 2
CASES = [*cases.NEURONS, *cases.VARIANTS, *cases.LAYERS, *cases.NETWORKS]
WHOLE = "PSN", "MaskedPSN-partly", "BatchNormTT", "TemporalEffectiveBatchNorm"
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def session(content):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def names(model):
    return [output.name[: -len(".next")] for output in model.get_outputs()[1:]]


def steps(model, x):
    """A step model over a sequence, from rest."""
    states, outputs = {}, []
    for row in x:
        y, *after = model.run(None, {"input": row, **states})
        states = dict(zip(names(model), after))
        outputs.append(y)
    return np.stack(outputs), states


def sequence(model, x):
    y, *after = model.run(None, {"input": x})
    return y, dict(zip(names(model), after))


def content(model, **options):
    (made,) = writer.files(model, "net", **options).contents.values()
    return made


@pytest.mark.parametrize("case", [case for case in CASES if not case.name.startswith(WHOLE)], ids=repr)
def test_onnxruntime_gives_what_the_network_gives(case):
    model = sc.Model(case.layer, sc.get_engine("numpy", fused=False), input_shape=case.shape)
    x = np.random.default_rng(1).random((STEPS, BATCH, *case.shape), dtype="float32") * 2
    expected, states = model(x), flatten(model(x).state)
    for run, options in ((steps, {}), (sequence, {"sequence": True})):
        found, after = run(session(content(model, batch_size=BATCH, **options)), x)
        np.testing.assert_allclose(found, np.broadcast_to(expected.spikes, found.shape), **CLOSE)
        assert set(after) == set(states)
        for name, state in states.items():
            np.testing.assert_allclose(after[name], state, **CLOSE)

"""The files of docs/adding.md, outside the library: training, files, programs, costs, few bits, ONNX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

import spikecore as sc
from spikecore import compression, functional
from spikecore.api.core import words
from spikecore.api.core.layer import EMPTY, Init
from spikecore.api.learning import learning as finding
from spikecore.base import Params, Stateless
from spikecore.errors import CheckpointError, ExportError
from tests.docs.adding_rig import NAMES, PAGE, files, needs_page, own_part  # noqa: F401  (a fixture)
from tests.export.c_rig import in_c, needs_compiler

pytestmark = [needs_page, pytest.mark.usefixtures("outside")]
X = np.random.default_rng(0).random((6, 8, 2, 6, 6)).astype("float32")
Y = np.arange(8) % 4
TRAINED = {"optimizer": sc.SGD(lr=0.01), "progress": False}


def network():
    """A network of all layers of the page and of its surrogate."""
    cosine, tired = own_part("cosine:cosine"), own_part("tired:Tired")
    return sc.Sequential(
        sc.Conv2d(2, 4, 3, padding=1),
        own_part("rms_norm:RunningRMSNorm")(4),
        tired(beta=sc.learn(0.9), threshold=0.3, surrogate=cosine(2.0)),
        own_part("mixed_pool:MixedPool2d")(2),
        sc.Flatten(),
        sc.Linear(36, 4),
        sc.Leaky(threshold=0.2, surrogate=cosine(2.0)),
    )


def classes():
    return [own_part(name) for name in ("cosine:cosine", "tired:Tired", "rms_norm:RunningRMSNorm",
                                        "mixed_pool:MixedPool2d")]  # fmt: skip


@pytest.fixture(scope="module")
def model(outside):
    made = sc.Model(network(), "numpy", seed=0)
    made.fit([(X, Y)] * 3, loss=own_part("margin:margin_loss"), **TRAINED)
    assert made(X).spikes.mean() > 0.05
    return made


def steps(model):
    return model(X[:, :1]).spikes


def test_the_page_has_a_file_for_each_kind(outside):
    assert {path.stem for path in outside.glob("*.py")} == set(NAMES)
    assert all(len(path.read_text().splitlines()) <= 50 for path in outside.glob("*.py"))


def test_the_page_lists_all_words():
    text = PAGE.read_text(encoding="utf-8").partition("## The words")[2].partition("Python's operators")[0]
    listed = {name for line in re.findall(r"^(?:- | {2}).*$", text, re.M) for name in re.findall(r"`(\w+)`", line)}
    assert listed == {*words.DIFFERENTIABLE, *words.PIECEWISE_CONSTANT, *words.CREATION}


# ---- training, files -----------------------------------------------------------------------------------------------


def test_both_engines_train_it_alike(model):
    other = sc.Model(network(), sc.get_engine("torch", fused=False), seed=0)
    other.fit([(X, Y)] * 3, loss=own_part("margin:margin_loss"), **TRAINED)
    assert np.isclose(other.history[-1]["loss"], model.history[-1]["loss"], rtol=1e-4)


@pytest.mark.slow
def test_its_gradients_are_right_and_kernels_give_those_of_the_loop():
    made = sc.Model(network(), "torch", seed=0)
    assert sc.verify(made, X[:4, :3], Y[:3], loss=own_part("margin:margin_loss")).ok
    found = {}
    for fused in (True, False):
        made = sc.Model(network(), sc.get_engine("numpy", dtype="float64", fused=fused), seed=0, input_shape=(2, 6, 6))
        found[fused] = sc.backprop.bptt(made, X, Y).grads
    for name, grad in found[False].items():
        np.testing.assert_allclose(found[True][name], grad, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_checkpoint_needs_the_classes_and_says_so(model, tmp_path):
    model.save(tmp_path / "net.safetensors")
    again = sc.load(tmp_path / "net.safetensors", engine="numpy", classes=classes())
    np.testing.assert_array_equal(steps(again), steps(model))
    with pytest.raises(CheckpointError, match=r"unknown class .*of your own.*must be given: load\(..., classes=\["):
        sc.load(tmp_path / "net.safetensors")


# ---- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_rule_of_learning_moves_weights_by_signs(engine, monkeypatch):
    kind, net = own_part("sign_step:SignStep"), sc.Sequential(sc.Flatten(), sc.Linear(72, 4), sc.Leaky(threshold=0.2))
    point = type("Point", (), {"load": lambda self: kind})()
    monkeypatch.setattr(finding, "entry_points_of", lambda group: {"sign_step": point} if "learning" in group else {})
    for learning in (kind(), "sign_step"):
        made = sc.Model(net, engine, seed=0, input_shape=(2, 6, 6))
        before = made.params()["1.weight"]
        made.fit([(X, Y)], learning=learning, **TRAINED)
        moved = np.abs(made.params()["1.weight"] - before)
        assert np.allclose(moved[moved > 1e-6], 0.01, atol=1e-6)
        assert (moved > 1e-6).any()


# ---- programs and files of other worlds ----------------------------------------------------------------------------


def test_a_stream_gives_what_the_sequence_gives(model):
    stream = model.stream(batch_size=8)
    np.testing.assert_allclose(np.stack([stream.step(x) for x in X]), model(X).spikes, atol=1e-6)
    assert "layer 1 (RunningRMSNorm) has no kernel for a single step" in stream.explain()


@needs_compiler
def test_c_computes_it(model, tmp_path):
    out, _ = in_c({"own": model}, tmp_path)["own"].run(X[:, 0])
    np.testing.assert_allclose(out, steps(model)[:, 0], atol=1e-5)


def test_onnx_computes_it(model, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    sc.export(model, tmp_path / "own.onnx", sequence=True)
    (found, *_) = runtime.InferenceSession(str(tmp_path / "own.onnx")).run(None, {"input": X[:, :1]})
    np.testing.assert_allclose(found, steps(model), atol=1e-5)


def test_nir_refuses_layers_and_neurons_by_name_and_keeps_a_surrogate(model, tmp_path):
    pytest.importorskip("nir")
    surrogate = own_part("cosine:cosine")(2.0)
    for layer, said in (
        (own_part("mixed_pool:MixedPool2d")(2), r"layer 0 \(MixedPool2d\): NIR has no such node; replace it by Linear"),
        (own_part("rms_norm:RunningRMSNorm")(2), r"layer 0 \(RunningRMSNorm\): NIR has no such node; replace it by"),
        (own_part("tired:Tired")(), r"layer 0 \(Tired\): NIR has no such node; replace it by Leaky"),
    ):
        with pytest.raises(ExportError, match=said):
            sc.export(sc.Model(sc.Sequential(layer), "numpy", input_shape=(2, 6, 6)), tmp_path / "own.nir")
    known = sc.Model(sc.Sequential(sc.Leaky(surrogate=surrogate)), "numpy", input_shape=(3,))
    with pytest.warns(UserWarning, match="surrogate|reset_mechanism"):
        assert "surrogate" in "".join(sc.export(known, tmp_path / "own.nir").notes)


def test_torch_takes_it_or_refuses_it_by_name(model):
    torch = pytest.importorskip("torch")
    kept = [layer for layer in network().layers if type(layer).__name__ != "RunningRMSNorm"]
    made = sc.Model(sc.Sequential(*kept), "numpy", seed=0, input_shape=(2, 6, 6))
    module = sc.nn.to_torch(made)
    found = torch.stack([module(row) for row in torch.tensor(X)]).detach().numpy()
    np.testing.assert_allclose(found, made(X).spikes, atol=1e-5)
    with pytest.raises(ValueError, match=r"to_torch: layer 1 \(RunningRMSNorm\): there is no such module"):
        sc.nn.to_torch(model)


# ---- costs, few bits -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dense(Stateless):
    """A layer with weights of its own."""

    connections: ClassVar[Tuple[str, ...]] = ("weight",)

    def init(self, key, shape):
        return Init(Params(weight=np.eye(4, shape[0]) / 2), EMPTY, (4,))

    def apply(self, engine, params, buffers, x, *, train, key):
        return engine.xp.matmul(x, engine.xp.permute_dims(params.weight, (1, 0))), buffers


def test_costs_count_it_or_name_it(model):
    counted = functional.activity(model, X)
    assert [row.name for row in counted.firing] == ["2", "6"]
    assert [row.name for row in counted.synapses] == ["0", "5"]
    assert counted.uncounted == ()
    dense = sc.Model(sc.Sequential(sc.Flatten(), Dense(), sc.Leaky()), "numpy", input_shape=(2, 6, 6))
    assert functional.activity(dense, X).uncounted == ("1 (Dense)",)
    assert "not counted: operations inside 1 (Dense)" in str(functional.activity(dense, X))
    assert "1 (Dense)" in sc.neurobench.measure(dense, X).uncounted


def test_chips_judge_it_by_name(model):
    said = str(sc.hardware.check(model, "loihi2", X))
    for layer in ("1: layer: Loihi 2 has no RunningRMSNorm", "3: layer: Loihi 2 has no MixedPool2d"):
        assert f"DOES NOT FIT  layer {layer}; it has Linear" in said
    assert sc.hardware.check(model, "cortex-m4").ok


def test_few_bits_and_integers(model, tmp_path):
    small = compression.quantize(model, weights=8, states=16, parameters=8, inputs=8, x=X)
    assert "full precision: 1 (RunningRMSNorm): 1.gain" in str(compression.quantization_report(small))
    sc.export(small, tmp_path / "net", "c")
    with pytest.raises(ExportError, match=r"layer 2 \(QuantizedNeuron\) divides by a value that depends on the input"):
        sc.export(small, tmp_path / "fixed", "c", dtype="fixed")
    assert not list(tmp_path.glob("fixed*"))
    pooling = sc.Sequential(sc.Conv2d(2, 2, 3), sc.Leaky(threshold=0.5), own_part("mixed_pool:MixedPool2d")(2))
    pooled = compression.quantize(
        sc.Model(pooling, "numpy", input_shape=(2, 6, 6)), states=16, parameters=8, inputs=8, x=X
    )
    sc.export(pooled, tmp_path / "fixed", "c", dtype="fixed")


@pytest.mark.parametrize("learning", finding.NAMES)
def test_each_way_of_learning_takes_it_or_refuses_it_by_name(learning):
    made = sc.Model(network(), "numpy", seed=0)
    if learning == "bptt":
        made.fit([(X[:3, :2], Y[:2])], learning=learning, **TRAINED)
    else:
        with pytest.raises(ValueError, match="layer 1 has running statistics, which need whole sequences"):
            made.fit([(X[:3, :2], Y[:2])], learning=learning, **TRAINED)


def test_statistics_in_a_recurrent_connection_are_refused_by_name():
    norm = own_part("rms_norm:RunningRMSNorm")
    with pytest.raises(ValueError, match=r"Recurrent: connection=RunningRMSNorm\(5\) keeps statistics"):
        sc.Model(sc.Recurrent(sc.Leaky(), norm(5)), "numpy", input_shape=(5,))


def test_dropout_as_a_recurrent_connection_is_refused():
    """It would do nothing, in silence."""
    with pytest.raises(ValueError, match=r"Recurrent: connection=Dropout\(p=0.5\) would drop nothing"):
        sc.Recurrent(sc.Leaky(), sc.Dropout(0.5))


# ---- operators of ONNX ---------------------------------------------------------------------------------------------


@pytest.fixture
def pooled(outside):
    layers = [own_part("power_pool:PowerPool2d")(), sc.Flatten(), sc.Linear(18, 4), sc.Leaky(threshold=0.2)]
    return sc.Model(sc.Sequential(*layers), "numpy", seed=0, input_shape=(2, 6, 6))


@pytest.mark.parametrize("options", [{}, {"sequence": True}, {"batch_size": None, "sequence": True}], ids=str)
def test_a_layer_becomes_one_operator(pooled, tmp_path, options):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    sc.export(pooled, tmp_path / "own.onnx", operators=own_part("power_pool:OPERATORS"), **options)
    graph = onnx.load(tmp_path / "own.onnx").graph
    inner = graph.node[0].attribute[0].g if options else graph
    inner = next((a.g for node in graph.node for a in node.attribute if a.name == "body"), inner)
    assert [node.op_type for node in inner.node][0] == "LpPool"
    if options == {"sequence": True}:
        (found, *_) = runtime.InferenceSession(str(tmp_path / "own.onnx")).run(None, {"input": X[:, :1]})
        np.testing.assert_allclose(found, steps(pooled), atol=1e-5)


def test_a_network_of_one_layer_and_a_domain_of_ones_own(tmp_path):
    onnx, kind = pytest.importorskip("onnx"), own_part("power_pool:PowerPool2d")
    write = {kind: lambda call, layer, arrays, x: call.op("MyPool", x, domain="com.example", size=2)}
    exported = sc.export(sc.Model(kind(), "numpy", input_shape=(2, 6, 6)), tmp_path / "own.onnx", operators=write)
    assert "operators of domain com.example: not compared" in str(exported)
    made = onnx.load(tmp_path / "own.onnx")
    assert [(node.op_type, node.domain) for node in made.graph.node] == [("MyPool", "com.example")]
    assert {(one.domain, one.version) for one in made.opset_import} == {("", 17), ("com.example", 1)}


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda call, layer, arrays, x: call.op("LpPool", x, kernel_shape=(2, 2), strides=(2, 2), p=1),
         ExportError, r"for layer 0 \(PowerPool2d\) the file does not compute what the network does: "),
        (lambda call, layer, arrays, x: call.op("Identity", x), ExportError,
         r"for layer 0 \(PowerPool2d\) the file does not run"),
        (lambda call, layer, arrays, x: call.op("NoSuch", x), ExportError,
         r"for layer 0 \(PowerPool2d\) the file does not run: No Op registered for NoSuch"),
        (lambda call, layer, arrays, x: None, ExportError, r"layer 0 \(PowerPool2d\): its function in operators="),
        (3, TypeError, "operators=.* must be functions by class of layer"),
    ],
)  # fmt: skip
def test_a_wrong_operator_is_refused_and_nothing_written(pooled, tmp_path, write, error, said):
    pytest.importorskip("onnx")
    with pytest.raises(error, match=said):
        sc.export(pooled, tmp_path / "own.onnx", operators={own_part("power_pool:PowerPool2d"): write})
    assert not list(tmp_path.iterdir())


def test_operators_are_for_stateless_layers_of_the_network(pooled, tmp_path):
    pytest.importorskip("onnx")
    write = own_part("power_pool:lp_pool")
    with pytest.raises(ExportError, match=r"layer 3 \(Leaky\) keeps states, and operators= is for layers without"):
        sc.export(pooled, tmp_path / "own.onnx", operators={sc.Leaky: write})
    with pytest.raises(ValueError, match=r"the network has no layer of class .*Conv2d.*; it has PowerPool2d, Flatten"):
        sc.export(pooled, tmp_path / "own.onnx", operators={sc.Conv2d: write})

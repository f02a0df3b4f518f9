"""ONNX files, run by onnxruntime."""

from __future__ import annotations

import json
import re
import sys

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'export')")


import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.api.core import words  # noqa: E402
from spikecore.api.core.graph import Type, Value, WordGraph  # noqa: E402
from spikecore.api.core.tree import flatten  # noqa: E402
from spikecore.conformance import cases, word_cases  # noqa: E402
from spikecore.engines.numpy.engine import NumpyEngine  # noqa: E402
from spikecore.export.onnx import writer  # noqa: E402
from spikecore.export.onnx.operators import OPERATORS  # noqa: E402
from spikecore.export.recording import step_graph  # noqa: E402
from spikecore.export.step_graph import StepGraph, StepState  # noqa: E402
from spikecore.installing import to_install  # noqa: E402
from tests.drawn_networks import drawn_model  # noqa: E402
from tests.export.export_rig import BY_STEPS, FLAGS, KEYS, NUMBERS, assert_outputs, model_of  # noqa: E402
from tests.zoo.zoo_rig import NARROW  # noqa: E402

STEPS, BATCH = 6, 2
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # a runtime adds sums up in another order and has its own exp


def slow_unless(quick, case):
    return pytest.param(case, marks=() if quick else pytest.mark.slow)


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


def check(case, run, **options):
    model = model_of(case)
    x = np.random.default_rng(1).random((STEPS, BATCH, *case.shape), dtype="float32") * 2
    expected = model(x)
    states = flatten(expected.state)
    found, after = run(session(content(model, batch_size=BATCH, **options)), x)
    assert_outputs(found, expected.spikes, CLOSE)
    assert set(after) == set(states)
    for name, state in states.items():
        np.testing.assert_allclose(after[name], state, **CLOSE)


@pytest.mark.parametrize("case", BY_STEPS, ids=repr)
def test_a_step_gives_what_the_network_gives(case):
    check(case, steps)


@pytest.mark.parametrize("case", [slow_unless(case in cases.NETWORKS, case) for case in BY_STEPS], ids=repr)
def test_a_sequence_gives_what_the_network_gives(case):
    check(case, sequence, sequence=True)


def like(array):
    return Type(str(array.dtype), array.shape)


def one_word(word):
    """A graph of one word, whose arrays are an input and states, and what NumPy gives."""
    given, values, arguments, graph = [], [], [], WordGraph(speaker=("", "Word"))

    def place(argument):
        if isinstance(argument, np.ndarray):
            given.append(argument.astype("float32") if argument.dtype == "float64" else argument)
            values.append(graph.input(f"s{len(values) + 1}", like(given[-1])))
            return values[-1]
        return argument

    for argument in word.arguments:
        arguments.extend(map(place, argument)) if isinstance(argument, list) else arguments.append(place(argument))
    raw = NumpyEngine("float32", fused=False).raw_words()[word.word]
    held = dict(zip(values, given))
    out = np.asarray(raw(*(held.get(a, a) if type(a) is Value else a for a in arguments), **word.options))
    output = graph.add(word.word, tuple(arguments), like(out), word.options)
    states = tuple(StepState(f"s{i}", v, v, a) for i, (v, a) in enumerate(zip(values[1:], given[1:]), 2))
    return StepGraph(graph, values[0], output, states), given, out


CREATED = "zeros_like", "ones_like"  # constants of a graph
WORDS = [word for word in [*word_cases.DIFFERENTIABLE, *word_cases.CONSTANT] if word.word not in CREATED]


OTHER_TYPES = [  # flags and whole numbers
    *(
        word_cases.WordCase(name, (FLAGS, ~FLAGS), {}, None)
        for name in ("add", "multiply", "maximum", "minimum", "greater")
    ),
    *(
        word_cases.WordCase(name, (FLAGS, word_cases.A), {}, None)
        for name in ("multiply", "subtract", "less_equal", "not_equal")
    ),
    *(
        word_cases.WordCase(name, (NUMBERS, 2), {}, None)
        for name in ("add", "divide", "greater", "equal", "maximum", "pow")
    ),
    *(word_cases.WordCase(name, (NUMBERS, 0.5), {}, None) for name in ("multiply", "less", "divide")),
    *(word_cases.WordCase(name, (FLAGS,), {"axis": 0}, None) for name in ("sum", "max", "min", "any", "all")),
    *(
        word_cases.WordCase(name, (NUMBERS,), {}, None)
        for name in ("sum", "mean", "min", "argmax", "abs", "sign", "any", "all")
    ),
    *(
        word_cases.WordCase("astype", (a, dtype), {}, None)
        for a in (3 * word_cases.A, FLAGS)
        for dtype in ("int64", "float32", "bool")
    ),
    word_cases.WordCase("where", (FLAGS, FLAGS, ~FLAGS), {}, None),
    word_cases.WordCase("where", (FLAGS, NUMBERS, 0.5), {}, None),
    word_cases.WordCase("clip", (NUMBERS, 0, 4), {}, None),
    *(
        word_cases.WordCase("clip", (word_cases.A, *bounds), {}, None)
        for bounds in ((word_cases.A - 0.1, 0.5), (-0.5, np.abs(word_cases.A) / 2))
    ),
    word_cases.WordCase("linear", (word_cases.A, word_cases.B.astype("float32"), None), {}, None),
]
NOTHING = word_cases.WordCase("take_slice", (word_cases.A, slice(1, 1)), {}, None)


@pytest.mark.parametrize("word", [*WORDS, *OTHER_TYPES, *KEYS, NOTHING], ids=repr)
def test_every_word_gives_what_numpy_gives(word):
    graph, given, expected = one_word(word)
    run = session(writer.checked(writer.step_model(graph, {}, "word")).SerializeToString())
    names = ["input", *(state.name for state in graph.states)]
    found = run.run(["output"], dict(zip(names, given)))[0]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_every_word_of_a_step_has_operators():
    assert set(OPERATORS) >= set(words.DIFFERENTIABLE) | set(words.PIECEWISE_CONSTANT) - set(CREATED)


def dense():
    net = sc.Sequential(sc.Linear(64, 20), sc.Leaky(beta=0.9), sc.Linear(20, 10), sc.Synaptic(alpha=0.5, beta=0.8))
    return sc.Model(net, "numpy", input_shape=(64,), seed=0)


def rows(steps=12):
    return np.random.default_rng(0).random((steps, 1, 64), dtype="float32") * 3


def any_batch(model, batch, x, **options):
    """A run of a file for batches of any size, from rest."""
    run = session(content(model, batch_size=None, **options))
    rest = {state.name: state.rest for state in step_graph(model, batch).states}
    return run, run.run(None, {"input": x, **rest})[0]


@pytest.mark.parametrize("case", [slow_unless(case in cases.NETWORKS, case) for case in BY_STEPS], ids=repr)
def test_batches_of_any_size(case):
    model = model_of(case)
    for batch in (1, 5):
        x = np.random.default_rng(1).random((STEPS, batch, *case.shape), dtype="float32") * 2
        run, found = any_batch(model, batch, x, sequence=True)
        assert_outputs(found, model(x).spikes, CLOSE)
    assert run.get_outputs()[0].shape[:2] == ["time", "batch"]


def test_a_constant_input_in_batches_of_any_size():
    model, x = dense(), np.random.default_rng(0).random((7, 64), dtype="float32") * 3
    run, found = any_batch(model, 7, x, num_steps=9)
    np.testing.assert_array_equal(found, model(x, num_steps=9).spikes)
    assert [given.shape for given in run.get_inputs()] == [["batch", n] for n in (64, 20, 10, 10)]
    assert run.get_outputs()[0].shape == [9, "batch", 10]


class OverBatch(sc.Leaky):
    """A neuron that is told how many samples there are."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, x / x.shape[0])


class HalfOfBatch(sc.Leaky):
    """A neuron that computes with a number that is the same for two samples and for three."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, x * float(x.shape[0] // 2))


class Places(sc.Leaky):
    """A neuron with another constant for each sample."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, x + engine.xp.reshape(engine.xp.arange(x.shape[0]), (-1, 1)))


@pytest.mark.parametrize("neuron", [OverBatch(), HalfOfBatch(), Places()])
def test_what_depends_on_the_batch_fixes_its_size(neuron, tmp_path):
    model = sc.Model(sc.Sequential(sc.Linear(4, 3), neuron), "numpy", input_shape=(4,))
    with pytest.raises(
        sc.errors.ExportError, match=r"layer 1 \(.*\): .* depends on the number of samples; export with batch"
    ):
        sc.export(model, tmp_path / "out" / "net", to="onnx", batch_size=None)
    assert not list(tmp_path.iterdir())
    x = np.ones((3, 2, 4), "float32")
    found, _ = steps(session(content(model, batch_size=2)), x)
    np.testing.assert_array_equal(found, model(x).spikes)


def test_a_sequence_goes_on_from_given_states():
    model, x = dense(), rows()
    run = session(content(model, sequence=True))
    whole, _ = sequence(run, x)
    first, *states = run.run(None, {"input": x[:5]})
    then = run.run(["output"], {"input": x[5:], **dict(zip(names(run), states))})[0]
    np.testing.assert_array_equal(np.concatenate([first, then]), whole)
    assert 0 < whole.mean() < 1


def test_a_constant_input_over_steps():
    model, x = dense(), rows()[0]
    y, *_ = session(content(model, num_steps=9)).run(None, {"input": x})
    np.testing.assert_array_equal(y, model(x, num_steps=9).spikes)


def test_a_file_says_what_is_in_it(tmp_path):
    exported = sc.export(dense(), tmp_path / "digits", to="onnx")
    made = onnx.load(exported.files[0])
    assert [file.name for file in exported.files] == ["digits.onnx"]
    assert (made.producer_name, made.producer_version, made.opset_import[0].version) == (
        "spikecore",
        sc.__version__,
        17,
    )
    facts = {entry.key: entry.value for entry in made.metadata_props}
    assert json.loads(facts["spikecore.states"]) == {"1.mem": [1, 20], "3.syn": [1, 10], "3.mem": [1, 10]}
    assert json.loads(facts["spikecore.rest"]) == {"1.mem": 0.0, "3.syn": 0.0, "3.mem": 0.0}
    assert json.loads(facts["spikecore.layers"])["2"] == "Linear"
    assert [given.name for given in made.graph.input] == ["input", "1.mem", "3.syn", "3.mem"]
    assert [given.name for given in made.graph.output] == ["output", "1.mem.next", "3.syn.next", "3.mem.next"]
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    for name, array in dense().params().items():
        np.testing.assert_array_equal(weights[name], array)
    assert [node.name for node in made.graph.node][:2] == ["0/linear", "1/greater"]
    assert made.graph.node[0].doc_string == "layer 0 (Linear): linear"
    assert "input [1, 64], output [1, 10]" in str(exported)
    assert "states: 1.mem, 3.syn, 3.mem; those after a call end in '.next'; one that is not" in str(exported)


class Own(sc.base.Membrane):
    """A neuron of a user's own, whose state at rest is not zero, and which keeps a flag."""

    state = ("mem", "fired")

    def rest(self, engine, params, x):
        return sc.base.State(mem=engine.xp.ones_like(x) * 0.25, fired=engine.xp.zeros_like(x))

    def step(self, engine, params, state, x):
        mem = engine.xp.where(state.fired > 0, state.mem - 1.0, 0.5 * state.mem) + engine.xp.round(4.0 * x) / 4.0
        return self.fires(engine, params, mem), sc.base.State(mem=mem, fired=mem > params.threshold)


def test_a_neuron_of_ones_own():
    model = sc.Model(sc.Sequential(sc.Linear(64, 5), Own()), "numpy", input_shape=(64,))
    for run, options in ((steps, {}), (sequence, {"sequence": True})):
        found, after = run(session(content(model, **options)), rows())
        np.testing.assert_array_equal(found, model(rows()).spikes)
        assert after["1.fired"].dtype == np.float32
    assert 0 < found.mean() < 1


class Growing(sc.Leaky):
    """A neuron whose state at rest is one number."""

    def rest(self, engine, params, x):
        return sc.base.State(mem=engine.xp.zeros((1,)))


class Misnamed(sc.base.Neuron):
    """A neuron whose state is called like what goes in."""

    state = ("input",)

    def step(self, engine, params, state, x):
        return x, sc.base.State(input=state.input + x)


def test_refusals_name_the_layer_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.delitem(OPERATORS, "linear")
    with pytest.raises(sc.errors.ExportError, match=r"layer 0 \(Linear\): the word 'linear' has no form in ONNX"):
        sc.export(dense(), tmp_path / "out" / "net", to="onnx")
    with pytest.raises(
        sc.errors.ExportError, match=r"state mem has the shape \(1,\) at rest and \(1, 3\) after a step"
    ):
        sc.export(sc.Model(Growing(), "numpy", input_shape=(3,)), tmp_path / "out" / "net", to="onnx")
    with pytest.raises(sc.errors.ExportError, match="state input: the file's own input or output has this name"):
        sc.export(sc.Model(Misnamed(), "numpy", input_shape=(3,)), tmp_path / "out" / "net", to="onnx")
    monkeypatch.setattr(writer, "LARGEST", 1000)
    with pytest.raises(sc.errors.ExportError, match=r"bytes, and ONNX files have 2 GiB at most"):
        sc.export(sc.Model(sc.Leaky(), "numpy", input_shape=(300,)), tmp_path / "out" / "net", to="onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_message_names_the_extra(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("spikecore.export.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="export to ONNX needs the package onnx: " + re.escape(to_install("export"))):
        sc.export(dense(), tmp_path / "net", to="onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be an int >= 1"),
        ({"num_steps": 2.5}, "num_steps=2.5 must be an int >= 1"),
        ({"sequence": "yes"}, "sequence='yes' must be True or False"),
        ({"sequence": True, "num_steps": 3}, "pass one of them"),
    ],
)
def test_options_are_checked(options, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        sc.export(dense(), tmp_path / "net", to="onnx", **options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500))
def test_drawn_networks(seed):
    """Their sums are exact, so that each spike must be equal."""
    model = drawn_model(seed)
    x = np.random.default_rng(seed).integers(0, 9, (10, BATCH, *model.input_shape)).astype("float32") / 8
    kinds = [lambda: steps(session(content(model, batch_size=BATCH)), x)[0]]
    kinds += [lambda: sequence(session(content(model, batch_size=BATCH, sequence=True)), x)[0]]
    kinds += [lambda: any_batch(model, BATCH, x, sequence=True)[1]]
    found = kinds[seed % 3]()
    np.testing.assert_array_equal(found, np.broadcast_to(model(x).spikes, found.shape))


@pytest.mark.slow
@pytest.mark.parametrize("name", NARROW)
def test_architectures(name):
    network, shape = NARROW[name]
    model = sc.Model(network, "numpy", input_shape=shape, seed=1)
    x = np.random.default_rng(1).random((4, BATCH, *shape), dtype="float32")
    expected = model(x)
    for run, options in ((steps, {}), (sequence, {"sequence": True})):
        found, after = run(session(content(model, batch_size=BATCH, **options)), x)
        assert_outputs(found, expected.spikes, CLOSE)
        np.testing.assert_array_equal(any_batch(model, BATCH, x, sequence=True)[1], found)
        for state, value in flatten(expected.state).items():  # sums of many, of which the largest says the rounding
            assert np.abs(after[state] - value).max() <= 1e-6 * max(1.0, np.abs(value).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(sc.zoo.list_pretrained()))
def test_trained_networks(name):
    model = sc.zoo.pretrained(name, engine="numpy")
    x = np.random.default_rng(1).random((6, BATCH, *model.input_shape), dtype="float32")
    found, _ = sequence(session(content(model, batch_size=BATCH, sequence=True)), x)
    assert_outputs(found, model(x).spikes, CLOSE)

"""Steps as programs of torch.export, and compiled by AOTInductor."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
if not hasattr(torch, "export"):
    pytest.skip("this torch has no torch.export", allow_module_level=True)

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.api.core.tree import flatten  # noqa: E402
from spikecore.api.layers.containers import INPUT, Container, LayerNode  # noqa: E402
from spikecore.api.layers.merges import Sum  # noqa: E402
from spikecore.conformance import cases  # noqa: E402
from spikecore.export.recording import step_graph  # noqa: E402
from spikecore.export.torch_writer import StepModule  # noqa: E402
from spikecore.export.weight_names import weight_names  # noqa: E402
from tests.export.export_rig import BY_STEPS, assert_outputs, model_of  # noqa: E402

STEPS, BATCH = 6, 2
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # torch adds sums up in another order and has its own exp


def inputs(shape):
    return np.random.default_rng(1).random((STEPS, BATCH, *shape), dtype="float32") * 2


def check(model, x, step, states):
    """Compare steps with a run of the network."""
    expected, outputs = model(x), []
    for row in torch.from_numpy(x):
        y, states = step(row, states)
        outputs.append(y.numpy())
    found = np.stack(outputs)
    assert_outputs(found, expected.spikes, CLOSE)
    assert set(states) == set(flatten(expected.state))
    for name, state in flatten(expected.state).items():
        np.testing.assert_allclose(states[name].numpy(), state, **CLOSE)


QUICK = {case.name for case in [*cases.LAYERS, *cases.NETWORKS]}  # all words


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case.name in QUICK else pytest.mark.slow) for case in BY_STEPS],
    ids=repr,
)
def test_a_step_gives_what_the_network_gives(case):
    model = model_of(case)
    graph = step_graph(model, BATCH)
    module = StepModule(graph, weight_names(model, graph.dtype))
    check(model, inputs(case.shape), module, module.at_rest()[1])


SOME = "Leaky-channels", "SConv2dLSTM", "convolutional", "Identity"


@pytest.mark.parametrize("case", [case for case in BY_STEPS if case.name in SOME], ids=repr)
def test_a_file_gives_what_the_network_gives(case, tmp_path):
    model = model_of(case)
    (file,) = sc.export(model, tmp_path / "net.pt2", to="torch", batch_size=BATCH).files
    facts = {"spikecore.json": ""}
    program = torch.export.load(file, extra_files=facts)
    x, states = program.example_inputs[0]
    check(model, inputs(case.shape), program.module(), states)
    assert json.loads(facts["spikecore.json"])["states"] == {name: list(s.shape) for name, s in states.items()}
    assert set(program.state_dict) >= {f"weights.{n}" for n in model.params() if n.endswith("0.weight")}


def digits():
    """The network that the documentation exports, with weights of chance."""
    net = sc.Sequential(sc.Linear(64, 20), sc.Leaky(beta=0.9), sc.Linear(20, 10), sc.Synaptic(alpha=0.5, beta=0.8))
    return sc.Model(net, "numpy", input_shape=(64,), seed=0)


class Wide(sc.Leaky):
    """A neuron whose state comes out of a step in another type."""

    def step(self, engine, params, state, x):
        return x + state.mem, state.__class__(mem=state.mem * np.float64(0.5) + x)


def test_a_state_goes_on_in_its_own_type(tmp_path):
    model = sc.Model(sc.Sequential(sc.Linear(6, 5), Wide()), "numpy", input_shape=(6,), seed=0)
    (file,) = sc.export(model, tmp_path / "net.pt2", batch_size=BATCH).files
    program = torch.export.load(file)
    check(model, inputs((6,)), program.module(), program.example_inputs[0][1])


class Backwards(sc.Leaky):
    """A neuron that says what torch lacks."""

    def step(self, engine, params, state, x):
        return x[:, ::-1], state


class Inverted(sc.Leaky):
    def step(self, engine, params, state, x):
        return 1 - (x > 0.5), state


@pytest.mark.parametrize(("neuron", "word"), [(Backwards(), "take_slice"), (Inverted(), "subtract")], ids=repr)
def test_what_torch_lacks_is_refused_by_layer(neuron, word, tmp_path):
    model = sc.Model(sc.Sequential(sc.Linear(6, 5), neuron), "numpy", input_shape=(6,), seed=0)
    with pytest.raises(
        sc.errors.ExportError, match=rf"layer 1 \({type(neuron).__name__}\): torch does not compute {word}"
    ):
        sc.export(model, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Ways(Container):
    """Layers side by side, whose names are also names of ``nn.Module``'s."""

    training: sc.base.Layer = field(default_factory=lambda: sc.Linear(6, 5))
    float: sc.base.Layer = field(default_factory=lambda: sc.Linear(6, 5))

    def nodes(self):
        sides = (LayerNode(name, getattr(self, name), (INPUT,)) for name in ("training", "float"))
        return (*sides, LayerNode("", Sum(), ("training", "float", "float")))


def test_weights_keep_their_names_where_torch_has_no_use_for_them(tmp_path):
    model = sc.Model(sc.Sequential(Ways(), sc.Leaky()), "numpy", input_shape=(6,), seed=0)
    (file,) = sc.export(model, tmp_path / "net.pt2", batch_size=BATCH).files
    program = torch.export.load(file)
    check(model, inputs((6,)), program.module(), program.example_inputs[0][1])
    named = {name for name in program.state_dict if "constant" not in name}
    assert named == {f"weights.0.{part}_.{name}" for part in ("training", "float") for name in ("weight", "bias")}


def test_a_name_that_begins_like_another_stays_as_it_is():
    module = StepModule(step_graph(digits()), {})
    names = [module._keep(name, np.array(i)) for i, name in enumerate(["x.weight_v", "x.weight", "x.weight", "x"])]
    assert names == ["x.weight_v", "x.weight", "x.weight_2", "x_2"]


@pytest.mark.parametrize("around", [lambda: torch.autocast("cpu", torch.bfloat16), lambda: torch.device("meta")])
def test_what_is_set_around_an_export_is_not_in_the_file(around, tmp_path):
    model = digits()
    with around():
        (file,) = sc.export(model, tmp_path / "net.pt2", batch_size=BATCH).files
    program = torch.export.load(file)
    check(model, inputs((64,)), program.module(), program.example_inputs[0][1])


def test_a_program_refuses_gradients():
    model = digits()
    module = StepModule(step_graph(model), weight_names(model, "float32"))
    x, states = module.at_rest()
    y, _ = torch.export.export(module, (x, states)).module()(x.requires_grad_(), states)
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own
def test_machine_code_gives_what_the_network_gives(tmp_path):
    model = digits()
    exported = sc.export(model, tmp_path / "net.pt2", to="torch", batch_size=BATCH, aot_inductor=True)
    step = torch._inductor.aoti_load_package(str(exported.files[0]))
    states = StepModule(step_graph(model, BATCH), {}).at_rest()[1]
    check(model, inputs((64,)), step, states)


def test_machine_code_needs_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(sc.errors.ExportError, match="needs a C\\+\\+ compiler"):
        sc.export(digits(), tmp_path / "out" / "net.pt2", to="torch", aot_inductor=True)
    assert not (tmp_path / "out").exists()


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match="batch_size=0 must be"):
        sc.export(digits(), tmp_path / "net.pt2", to="torch", batch_size=0)
    with pytest.raises(TypeError, match="aot_inductor='cpu' must be True or False"):
        sc.export(digits(), tmp_path / "net.pt2", to="torch", aot_inductor="cpu")
    assert not list(tmp_path.iterdir())


def test_the_report_says_how_to_call_it(tmp_path):
    exported = sc.export(digits(), tmp_path / "net", to="torch")
    assert [file.name for file in exported.files] == ["net.pt2"]
    assert "y, states = step(x, states)" in str(exported)
    assert "1.mem [1, 20], 3.syn [1, 10], 3.mem [1, 10]" in str(exported)

"""Run files: every key has a default that survives writing; what is wrong is said in full, in a user's words."""

from __future__ import annotations

import inspect
import re

import pytest

from tests import ROOT

pytest.importorskip("pydantic")
pytest.importorskip("tomli_w")

import spikecore as sc  # noqa: E402
from spikecore.api.functional import quant  # noqa: E402
from spikecore.cli import data_tables as tables  # noqa: E402
from spikecore.cli import run_file as config  # noqa: E402
from spikecore.cli import schema as kinds  # noqa: E402
from spikecore.cli.messages import ConfigError  # noqa: E402
from spikecore.cli.quantize_table import Quantize  # noqa: E402

DEMO = ROOT / "spikecore" / "cli" / "demo.toml"
SMALL = """
[network]
layers = [{ kind = "Linear", in_features = 64, out_features = 10 }, "Leaky"]
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="run.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refused(path, *sets, engine=None):
    with pytest.raises(ConfigError) as caught:
        config.read(path, engine, sets)
    return str(caught.value).splitlines()


# ---- what a run file can say ---------------------------------------------------------------------------------------


def test_everything_but_the_network_has_a_default(written):
    run = config.read(written(SMALL))
    assert (run.engine, run.seed, run.dtype, run.data.name) == ("numpy", 0, "float32", "digits")
    assert run.encoder.make() == {"num_steps": 25, "encoder": None, "time_axis": 1}
    assert run.train.loss.make() == sc.functional.ce_rate_loss()
    assert run.train.optimizer.make() == sc.Adam(lr=5e-4)
    assert run.network.make() == sc.Sequential(sc.Linear(64, 10), sc.Leaky())


def test_the_resolved_file_means_the_same(written):
    run = config.read(
        DEMO, sets=["train.early_stopping={patience=3}", "train.schedule=cosine", "train.optimizer.clip_norm=1.0"]
    )
    again = config.read(written(config.write(run).decode()))
    assert again == run
    assert config.write(again) == config.write(run)


def test_the_example_is_the_packaged_demo():
    assert (ROOT / "examples" / "digits.toml").read_text() == DEMO.read_text()


def test_layers_nest_and_learn(written):
    run = config.read(
        written("""
[network]
layers = [
    { kind = "Residual", body = { kind = "Sequential", layers = [
        { kind = "Linear", in_features = 64, out_features = 64 },
        { kind = "Leaky", beta = { learn = 0.8, per = "neuron" }, surrogate = { kind = "fast_sigmoid", slope = 10 } },
    ] } },
    { kind = "Leaky", threshold = [0.5, 1.0], surrogate = "sigmoid" },
]
""")
    )
    inner = sc.Leaky(beta=sc.learn(0.8, per="neuron"), surrogate=sc.surrogate.fast_sigmoid(slope=10.0))
    body = sc.Sequential(sc.Linear(64, 64), inner)
    last = sc.Leaky(threshold=[0.5, 1.0], surrogate=sc.surrogate.sigmoid())
    assert run.network.make() == sc.Sequential(sc.Residual(body), last)


def test_decays_are_learned_through_their_time_constant(written):
    """D10: ``learn_tau`` was not in run files, and tutorial 5's loss had no name."""
    run = config.read(
        written("""
[network]
layers = [
    { kind = "Leaky", beta = { learn_tau = 10.0 } },
    { kind = "Synaptic", alpha = { learn_tau = 4.0, per = "neuron", dt = 0.5 }, beta = { learn_tau = [5, 6.0] } },
]

[train]
loss = { kind = "ce_membrane_loss", over_time = "sum" }
""")
    )
    synaptic = sc.Synaptic(alpha=sc.learn_tau(4.0, dt=0.5, per="neuron"), beta=sc.learn_tau([5.0, 6.0]))
    assert run.network.make() == sc.Sequential(sc.Leaky(beta=sc.learn_tau(10.0)), synaptic)
    assert run.train.loss.make() == sc.functional.ce_membrane_loss(over_time="sum")
    assert config.read(written(config.write(run).decode())) == run


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{ learn_tau = -1.0 }", "learn_tau: tau=-1.0"),
        ("{ learn_tau = 10.0, learn = 0.9 }", "a learned value is"),
        ("{ learn = 0.9, dt = 0.5 }", "a learned value is"),
        ("{ learn_tau = true }", "must be a number"),
        ("{ tau = 3.0 }", "through its time constant {learn_tau = 10.0}"),
    ],
)
def test_bad_learned_values_say_what_one_is(written, value, message):
    """D10"""
    (line,) = refused(written(f"[network]\nlayers = [{{ kind = 'Leaky', beta = {value} }}]\n"))
    assert message in line


def test_run_files_know_every_layer_of_the_library():
    known = {model.__name__ for model in kinds.LAYER_MODELS}
    modules = {"nir", "nn"}  # no layers; they need packages of their own, and nir is not made for Python below 3.9
    layers = {
        name
        for name in set(sc.__all__) - modules
        if isinstance(getattr(sc, name), type) and issubclass(getattr(sc, name), sc.base.Layer)
        if name != "Torch"  # wraps a module, which a run file cannot write
        if not inspect.isabstract(getattr(sc, name)) and getattr(sc, name).step is not sc.base.Neuron.step
    }
    assert layers <= known


def test_neurons_wrap_neurons_and_quantise_their_state(written):
    run = config.read(
        written("""
[[network.layers]]
kind = "Recurrent"
neuron = { kind = "Leaky", state_quant = { num_bits = 4 } }
connection = { kind = "Linear", in_features = 10, out_features = 10 }

[[network.layers]]
kind = "Concat"
layers = ["Leaky", "Leaky"]
axis = -1
""")
    )
    quantised = sc.Leaky(state_quant=quant.state_quant(num_bits=4))
    recurrent = sc.Recurrent(neuron=quantised, connection=sc.Linear(10, 10))
    assert run.network.make() == sc.Sequential(recurrent, sc.Concat(sc.Leaky(), sc.Leaky(), axis=-1))
    assert config.read(written(config.write(run).decode())) == run


@pytest.mark.parametrize(
    "text", ['encoder = "rate"', 'encoder = { kind = "latency", normalize = true }', "encoder = { num_steps = 3 }"]
)
def test_encoders_become_arguments_of_fit(written, text):
    feeding = config.read(written(text + SMALL)).encoder.make()
    assert feeding["num_steps"] == (3 if "3" in text else 25)
    assert (feeding["encoder"] is None) == ("kind" not in text and "rate" not in text)


def test_paths_count_from_the_run_file(written, tmp_path):
    path = written('data = { name = "npz", path = "mine.npz" }' + SMALL)
    assert config.read(path).data.path == str(tmp_path / "mine.npz")


# ---- precedence ----------------------------------------------------------------------------------------------------


def test_flag_beats_environment_beats_file(monkeypatch):
    assert config.read(DEMO).engine == "torch"
    monkeypatch.setenv("SPIKECORE_ENGINE", "cupy")
    assert config.read(DEMO).engine == "cupy"
    assert config.read(DEMO, "numpy").engine == "numpy"
    assert config.read(DEMO, sets=['engine="numpy"']).engine == "cupy"  # --set changes the file


def test_set_reaches_every_place():
    run = config.read(
        DEMO, sets=["train.epochs=3", "network.layers.1.beta=0.5", "encoder=rate", "train.optimizer.clip_norm=2"]
    )
    assert run.train.epochs == 3
    assert run.network.layers[1].beta == 0.5
    assert run.encoder.kind == "rate"
    assert run.train.optimizer.clip_norm == 2.0
    assert config.read(DEMO, sets=["train.epochs="]).train.epochs == 20  # removed: the default
    assert config.read(DEMO, sets=["train.optimizer="]).train.optimizer.make() == sc.Adam(lr=5e-4)


# ---- what is wrong -------------------------------------------------------------------------------------------------


def test_every_problem_is_listed_with_file_key_value_and_allowed(written):
    lines = refused(
        written("""
engine = "torhc"
seeed = 3
dtype = "float33"
data = { name = "digts" }
encoder = { kind = "rate", num_step = 3 }
[network]
layers = [
    { kind = "Linear", in_features = "64", out_feature = 128 },
    { kind = "Leeky" },
    { kind = "Leaky", beta = 1.9 },
    { kind = "Leaky", beta = { learn = 0.9, pre = "neuron" }, surrogate = "atn" },
]
[train]
epochs = -3
optimizer = { lr = -1 }
schedule = { kind = "step", evry = 3 }
""")
    )
    for line in (
        "engine = 'torhc': unknown engine 'torhc'; did you mean 'torch'?",
        "seeed: unknown key 'seeed'; did you mean 'seed'?",
        "dtype = 'float33': must be 'float32' or 'float64'; did you mean 'float32'?",
        "data.name = 'digts': unknown name 'digts'; did you mean 'digits'?",
        "encoder.num_step: unknown key 'num_step'; did you mean 'num_steps'?",
        "network.layers[0].in_features = '64': must be a valid integer",
        "network.layers[0].out_features: is required",
        "network.layers[0].out_feature: unknown key 'out_feature'; did you mean 'out_features'?",
        "network.layers[1].kind = 'Leeky': unknown kind 'Leeky'; did you mean 'Leaky'?",
        "network.layers[2]: Leaky: beta=1.9 must be in [0, 1]",
        "network.layers[3].beta = {'learn': 0.9, 'pre': 'neuron'}: a learned value is",
        "network.layers[3].surrogate.kind = 'atn': unknown kind 'atn'; did you mean 'atan'?",
        "train.epochs = -3: must be >= 1",
        "train.optimizer: Adam: lr=-1.0 must be a number in [0, inf)",
        "train.schedule.every: is required",
        "train.schedule.evry: unknown key 'evry'; did you mean 'every'?",
    ):
        assert any(found.startswith(f"run.toml: {line}") for found in lines), (line, lines)
    assert len(lines) == 16


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("train.epochs", "must be key.path=value"),
        ("train.epochs=3 4", "not a TOML value"),
        ("network.layers.9.beta=1", "no place 'network.layers.9.beta'"),
        ("network.layers.-1.beta=1", "no place 'network.layers.-1.beta'; list entries are counted from 0"),
        (f"train.epochs={10**400}", "demo.toml: train.epochs: whole numbers of TOML have 64 bits at most"),
        (f"seed={10**400}", "demo.toml: seed: whole numbers of TOML have 64 bits at most"),
        ("train.epochs=0", "demo.toml: train.epochs = 0 (from --set train.epochs=0): must be >= 1"),
        ("data.validation=2", "must be 'test', 'none', or a fraction"),
        ("network=3", "network = 3 (from --set network=3): must be a table"),
        ('train.early_stopping={monitor="val_los"}', "did you mean 'val_loss'?"),
        ("encoder.kind=rate_", "did you mean 'rate'?"),
        ("train.pruning={amount=0.5}", "pruning needs optimizer.keep_zeros = true"),
        ("train.rewiring={}", "rewiring needs optimizer.keep_zeros = true"),
    ],
)
def test_what_a_flag_breaks_names_the_flag(sets, message):
    (line,) = refused(DEMO, sets)
    assert message in line


def test_an_unknown_engine_names_its_source(monkeypatch):
    assert "(from --engine)" in refused(DEMO, engine="numpi")[0]
    monkeypatch.setenv("SPIKECORE_ENGINE", "numpi")
    assert "(from $SPIKECORE_ENGINE)" in refused(DEMO)[0]


def test_early_stopping_needs_what_it_watches():
    (line,) = refused(DEMO, "data.validation=none", "train.early_stopping={patience=2}")
    assert "'val_loss'" in line
    assert "Known: accuracy, loss" in line


def test_learning_forward_in_time_is_checked_before_anything_runs():
    (line,) = refused(DEMO, "train.learning=ottt", "train.loss=mse_count_loss")
    assert "train.learning = 'ottt'" in line
    assert "is not known step by step" in line
    (line,) = refused(DEMO, "train.learning.kind=eprop", "train.learning.window=3")
    assert "train.learning.window" in line
    assert "unknown key 'window'" in line


def test_no_file_and_no_toml(written, tmp_path):
    written(SMALL, "near.toml")
    assert re.search(r"no such run file; here are .*near\.toml", refused(tmp_path / "far.toml")[0])
    assert "not a TOML file" in refused(written("= 3", "broken.toml"))[0]
    assert "brackets within brackets" in refused(written("a = " + "[" * 5000, "deep.toml"))[0]


def test_a_file_that_does_not_fit_into_memory(written, monkeypatch):
    def full(path, **options):
        raise MemoryError

    path = written(SMALL)
    monkeypatch.setattr(type(path), "read_text", full)
    assert "run.toml: cannot be read: it is too large" in refused(path)[0]


def test_names_of_arrays_by_part_need_no_quotes():
    assert config.value_of("--set data.lengths", "steps_{part}") == "steps_{part}"
    with pytest.raises(config.ConfigError, match="not a TOML value"):
        config.value_of("--set data.lengths", "steps_{}")


def test_a_network_in_few_bits(written):
    table = '[network.quantize]\nweights = 4\nscale = "learned"\nstates = { bits = 12, fraction = 6 }\nskip = ["0"]\n'
    run = config.read(written(SMALL + table))
    plain = config.read(written(SMALL, "plain.toml")).network.make()
    expected = sc.compression.quantize(plain, 4, states=sc.compression.FixedPoint(12, 6), scale="learned", skip=["0"])
    assert run.network.make() == expected != plain
    (line,) = refused(written(SMALL + table.replace('"0"', '"7"'), "skip.toml"))
    assert "unknown layer '7'" in line
    (line,) = refused(written(SMALL + table.replace("4", "1", 1), "bits.toml"))
    assert "weights" in line
    for said, message in (
        ("16", "network.quantize.states = 16: must be a table"),
        ("{ bits = 16, unit = 3 }", "network.quantize.states.unit: unknown key 'unit'. Known: bits, fraction, "),
        ("{ bits = 99 }", "network.quantize.states: FixedPoint: bits=99 must be an int in [2, 24]"),
    ):
        (line,) = refused(written(f"{SMALL}[network.quantize]\nstates = {said}\n", "states.toml"))
        assert message in line


def test_run_files_doc_mentions_every_key():
    text = (ROOT / "docs" / "run_file_keys.md").read_text()
    sections = (
        config.RunFile,
        tables.Digits,
        tables.Mnist,
        tables.Npz,
        config.NetworkTable,
        config.Train,
        kinds.Stopping,
    )
    sections += (kinds.AnyPruning, kinds.AnyRewiring)
    sections += (Quantize,)
    for model in sections:
        for key in model.model_fields:
            assert f"`{key}`" in text, f"{model.__name__}.{key} is not in docs/run_file_keys.md"

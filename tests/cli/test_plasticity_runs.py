"""Plasticity in run files: trained, resumed, judged by votes, and refused, as a user meets it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore import plasticity, spikegen  # noqa: E402
from spikecore.api.learning.plasticity import additive  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import run_directory  # noqa: E402
from spikecore.cli.learning_table import PLASTIC  # noqa: E402
from spikecore.cli.messages import ConfigError  # noqa: E402
from spikecore.cli.run_directory import TrainingRun  # noqa: E402
from spikecore.cli.run_file import read, resolved, write  # noqa: E402

RUN = """
engine = "numpy"

[data]
name = "npz"
path = "bars.npz"
batch_size = 10
validation = "none"

[encoder]
kind = "rate"
num_steps = 20
gain = 0.4

[network]
layers = [
    { kind = "Linear", in_features = 16, out_features = 8, bias = false, weight_init = { kind = "uniform", low = 0.2, high = 0.4 } },
    { kind = "Recurrent", neuron = { kind = "Leaky", beta = 0.95, threshold = { learn = 2.0, per = "neuron" }, reset_mechanism = "zero", inhibition = true }, connection = { kind = "Linear", in_features = 8, out_features = 8, bias = false, weight_init = { kind = "lateral", value = -20.0 } } },
]

[train]
epochs = 5
metric = ["rate", "accuracy_vote"]

[train.learning]
kind = "Plasticity"
reduction = "sum"

[train.learning.rules]
0 = [{ kind = "PowerLawSTDP", lr_post = 0.05 }, "Bounds", { kind = "Normalize", total = 4.0 }]
1 = { kind = "AdaptiveThreshold", lr = 0.2, rate = 0.0125 }
"""  # noqa: E501


@pytest.fixture(autouse=True)
def bars(elsewhere):
    """Rows and columns of 4 x 4 pixels, and a run file that learns them."""
    x = np.zeros((8, 4, 4), "float32")
    for i in range(4):
        x[i, i], x[4 + i, :, i] = 1.0, 1.0
    x, y = np.tile(x.reshape(8, 16), (10, 1)), np.tile(np.arange(8), 10)
    np.savez("bars.npz", x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])
    Path("bars.toml").write_text(RUN, encoding="utf-8")
    return x, y


def in_python(x):
    """What the run file means."""
    neuron = sc.Leaky(beta=0.95, threshold=sc.learn(2.0, per="neuron"), reset_mechanism="zero", inhibition=True)
    lateral = sc.Linear(8, 8, bias=False, weight_init=sc.init.lateral(-20.0))
    first = sc.Linear(16, 8, bias=False, weight_init=sc.init.uniform(0.2, 0.4))
    model = sc.Model(sc.Sequential(first, sc.Recurrent(neuron, lateral)), engine="numpy")
    rules = (plasticity.PowerLawSTDP(lr_post=0.05), plasticity.Bounds(), plasticity.Normalize(4.0))
    thresholds = plasticity.AdaptiveThreshold(lr=0.2, rate=0.0125)
    learning = plasticity.Plasticity({"0": rules, "1": thresholds}, reduction="sum")
    loader = sc.datasets.Loader(x, batch_size=10)
    model.fit(loader, learning=learning, epochs=5, num_steps=20, encoder=encode, progress=False)
    return model


def encode(x, num_steps, seed, first):
    return spikegen.rate(x, num_steps, gain=0.4, seed=seed, first=first)


def test_a_run_learns_what_python_learns_and_goes_on_where_it_was(spikecore, bars):
    assert spikecore("train", "bars.toml", "--out", "run", "--no-progress")[0] == 0
    model, result = sc.load("run/model.safetensors", engine="numpy"), json.loads(Path("run/result.json").read_text())
    expected = in_python(bars[0])
    for name, weight in expected.params().items():
        assert (model.params()[name] == weight).all(), name
    assert result["test_accuracy_vote"] > 0.8
    assert 0 < result["test_rate"] < 0.2
    assert [set(row) for row in model.history] == [{"epoch", "rate", "lr", "seconds", "samples_per_s"}] * 5
    code, said, _ = spikecore("evaluate", "run")
    assert (code, f"{result['test_accuracy_vote']:.6f}" in said.splitlines()[-1]) == (0, True)
    assert len({line.index("  ", len(line) - len(line.lstrip())) for line in said.splitlines()}) == 1, "aligned"
    half = ["--set", "train.epochs=2", "--no-progress"]
    assert spikecore("train", "bars.toml", "--out", "half", *half)[0] == 0
    assert spikecore("train", "half", "--resume", "--set", "train.epochs=5", "--no-progress")[0] == 0
    for name, weight in sc.load("half/model.safetensors", engine="numpy").params().items():
        assert (weight == expected.params()[name]).all(), name
    code, _, error = spikecore("train", "run", "--resume", "--set", "train.learning.rules.1.0.lr=0.1")
    assert (code, "train.learning.rules.1.0.lr is 0.1, but the run began with 0.2" in error) == (cli.USAGE, True)


def test_pictures_take_no_neuron_for_a_class(monkeypatch):
    """With a loss, which is only reported, neurons were drawn as classes, for which there may be no names."""
    seen = []
    monkeypatch.setattr(run_directory, "draw", lambda *arguments: seen.append(arguments[5]) or [])
    job = TrainingRun(
        read("bars.toml", sets=["train.loss=ce_rate_loss", "train.metric=rate", "train.epochs=1"]), Path("run")
    )
    with job.start() as model:
        job.train(model)
        assert {"loss", "rate"} < set(model.history[-1])
        assert {"test_loss", "test_rate"} < set(job.evaluate(model))
        job.pictures(model)
    assert seen == [None]


def test_votes_after_each_epoch(spikecore):
    sets = ["data.validation=0.2", "train.early_stopping={monitor='val_accuracy_vote', patience=2}", "train.epochs=9"]
    sets.append("train.schedule={kind='reduce_on_plateau', monitor='val_accuracy_vote', patience=0}")
    options = [word for one in sets for word in ("--set", one)]
    code, said, _ = spikecore("train", "bars.toml", "--out", "run", "--no-progress", *options)
    assert code == 0
    rows = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    assert f"val_accuracy_vote {rows[-1]['val_accuracy_vote']:.4f}" in said
    assert {"rate", "val_rate", "val_accuracy_vote"} < set(rows[0])
    assert len(rows) < 9
    assert rows[0]["lr"] == 1.0 > rows[-1]["lr"], "the schedule reads the votes, which a callback adds"
    assert json.loads(Path("run/result.json").read_text())["test_accuracy_vote"] > 0.8


# ---- keys and values -----------------------------------------------------------------------------------------------

NEEDED = {"Normalize": {"total": 4.0}}
OTHER = {  # values that are not the default
    **{"tau_pre": 3.0, "tau_post": 4.0, "f_pre": "additive", "f_post": "additive", "exponential": True, "lr": 0.02},
    **{"a2_plus": 0.1, "a2_minus": 0.1, "a3_plus": 0.1, "a3_minus": 0.1, "tau_plus": 3.0, "tau_minus": 3.0},
    **{"tau_x": 5.0, "tau_y": 6.0, "nearest": True, "a_minus": 0.1, "a_plus": 0.1, "theta_minus": 0.1, "peak": "none"},
    **{"theta_plus": 0.5, "target": 0.3, "tau_mean": 50.0, "lr_post": 0.1, "lr_pre": 0.1, "x_target": 0.2, "mu": 0.5},
    **{"w_max": 2.0, "rate": 0.1, "tau": 9.0, "negative": False, "low": "none", "high": "none", "total": 3.0},
    **{"tau_eligibility": 5.0},
}


def changed(name, rules, **learning):
    """The run file with other rules."""
    run = read("bars.toml", sets=["train.epochs=1"]).plain()
    run["train"]["learning"] = {"kind": "Plasticity", "rules": rules, **learning}
    import tomli_w

    Path(f"{name}.toml").write_text(tomli_w.dumps(run), encoding="utf-8")
    return read(f"{name}.toml")


@pytest.mark.parametrize("name", PLASTIC)
def test_every_rule_with_every_option(name):
    rule = PLASTIC[name]
    options = {field.name: OTHER[field.name] for field in dataclasses.fields(rule) if field.name != "layer"}
    layer = "1" if name == "AdaptiveThreshold" else "0"
    beside = ["STDP"] if name in ("Bounds", "Normalize") else []
    reward = {"reward": {"kind": "ClassReward", "right": 2.0}} if name == "RewardSTDP" else {}
    for given in (NEEDED.get(name, {}), options):
        run = changed(name, {layer: [{"kind": name, **given}, *beside]}, **reward)
        Path("again.toml").write_bytes(write(run))
        assert read("again.toml") == run
        meant = {k: None if v == "none" else additive if v == "additive" else v for k, v in given.items()}
        learning = run.train.learning.make()
        assert learning.by_layer()[layer][0] == rule(**meant)
    job = TrainingRun(run)
    with job.start() as model:
        before = model.params()
        job.train(model)
        assert any((model.params()[key] != weight).any() for key, weight in before.items())


LEARNING = "train.learning"
WRONG = {
    "(from --set train.learning.rules.0.1=Bound): unknown kind 'Bound'; did you mean 'Bounds'":
        f"{LEARNING}.rules.0.1=Bound",
    "train.learning.rules.1 (from --set train.learning.rules.1.lr=-1): AdaptiveThreshold: lr=-1.0 must be >= 0":
        f"{LEARNING}.rules.1.lr=-1",
    "train.learning.rules.1.layer (from": f"{LEARNING}.rules.1.layer=3",
    "train.learning.rules.0[1].low = 'x' (from --set train.learning.rules.0.1.low=x): must be a number, or 'none'":
        f"{LEARNING}.rules.0.1.low=x",
    "train.learning.rules.1 (from": f"{LEARNING}.rules.1={{connection='STDP'}}",
    'a name with a dot needs quotes, e.g. "1.connection" = ...': f"{LEARNING}.rules.1={{connection='STDP'}}",
    "train.learning.rules = {}": f"{LEARNING}.rules={{}}",
    "train.learning.rules (from --set train.learning=Plasticity): is required": f"{LEARNING}=Plasticity",
    'RewardSTDP needs a reward: reward = "ClassReward"': f"{LEARNING}.rules.0.0=RewardSTDP",
    "reward is given, but no rule takes one": f"{LEARNING}.reward=ClassReward",
    "optimizer: for gradients, and learning.kind = 'Plasticity' has none: remove the key": "train.optimizer=SGD",
    "compute.accumulate: for gradients": "train.compute.accumulate=2",
    "pruning needs learning.keep_zeros = true": "train.pruning={amount=0.5}",
    "metric.kind = 'accuracy_vote' is for learning.kind = 'Plasticity'": "train.learning=eprop",
    "metric: 'accuracy_vote' comes twice": "train.metric=['accuracy_vote', 'accuracy_vote']",
    "metric: 'accuracy' decides as the loss does, and there is none": "train.metric=accuracy",
    "unknown column 'val_rate'": "train.early_stopping={monitor='val_rate'}",
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_named(message):
    with pytest.raises(ConfigError) as error:
        read("bars.toml", sets=[WRONG[message]])
    assert message in str(error.value)


def test_quotes_that_the_shell_took_are_named_and_every_change_of_a_table():
    key = f"{LEARNING}.rules.1.connection"
    with pytest.raises(ConfigError) as error:
        read("bars.toml", sets=["train.epochs=3", f"{key}=STDP"])
    assert 'a name with a dot needs quotes, e.g. "1.connection" = ...; in a shell, others around' in str(error.value)
    with pytest.raises(
        ConfigError, match=r"train \(from --set train.epochs=3, --set train.compute.compile=true\): compute.compile: "
    ):
        read("bars.toml", sets=["train.epochs=3", "train.compute.compile=true"])


def test_a_name_with_a_dot_has_quotes_everywhere():
    text = RUN.replace("\n1 = {", '\n"1.connection" = "InhibitorySTDP"\n1 = {')
    Path("quoted.toml").write_text(text, encoding="utf-8")
    key = 'train.learning.rules."1.connection".lr'
    run, settings = resolved("quoted.toml", sets=[f"{key}=0.5", "train.learning.rules.1.0.rate=0.2"])
    assert run.train.learning.rules["1.connection"][0].lr == 0.5
    assert run.train.learning.rules["1"][0].rate == 0.2
    origins = {setting.key: setting.origin for setting in settings}
    assert origins['train.learning.rules."1.connection".0.lr'] == f"--set {key}=0.5"
    assert origins['train.learning.rules."1.connection".0.kind'] == "quoted.toml:31"
    assert origins["train.learning.rules.1.0.lr"] == "quoted.toml:32"
    for setting in settings:  # as they are shown, all may be set
        if setting.key.startswith("train.learning.") and isinstance(setting.value, float):
            read("quoted.toml", sets=[f"{setting.key}={setting.value}"])
    with pytest.raises(ConfigError, match=r'rules\."1\.connection" \(from'):
        read("quoted.toml", sets=[f"{key}=-1"])


# ---- a new run file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "mnist", "npz"])
def test_a_new_file_learns_without_labels(spikecore, name):
    """With each # taken away from #key it is a run file, too."""
    where = ["--path", "bars.npz"] if name == "npz" else []
    code, text, _ = spikecore("init", name, "--plasticity", "--out", "-", *where)
    assert code == 0
    for version in (text, re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)):
        Path("new.toml").write_text(version, encoding="utf-8")
        run = read("new.toml", "numpy")
        first, second = run.network.make().layers
        assert second.connection.out_features == first.out_features == (400 if name == "mnist" else 100)
        assert list(run.train.learning.make().by_layer()) == ["0", "1"]
    if name == "npz":
        Path("new.toml").write_text(text, encoding="utf-8")
        assert spikecore("train", "new.toml", "--set", "train.epochs=1", "--set", "encoder.num_steps=3")[0] == 0


def test_a_new_file_with_two_networks_or_without_samples_is_refused(spikecore):
    code, _, error = spikecore("init", "digits", "--plasticity", "--zoo", "dense_snn")
    assert (code, "--plasticity has a network of its own: leave --zoo dense_snn out" in error) == (cli.USAGE, True)
    code, _, error = spikecore("init", "shd", "--plasticity")
    assert (code, "--plasticity: takes images and arrays, which spikes encode, not SHD" in error) == (cli.USAGE, True)
    np.savez("seen.npz", x_train=np.ones((2, 5, 4)), y_train=[0, 1], x_test=np.ones((2, 5, 4)), y_test=[0, 1])
    code, _, error = spikecore("init", "npz", "--path", "seen.npz", "--plasticity", "--time-axis", "1")
    assert (code, "leave it out, or --time-axis 1" in error) == (cli.USAGE, True)
    np.savez("below.npz", x_train=np.ones((2, 4)), y_train=[0, -1], x_test=np.ones((2, 4)), y_test=[0, 1])
    code, _, error = spikecore("init", "npz", "--path", "below.npz")
    assert (code, "its targets begin at -1; classes are counted from 0" in error) == (cli.USAGE, True)
    np.savez("pixels.npz", x_train=np.full((2, 4), 255), y_train=[0, 1], x_test=np.ones((2, 4)), y_test=[0, 1])
    code, _, error = spikecore("init", "npz", "--path", "pixels.npz", "--plasticity")
    assert (code, "x_train goes from 255 to 255; for --plasticity" in error) == (cli.USAGE, True)
    assert list(Path().glob("*.toml")) == [Path("bars.toml")]


# ---- other commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["verify"], "local rules follow no gradient, so there is none to verify"),
        (["verify", "--learning", "eprop"], "local rules follow no gradient"),
        (["check"], "an IPU keeps weights where local rules cannot change them"),
    ],
)
def test_what_has_no_gradient_is_refused(spikecore, command, reason):
    code, _, error = spikecore(command[0], "bars.toml", *command[1:])
    assert code == cli.USAGE
    assert f"bars.toml: train.learning.kind = 'Plasticity': {reason}" in error


def test_rules_that_do_not_fit_the_network_leave_no_directory(spikecore):
    code, _, error = spikecore("train", "bars.toml", "--set", "train.learning.rules.7=STDP")
    assert (code, "train: Plasticity: unknown layer '7'" in error) == (cli.USAGE, True)
    assert not Path("runs").exists()


def test_a_label_that_is_no_class_is_found_before_training(spikecore, bars):
    x, y = bars
    np.savez("bars.npz", x_train=x, y_train=np.append(y[:-1], -1), x_test=x[:16], y_test=y[:16])
    code, _, error = spikecore("train", "bars.toml", "--dry-run")
    assert (code, "targets[79] = -1 must be >= 0: a class index" in error) == (cli.USAGE, True)


def test_a_dry_run_shows_what_learning_takes(spikecore):
    def memory(*options):
        return json.loads(spikecore("train", "bars.toml", "--dry-run", "--json", *options)[1])

    whole, parts = memory(), memory("--set", "train.learning.update_every=2")
    assert whole["weight_bytes"] == 4 * (16 * 8 + 8 + 8 * 8)
    assert (whole["carried_bytes"], whole["output_bytes"]) == (None, 10 * parts["output_bytes"])
    rules = ["--set", "train.metric=", "--set", "train.learning={kind='eprop'}"]
    short, long = memory(*rules), memory(*rules, "--set", "encoder.num_steps=200")
    assert short["carried_bytes"] == long["carried_bytes"] > 4 * 10 * (16 * 8 + 8 * 8)
    assert long["output_bytes"] == 10 * short["output_bytes"] == 4 * 200 * 10 * 8, "those of the last layer"


def test_the_example_is_the_run_file():
    run = read(ROOT / "examples" / "diehl_cook.toml")
    rules = {name: entries for name, entries in run.train.learning.make().by_layer().items()}
    assert {name: [type(rule).__name__ for rule in entries] for name, entries in rules.items()} == {
        "0": ["PowerLawSTDP", "Bounds", "Normalize"],
        "1": ["AdaptiveThreshold"],
    }

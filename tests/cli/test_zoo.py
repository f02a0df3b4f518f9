"""Architectures of the zoo from the command line: in run files, in sweeps, in new run files, and listed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore import zoo  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli.messages import ConfigError  # noqa: E402
from spikecore.cli.network_table import NetworkTable  # noqa: E402
from spikecore.cli.new_run_file import STARTS, new_run_file  # noqa: E402
from spikecore.cli.run_file import given, read, write  # noqa: E402
from spikecore.cli.sweep_space import read_space  # noqa: E402

NAMES = [card.name for card in zoo.list()]
RUN = """
[data]
name = "npz"
path = "arrays.npz"
validation = 0.5

[encoder]
num_steps = 2

[network.zoo]
kind = "sew_resnet18"
num_classes = 10
in_channels = 1
width = 2
stem = "cifar"

[train]
epochs = 1
"""


@pytest.fixture(autouse=True)
def arrays(elsewhere):
    Path("run.toml").write_text(RUN, encoding="utf-8")
    arrays = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32), np.arange(20) % 10
    np.savez("arrays.npz", x_train=arrays[0], y_train=arrays[1], x_test=arrays[0][:4], y_test=arrays[1][:4])


@pytest.mark.parametrize("name", NAMES)
def test_a_run_file_names_every_architecture_and_means_its_defaults(name):
    table = NetworkTable.model_validate({"zoo": name})
    written = table.model_dump(exclude_none=True)
    assert table.make() == getattr(zoo, name)()
    assert NetworkTable.model_validate(written).make() == getattr(zoo, name)()


@pytest.mark.parametrize(
    ("table", "network"),
    [
        (
            "{ kind = 'sew_resnet18', width = 4, join = 'iand', neuron = 'PLIF' }",
            lambda: zoo.sew_resnet18(width=4, join="iand", neuron=sc.PLIF()),
        ),
        (
            "{ kind = 'dense_snn', neuron = { kind = 'Leaky', beta = { learn = 0.8, per = 'neuron' } } }",
            lambda: zoo.dense_snn(neuron=sc.Leaky(beta=sc.learn(0.8, per="neuron"))),
        ),
        (
            "{ kind = 'qkformer', depths = [1, 1, 1], num_heads = [2, 2, 2], dim = 64 }",
            lambda: zoo.qkformer((1, 1, 1), 64, (2, 2, 2)),
        ),
    ],
)
def test_options_are_the_arguments_of_the_function(table, network):
    assert read("run.toml", sets=[f"network.zoo={table}"]).network.make() == network()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("network.zoo=sew_resnet19", "unknown kind 'sew_resnet19'; did you mean 'sew_resnet18'? Known: conv_snn, "),
        ("network.zoo.widht=3", "network.zoo.widht (from --set network.zoo.widht=3): unknown key 'widht'; did you"),
        ("network.zoo.width=0", "sew_resnet18: width=0 must be an int >= 1"),
        ("network.zoo.stem=cifarr", "unknown stem 'cifarr'; did you mean 'cifar'?"),
        ("network.zoo.neuron=Linear", "network.zoo.neuron.kind = 'Linear'"),
        ("network.zoo.neuron={kind='Leaky', beta=1.5}", "Leaky: beta=1.5 must be in [0, 1]"),
        ("network.zoo={kind='spikformer', dim=12}", "spikformer: dim=12 must be divisible by 8"),
        ("network.layers=['Flatten']", "network (from --set network.layers=['Flatten']): has layers and zoo"),
        ("network.zoo=", "network (from --set network.zoo=): has neither layers nor zoo"),
    ],
)
def test_mistakes_are_told_with_what_is_allowed(change, said):
    with pytest.raises(ConfigError) as error:
        read("run.toml", sets=[change])
    assert said in str(error.value)


def test_it_trains_resumes_and_verifies(spikecore):
    code, said, error = spikecore("train", "run.toml", "-e", "torch", "--out", "run")
    assert code == 0, error
    assert "test_accuracy" in said
    run = read("run/run.toml")
    assert run == read(_written(run)), "the run file of the directory says the same"
    assert run.network.make() == zoo.sew_resnet18(10, in_channels=1, width=2, stem="cifar")
    code, _, error = spikecore("train", "run", "--resume", "-s", "train.epochs=2")
    assert code == 0, error
    code, _, error = spikecore("train", "run", "--resume", "-s", "network.zoo.width=4", "-s", "train.epochs=3")
    assert code == cli.USAGE
    assert "network.zoo.width" in error


def _written(run):
    Path("again.toml").write_bytes(write(run))
    return "again.toml"


def test_a_network_that_does_not_take_the_samples_is_refused_before_training(spikecore):
    code, _, error = spikecore("train", "run.toml", "-s", "network.zoo.in_channels=3", "--out", "run")
    assert code == cli.USAGE
    assert "run.toml: network: " in error
    assert not Path("run").exists()


def test_check_for_an_ipu(spikecore):
    code, said, _ = spikecore("check", "run.toml", "--for", "ipu")
    assert code == 0
    assert "no objection" in said


def test_a_sweep_varies_options():
    Path("space.toml").write_text('["network.zoo.width"]\nlow = 2\nhigh = 8\nint = true\n', encoding="utf-8")
    space = read_space(Path("space.toml"), given("run.toml"))
    wide = space.parameters[0].put(given("run.toml"), 8)
    assert wide.data["network"]["zoo"]["width"] == 8
    Path("space.toml").write_text('["network.zoo.stem"]\nchoices = ["cifar", "small"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown stem 'small'"):
        read_space(Path("space.toml"), given("run.toml"))


# ---- new run files -------------------------------------------------------------------------------------------------


FLAT = {card.name for card in zoo.list() if len(card.sample) == 1}  # those that take vectors
NONE_FITS = {
    "fashion_mnist": {"spiking_vgg11", "spiking_vgg16"},  # whose sizes are multiples of 32
    "digits": {"spiking_vgg11", "spiking_vgg16", "conv_snn"},
    "nmnist": {"spiking_vgg11", "spiking_vgg16", *FLAT},
    "dvs_gesture": FLAT,
    "shd": {*NAMES} - FLAT,
}


@pytest.mark.parametrize("dataset", NONE_FITS)
@pytest.mark.parametrize("name", NAMES)
def test_a_new_file_has_an_architecture_that_fits_or_says_why_not(dataset, name):
    if name in NONE_FITS[dataset]:
        with pytest.raises(ConfigError, match=f"--zoo {name}: "):
            new_run_file(dataset, None, zoo.card(name))
        return
    text = new_run_file(dataset, None, zoo.card(name))
    Path("new.toml").write_text(text, encoding="utf-8")
    run = read("new.toml", "numpy")
    table = run.network.zoo
    assert table.kind == name
    assert table.num_classes == STARTS[dataset].classes
    assert getattr(run.data, "image", False) == (dataset in ("digits", "fashion_mnist") and name not in FLAT)
    assert "\n#neuron = { kind = " in text, "options that are not set are shown with their defaults"


def test_a_new_file_with_an_architecture_trains(spikecore):
    assert spikecore("init", "npz", "--path", "arrays.npz", "--zoo", "sew_resnet18")[0] == 0
    small = ["-s", "network.zoo.width=2", "-s", "train.epochs=1", "-s", "encoder.num_steps=2"]
    code, said, error = spikecore("train", "npz.toml", "-e", "torch", *small, "--out", "run")
    assert code == 0, error
    assert "test_accuracy" in said
    code, _, error = spikecore("init", "digits", "--zoo", "resnet")
    assert code == cli.USAGE
    assert "unknown architecture 'resnet'" in error


# ---- the list ------------------------------------------------------------------------------------------------------


def test_architectures_are_listed(spikecore):
    code, said, _ = spikecore("zoo")
    assert code == 0
    assert all(f"\n{name} " in said for name in NAMES)
    code, said, _ = spikecore("zoo", "--json")
    assert [each["name"] for each in json.loads(said)] == NAMES


@pytest.mark.parametrize("name", ["spikformer", "delay_snn"])
def test_one_is_described_with_its_options_as_a_run_file_has_them(spikecore, name):
    code, said, _ = spikecore("zoo", name)
    assert code == 0
    assert zoo.card(name).paper in said
    table = re.sub(r"\n#(?! )", "\n", said[said.index("[network.zoo]") :])
    Path("zoo.toml").write_text(table, encoding="utf-8")
    assert read("zoo.toml").network.make() == zoo.card(name).build()


def test_an_unknown_one_is_answered_with_the_nearest_name(spikecore):
    code, _, error = spikecore("zoo", "spikforme")
    assert code == cli.USAGE
    assert "did you mean 'spikformer'?" in error


def test_an_architecture_without_data_is_refused(spikecore):
    code, _, error = spikecore("init", "--zoo", "sew_resnet18")
    assert code == cli.USAGE
    assert "spikecore init digits --zoo sew_resnet18" in error


def test_an_option_without_its_value_is_a_wrong_usage(spikecore):
    code, _, error = spikecore("init", "digits", "--zoo")
    assert code == cli.USAGE
    assert "'--zoo' requires an argument" in error

"""``spikecore config`` and ``train --dry-run``, ``--json`` and the completion, as a user meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli.origins import leaves, lines_of  # noqa: E402
from spikecore.cli.run_file import read, resolved  # noqa: E402
from spikecore.cli.toml_text import toml_text  # noqa: E402

try:
    import tomllib
except ImportError:  # Python < 3.11
    import tomli as tomllib

SMALL = ["-e", "numpy", "-s", "train.epochs=1", "-s", "encoder.num_steps=3"]


# ---- config --------------------------------------------------------------------------------------------------------

FILE = """\
engine = "numpy"

[data] # a comment with [ and {
name = "digits"
[network]
layers = [
    { kind = "Linear", in_features = 64, out_features = 10 }, # "}" in a comment
    "Leaky",
    { kind = "Residual", body = { kind = "Sequential", layers = [
        { kind = "Linear", in_features = 10, out_features = 10 },
    ] } },
    { kind = "Leaky", beta = { learn = 0.5 } },
]
[train]
loss = "ce_rate_loss"
metric = "accuracy"
schedule = { kind = "step", every = 3 }
"""


def test_config_says_where_each_value_comes_from(monkeypatch):
    Path("run.toml").write_text(FILE)
    monkeypatch.setenv("SPIKECORE_ENGINE", "torch")
    sets = ["train.epochs=3", "train.optimizer={kind='SGD'}", "network.layers.1={kind='Leaky',beta=0.7}", "train.loss="]
    settings = {setting.key: setting for setting in resolved("run.toml", sets=sets)[1]}
    origins = {key: setting.origin for key, setting in settings.items()}
    assert origins["engine"] == "$SPIKECORE_ENGINE"
    assert origins["data.name"] == "run.toml:4"
    assert origins["network.layers.0.out_features"] == "run.toml:7"
    assert origins["network.layers.1.beta"] == "--set network.layers.1={kind='Leaky',beta=0.7}"
    assert origins["network.layers.1.threshold"] == "default"
    assert origins["network.layers.2.body.layers.0.out_features"] == "run.toml:10"
    assert origins["network.layers.3.beta.learn"] == "run.toml:12"
    assert origins["train.metric.0.kind"] == "run.toml:16"
    assert origins["train.schedule.every"] == "run.toml:17"
    assert origins["train.schedule.factor"] == "default"
    assert origins["train.optimizer.kind"] == "--set train.optimizer={kind='SGD'}"
    assert origins["train.loss.kind"] == origins["train.optimizer.momentum"] == "default"
    assert {setting.origin for setting in resolved("run.toml", "numpy")[1] if setting.key == "engine"} == {"--engine"}


def test_a_list_of_numbers_comes_from_the_line_of_its_first():
    layer = '    { kind = "Conv2d", in_channels = 1, out_channels = 2, kernel_size = [3, 2] },\n'
    Path("run.toml").write_text(FILE.replace("layers = [\n", f"layers = [\n{layer}", 1))
    settings = {setting.key: setting for setting in resolved("run.toml")[1]}
    size = settings["network.layers.0.kernel_size"]
    assert (list(size.value), size.origin) == ([3, 2], "run.toml:7")
    assert settings["network.layers.0.stride"].origin == "default"


def test_a_removed_entry_of_a_list_moves_the_origins_with_the_others():
    Path("run.toml").write_text(FILE)
    origins = {setting.key: setting.origin for setting in resolved("run.toml", sets=["network.layers.2="])[1]}
    assert origins["network.layers.2.beta.learn"] == "run.toml:12"


def test_set_reaches_into_what_a_bare_name_stands_for():
    Path("run.toml").write_text(FILE)
    sets = ["network.layers.1.beta=0.7", "train.loss.reduction=sum", "train.metric.0.kind=accuracy_rate"]
    run = read("run.toml", sets=[*sets, "train.compute.memory=1.5GiB"])
    assert run.train.compute.memory == "1.5GiB"
    assert run.network.layers[1].beta == 0.7
    assert (run.train.loss.kind, run.train.loss.reduction) == ("ce_rate_loss", "sum")
    assert run.train.metric[0].kind == "accuracy_rate"


@pytest.mark.parametrize("path", [ROOT / "examples" / "digits.toml", ROOT / "spikecore" / "cli" / "demo.toml"])
def test_every_value_has_its_line(path):
    text = path.read_text(encoding="utf-8")
    values, lines = leaves(tomllib.loads(text)), lines_of(text)
    assert list(lines) == list(values)
    for key, number in lines.items():
        line = text.splitlines()[number - 1]
        assert key.rpartition(".")[2] in line
        assert toml_text(values[key]) in line or f"{values[key]:g}" in f"{float(line.split('lr = ')[1].split()[0]):g}"


def test_values_of_several_lines_count_where_they_end():
    text = 'a = """\none [ {\n"""\nb = [\n  1, # ]\n  2]\nc = "]#"\n[d.e]\nf = \'{\'\n[[g]]\nh = 1\n[[g]]\nh = 2\n'
    expected = {"a": 3, "b.0": 5, "b.1": 6, "c": 7, "d.e.f": 9, "g.0.h": 11, "g.1.h": 13}
    assert lines_of(text) == expected


def test_lists_of_tables_within_lists_of_tables_are_counted_apart():
    text = "[[a]]\nb = 1\n[[a.c]]\nd = 1\n[[a.c]]\nd = 2\n[[a]]\n[a.e.'f.g']\nh = 1\n[[a.c]]\nd = 3\n[i]\na = 1\n"
    assert list(lines_of(text)) == list(leaves(tomllib.loads(text)))
    assert list(lines_of(text).values()) == [2, 4, 6, 9, 11, 13]


def test_each_line_is_parsed_once_however_many_tables_are_before_it(monkeypatch):
    """A file of twice as many layers takes twice as long, and not four times."""
    seen, loads = [], tomllib.loads
    text = "[[network.layers]]\nkind = 'Leaky'\nbeta = 0.9\n" * 50
    monkeypatch.setattr(tomllib, "loads", lambda text: seen.append(text) or loads(text))
    lines = lines_of(text)
    assert list(lines) == list(leaves(loads(text)))
    assert len(seen) == len(text.splitlines())
    assert sum(map(len, seen)) <= len(text)


@pytest.mark.parametrize(
    "value",
    [
        1,
        -2.5,
        1e-9,
        float("inf"),
        True,
        "text",
        'with "quotes" \\ and ü\n\x7f',
        [1, [2.0]],
        {"a": {"b": [False]}},
        {},
        [],
    ],
)
def test_values_are_written_as_toml_reads_them(value):
    assert tomllib.loads(f"x = {toml_text(value)}")["x"] == value


def test_config_prints_what_set_takes(spikecore):
    Path("run.toml").write_text(FILE)
    code, said, _ = spikecore("config", "run.toml")
    assert code == 0
    for line in said.splitlines():
        setting, _, origin = line.rpartition("  # ")
        key, _, value = setting.strip().partition(" = ")
        assert origin
        if "surrogate" not in key and "optimizer" not in key:  # a table in place of the default one begins anew
            assert resolved("run.toml", sets=[f"{key}={value}"])[0].plain() == read("run.toml").plain(), line
    code, as_json, _ = spikecore("config", "run.toml", "--json", "--engine", "torch")
    found = json.loads(as_json)
    assert found["engine"] == {"value": "torch", "origin": "--engine"}
    assert len(found) == len(said.splitlines())
    assert spikecore("config", "run.toml", "-s", "train.epochs=0")[0] == cli.USAGE


# ---- a dry run, and JSON -------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(spikecore):
    spikecore("init", "digits")
    code, said, error = spikecore("train", "digits.toml", "--dry-run", *SMALL)
    assert code == 0, error
    assert "9,610" in said
    assert "1 epochs of 22 batches: 22 batches" in said
    assert [path.name for path in Path().iterdir()] == ["digits.toml"]
    plan = json.loads(spikecore("train", "digits.toml", "--dry-run", "--json", *SMALL)[1])
    assert (plan["parameters"], plan["time_steps"], plan["batches_per_epoch"]) == (9610, 3, 22)
    assert plan["weight_bytes"] == 9610 * 4 * 4  # with the gradient and Adam's two moments
    assert plan["output_bytes"] == (128 + 128 + 10 + 10) * 3 * 64 * 4
    code, _, error = spikecore(
        "train", "digits.toml", "--dry-run", "-e", "numpy", "-s", "network.layers.0.in_features=9"
    )
    assert code == cli.USAGE
    assert "expected (9,)" in error


@pytest.mark.filterwarnings("always::spikecore.errors.TrainingWarning")
def test_a_test_set_of_one_class_is_said(spikecore):
    """A network that always answers 1 had "test_accuracy 1.0000" there."""
    x, y = np.random.default_rng(0).random((20, 4), dtype="float32"), np.arange(20) // 10
    np.savez("sorted.npz", x_train=x[:15], y_train=y[:15], x_test=x[15:], y_test=y[15:])
    assert spikecore("init", "npz", "--path", "sorted.npz")[0] == 0
    line = "warning: all 5 samples for {} are of class 1, and 2 classes are trained on"
    for more, part in (([], "validation"), (["-s", "data.validation=none"], "test"), (["--dry-run"], "test")):
        code, _, error = spikecore("train", "npz.toml", *SMALL, "--no-progress", *more)
        assert code == 0
        assert error.count(line.format(part)) == 1
    code, _, error = spikecore("train", "npz.toml", *SMALL, "--dry-run", "-s", "data.validation=0.2")
    assert "all 3 samples for validation are of class 1" in error
    spikecore("init", "digits")
    assert "class" not in spikecore("train", "digits.toml", "--dry-run", *SMALL)[2]


def test_a_dry_run_of_a_resumed_run(spikecore):
    spikecore("init", "digits")
    spikecore("train", "digits.toml", *SMALL, "--out", "run")
    before = {path.name: path.stat().st_mtime_ns for path in Path("run").iterdir()}
    code, said, _ = spikecore("train", "run", "--resume", "--dry-run", "-s", "train.epochs=4")
    assert code == 0
    assert "3 epochs (1 of 4 are done)" in said
    assert before == {path.name: path.stat().st_mtime_ns for path in Path("run").iterdir()}
    assert spikecore("train", "digits.toml", "--dry-run", "--out", "run")[0] == cli.USAGE


def test_json_is_all_that_stands_on_stdout(spikecore):
    spikecore("init", "digits")
    code, said, error = spikecore("train", "digits.toml", *SMALL, "--out", "run", "--json", "--no-progress")
    assert code == 0, error
    result = json.loads(said)
    assert set(result) == {"directory", "engine", "dtype", "epochs", "test_loss", "test_accuracy", "pictures"}
    assert (result["directory"], result["epochs"]) == ("run", 1)
    assert "epoch   1" in error
    evaluated = json.loads(spikecore("evaluate", "run", "--json")[1])
    assert evaluated == {key: result[key] for key in evaluated}
    code, said, _ = spikecore("verify", "run", "--samples", "1", "--json")
    report = json.loads(said)
    assert code == 0
    assert report["ok"] is True
    assert report["worst"] < 1e-9
    assert set(report) == {*"ok verdict worst worst_difference rows divergences remarks notes".split()}
    assert spikecore("verify", "run", "--samples", "1")[1].splitlines()[0] == report["verdict"]
    assert len(spikecore("verify", "run", "--samples", "1", "--table")[1].splitlines()) > len(report["rows"])
    assert {"check", "name", "shape", "max_abs", "max_rel", "limit", "verdict"} == set(report["rows"][0])
    rule = ["--set", 'train.learning={kind="eprop", feedback="random"}', "--learning", "eprop"]
    code, said, error = spikecore(
        "verify", "run", "--samples", "1", "--against", "numpy", "-e", "numpy", *rule, "--json"
    )
    assert code == 0, error
    report = json.loads(said)
    assert set(report) == {*"ok verdict learning rows omissions loss exact_loss remarks".split()}
    assert set(report["rows"][0]) == {*"name shape cosine ratio difference verdict".split()}
    assert "feedback='random'" in report["learning"]  # the option of the run file
    assert any("random" in each["what"] for each in report["omissions"])
    assert Path("run/learning.txt").read_text().splitlines()[0] == report["verdict"]
    assert [status["name"] for status in json.loads(spikecore("engines", "--json")[1])] == [
        e.name for e in sc.engines()
    ]


def test_json_of_check(spikecore):
    pytest.importorskip("torch")
    spikecore("init", "digits")
    code, said, _ = spikecore("check", "digits.toml", *SMALL[2:], "--json")
    assert code == 0
    report = json.loads(said)
    assert report["ok"] is True
    assert (report["steps"], report["nodes"] > report["per_step"]) == (3, True)


def test_an_error_leaves_no_json(spikecore):
    spikecore("init", "digits")
    code, said, error = spikecore("train", "digits.toml", "-s", "train.epochs=0", "--json")
    assert (code, said) == (cli.USAGE, "")
    assert "train.epochs" in error


def test_engines_in_a_line_each_and_at_length(spikecore):
    code, said, _ = spikecore("engines")
    statuses = sc.engines()
    assert code == 0
    assert [line.split()[:2] for line in said.splitlines()[: len(statuses)]] == [
        [status.name, "yes" if status.available else "no"] for status in statuses
    ]
    assert max(map(len, said.splitlines())) < 80
    missing = [status for status in statuses if not status.available]
    for status in missing:
        assert status.install in spikecore("engines", status.name)[1]
        assert status.install in spikecore("engines", "--verbose")[1]
    assert "did you mean 'numpy'?" in spikecore("engines", "numpi")[2]


# ---- completion, as a shell asks for it ----------------------------------------------------------------------------


def asked(line):
    """The variables in which bash asks what it may offer behind ``line``."""
    return {"_SPIKECORE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}


def test_the_shell_completes_data_sets_and_engines_behind_a_command(spikecore, tmp_path, monkeypatch):
    """In a process of its own, as the shell asks, and once more in this one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **asked("spikecore init mn")}
    done = subprocess.run([sys.executable, "-m", "spikecore"], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["mnist_sample", "mnist"]
    for name, value in asked("spikecore train --engine num").items():
        monkeypatch.setenv(name, value)
    assert spikecore()[1].split() == ["numpy"]


def test_the_completion_can_be_installed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "spikecore", "--install-completion", "bash"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_SPIKECORE_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "spikecore.sh").read_text()


@pytest.mark.filterwarnings("default::spikecore.errors.TrainingWarning")
def test_warnings_of_training_are_a_line_without_source(spikecore):
    spikecore("init", "digits")
    code, _, said = spikecore("train", "digits.toml", *SMALL, "-s", "network.layers.1.threshold=1000.0")
    assert code == cli.OK
    assert re.search(r"^warning: fit, after epoch 1, .*never fires", said, re.MULTILINE)
    assert "TrainingWarning" not in said

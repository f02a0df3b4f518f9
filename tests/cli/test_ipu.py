"""The IPU engine from the command line: ``check``, ``--simulate``, and what is said without PopTorch."""

# ruff: noqa: E402 (the command line is an extra)

from __future__ import annotations

import json

import pytest

pytest.importorskip("typer", reason="the command line is an extra")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from spikecore.cli.command import NOT_VERIFIED, RUNTIME, USAGE, main

RUN = """
[data]
name = "digits"
batch_size = 64
validation = "none"

[encoder]
kind = "constant"
num_steps = 3

[network]
layers = [{ kind = "Linear", in_features = 64, out_features = 10 }, { kind = "Leaky" }]

[train]
epochs = 1
"""

PLASTICITY = """
[train.learning]
kind = "Plasticity"

[train.learning.rules]
0 = { kind = "PowerLawSTDP", lr_post = 0.03, x_target = 0.3 }
"""


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "digits.toml"
    path.write_text(RUN)
    return path


def call(capsys, *arguments):
    """Exit code, and what was printed."""
    with pytest.raises(SystemExit) as left:
        main([str(one) for one in arguments])
    told = capsys.readouterr()
    return left.value.code, told.out + told.err


def test_check(run_file, capsys):
    code, said = call(capsys, "check", run_file, "--for", "ipu")
    assert code == 0, said
    assert "aten calls, " in said
    assert "no IPU was involved" in said
    code, said = call(capsys, "check", run_file, "--for", "torch")
    assert code == USAGE
    assert "--for torch: unknown target 'torch'" in said


def test_check_refuses(run_file, capsys):
    run_file.write_text('engine = "ipu"\n' + RUN + "[engine_options]\ngradient_accumulation = 5\n")
    code, said = call(capsys, "check", run_file)
    assert code == NOT_VERIFIED, said
    assert "REFUSED  the module: batch: axis 0 of input 0 is 64, which cannot be cut into 5 equal parts" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("learning = { update_every = 2 }", "parts: update_every=2 does not divide the 3 steps of a sequence"),
        ('learning = "eprop"', "learning: learning=EProp() needs gradients, which stay on the device"),
    ],
)
def test_check_refuses_ways_of_learning(run_file, capsys, line, said):
    run_file.write_text(RUN + line + "\n")
    code, told = call(capsys, "check", run_file)
    assert code == NOT_VERIFIED, told
    assert said in " ".join(told.split())


@pytest.mark.parametrize("way", ['learning = "eprop"', PLASTICITY], ids=["e-prop", "plasticity"])
def test_training_refuses_ways_of_learning(run_file, capsys, way):
    run_file.write_text(RUN + way)
    code, told = call(capsys, "train", run_file, "--engine", "ipu", "--simulate")
    assert code == USAGE, told
    assert "digits.toml: train: engine 'ipu' " in told
    assert "numpy" in told


def test_training_in_parts(run_file, capsys, tmp_path):
    run_file.write_text(RUN + "learning = { update_every = 1 }\n")
    code, said = call(capsys, "check", run_file)
    assert code == 0, said
    code, said = call(capsys, "train", run_file, "--engine", "ipu", "--simulate", "--out", tmp_path / "run")
    assert code == 0, said


def test_training_says_that_it_is_simulated(run_file, capsys, tmp_path):
    code, said = call(capsys, "train", run_file, "--engine", "ipu", "--simulate", "--out", tmp_path / "run")
    assert code == 0, said
    assert "IpuEngine(simulated on the CPU" in said
    assert "simulation on the CPU" in json.loads((tmp_path / "run" / "result.json").read_text())["engine"]
    code, said = call(capsys, "evaluate", tmp_path / "run")  # the run directory remembers
    assert code == 0, said
    assert "simulation" in said
    code, said = call(capsys, "verify", run_file, "--engine", "ipu", "--simulate", "--samples", "2")
    assert code == 0, said


def test_without_poptorch(run_file, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("spikecore.api.core.engines.importable", lambda package: package != "poptorch")
    code, said = call(capsys, "train", run_file, "--engine", "ipu", "--out", tmp_path / "run")
    assert code == RUNTIME
    for words in ("Poplar SDK", "torch 2.0.1", "CPython 3.8", "spikecore check", "--simulate"):
        assert words in said


def test_engine_options_are_checked(run_file, capsys):
    bad = "engine_options.gradient_accumulation=0"
    code, said = call(capsys, "train", run_file, "--engine", "ipu", "--simulate", "--set", bad)
    assert code == USAGE
    assert "gradient_accumulation=0 must be an int >= 1" in said
    code, said = call(capsys, "train", run_file, "--engine", "numpy", "--simulate")
    assert code == USAGE
    assert "engine_options for engine 'numpy'" in said
    assert "--set engine_options= removes the table" in said

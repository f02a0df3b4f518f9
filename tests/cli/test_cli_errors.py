"""What the command line says of errors, its codes of exit, its engines and its help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.installing import to_install  # noqa: E402
from tests.cli.test_cli import RUN_FILE, TINY  # noqa: E402


def test_engines_lists_all_with_what_they_lack(spikecore):
    code, said, _ = spikecore("engines")
    assert code == 0
    for status in sc.engines():
        assert status.name in said


# ---- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "absent.toml"), cli.USAGE, "no such run file"),
        (("train", "absent", "--resume"), cli.USAGE, "absent: no such run directory"),
        (("train", RUN_FILE, "--set", "train.epochs=-3"), cli.USAGE, "demo.toml: train.epochs = -3"),
        (("train", RUN_FILE, "-e", "numpi"), cli.USAGE, "did you mean 'numpy'?"),
        (("train", RUN_FILE, "-e", "numpy", "-s", "device=cuda"), cli.USAGE, "takes no device"),
        (("train", RUN_FILE, "-e", "numpy", "-s", "network.layers.0.in_features=6"), cli.USAGE, "expected (6,)"),
        (
            (
                "train",
                RUN_FILE,
                "-e",
                "numpy",
                "-s",
                "train.learning=ottt",
                "-s",
                "network.layers.1={kind='Izhikevich'}",
            ),
            cli.USAGE,
            "demo.toml: train: layer 1 (Izhikevich): its neurons do not share one linear leak",
        ),
        (("train", RUN_FILE, "-s", "data={name='mnist',path='nowhere'}"), cli.DATA, "train-images-idx3-ubyte"),
        (("train", RUN_FILE, "-s", "data={name='npz',path='no.npz'}"), cli.DATA, "no.npz"),
        (("trian",), cli.USAGE, "trian"),
        (("train",), cli.USAGE, "RUN"),
        (("train", RUN_FILE, "--engin", "numpy"), cli.USAGE, "--engin"),
        (("verify", RUN_FILE, "--against", "nunpy"), cli.USAGE, "--against nunpy: unknown engine"),
        (
            ("verify", RUN_FILE, "--learning", "epropp"),
            cli.USAGE,
            "--learning epropp: unknown rule 'epropp'; did you mean",
        ),
        (("train", RUN_FILE, "--engine", "cuda"), cli.USAGE, "write engine = 'torch' and device = 'cuda'"),
        (("plot", "nowhere"), cli.DATA, "not a run directory"),
        (("evaluate", "nowhere"), cli.DATA, "not a run directory"),
    ],
)
def test_errors_have_codes_and_leave_nothing_behind(spikecore, arguments, code, message):
    found, _, error = spikecore(*arguments)
    assert found == code, error
    assert message in error
    assert "Traceback" not in error
    assert list(Path().iterdir()) == []


def test_a_missing_package_is_a_runtime_error(spikecore):
    missing = [status.name for status in sc.engines() if not status.available]
    if not missing:
        pytest.skip("every engine is available here")
    code, _, error = spikecore("train", RUN_FILE, "-e", missing[0])
    assert code == cli.RUNTIME
    assert missing[0] in error
    assert "Traceback" in spikecore("train", RUN_FILE, "-e", missing[0], "--debug")[2]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("network.layers.2.out_features=3", "is out of range: the last layer has 3 classes"),
        ("train.loss.population_code=true train.loss.num_classes=7", "num_classes=7 must divide the 10 output neurons"),
        ("encoder.kind=latency", "encoder: latency: the last spike falls on step"),
        ("train.pruning.layers=['3'] train.optimizer.keep_zeros=true", "train.pruning.layers: '3' fits no layer with"),
    ],
    ids=["labels", "population", "encoder", "pruning"],
)
def test_what_does_not_fit_the_data_is_said_before_there_is_a_directory(spikecore, setting, said):
    sets = [word for one in setting.split() for word in ("--set", one)]
    code, _, error = spikecore("train", RUN_FILE, *TINY, "-e", "numpy", *sets, "--out", "out")
    assert code == cli.USAGE
    assert said in error
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "verify", "plot", "engines", ""])
def test_help_teaches(spikecore, command):
    code, said, _ = spikecore(*command.split(), "--help")
    assert code == 0
    codes = "Exit codes: 0 done; 1 gradients not verified, network refused; 2 wrong usage"
    assert (codes in said) is (not command)  # once, on the first page
    assert not command or f"Examples:\n    spikecore {command}" in said


def test_as_a_module_and_without_the_extra(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "spikecore", "--version"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"spikecore {sc.__version__}\n")
    hide = "import sys; sys.modules['typer'] = None; import spikecore.cli.command"
    done = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, env=environment, check=False, cwd=tmp_path
    )
    assert done.returncode == cli.USAGE
    assert f"typer: {to_install('cli')}" in done.stderr

"""The files of docs/adding.md, outside the library: in the conformance suite and in run files."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest

import spikecore as sc
from spikecore.conformance import cases, own, test_losses, test_neurons, test_scan, test_streams
from tests import ROOT
from tests.docs.adding_rig import NAMES, files, needs_page, own_part  # noqa: F401  (a fixture)

pytestmark = [needs_page, pytest.mark.usefixtures("outside")]

# ---- conformance ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(monkeypatch):
    for name in ("LAYERS", "FAMILY", "NEURONS", "VARIANTS", "LOSSES"):
        monkeypatch.setattr(cases, name, list(getattr(cases, name)))
    monkeypatch.setattr(own, "TRIED", [])


def test_the_suite_tries_cases_of_another_package(tables):
    for name in ("mixed_pool", "rms_norm", "tired", "cosine", "power_pool", "margin"):
        own.add(f"{name}:CASES")
    engine, layers = sc.get_engine("numpy", dtype="float64"), [one for one in own.TRIED if isinstance(one, cases.Case)]
    assert len(layers) == 6
    for case in layers:
        test_neurons.check_agrees_with_numpy(engine, case)
        test_neurons.check_differences(test_neurons.smooth(engine), case)
        test_scan.check_batch_independence(engine, case)
        test_streams.test_a_stream_gives_what_the_whole_sequence_gives(engine, case)
    test_losses.check_gradient(engine, own.TRIED[-1])


def test_the_suite_finds_a_norm_that_does_not_say_that_it_mixes_samples():
    silent = type("Silent", (own_part("rms_norm:RunningRMSNorm"),), {"mixes_samples": False})
    with pytest.raises(AssertionError, match="is it to say mixes_samples = True"):
        test_scan.check_batch_independence(sc.get_engine("numpy", dtype="float64"), cases.Case("silent", silent(5)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere:CASES", "No module named 'nowhere'"),
        ("tired:KASES", "no attribute 'KASES'"),
        ("tired:Tired", "must be module:NAME, a list"),
        ("wrong:CLASS", "objects and not classes"),
        ("wrong:ROW", "must be \\(name, object\\)"),
        ("wrong:RULE", "sc.verify\\(model, x, targets, learning=...\\)"),
    ],
)
def test_wrong_cases_are_refused(tables, outside, text, said):
    (outside / "wrong.py").write_text(
        "import tired, sign_step\nCLASS = [('a', tired.Tired)]\nROW = [3]\nRULE = [('a', sign_step.SignStep())]\n"
    )
    with pytest.raises(ValueError, match=f"--cases {text}: .*{said}"):
        own.add(text)


@pytest.mark.slow
def test_the_suite_runs_on_the_pages_cases_alone(outside):
    options = [word for name in NAMES if name != "sign_step" for word in ("--cases", f"{name}:CASES")]
    command = [sys.executable, "-m", "pytest", "--pyargs", "spikecore.conformance", "--engine", "numpy", "-q", *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{outside}"}
    done = subprocess.run(command, cwd=outside, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert 40 <= passed <= 90


# ---- run files -----------------------------------------------------------------------------------------------------

RUN = """
engine_options = { fused = false }
[data]
batch_size = 512
[encoder]
num_steps = 3
[network]
layers = [
    { kind = "rms_norm:RunningRMSNorm", features = 64 }, { kind = "Linear", in_features = 64, out_features = 8 },
    { kind = "tired:Tired", threshold = 0.5, beta = { learn = 0.9 }, surrogate = "cosine:cosine" },
    { kind = "Linear", in_features = 8, out_features = 10 }, { kind = "Leaky", surrogate = { kind = "cosine:cosine" } },
]
[train]
epochs = 1
loss = { kind = "margin:margin_loss", margin = 0.3 }
learning = "sign_step:SignStep"
optimizer = { kind = "SGD", lr = 1e-3 }
"""


def test_a_run_file_names_it_from_training_to_export(tmp_path, monkeypatch):
    for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib"):
        pytest.importorskip(package)
    from spikecore.cli import command

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RUN)
    for line in (
        "train mine.toml",
        "train runs/mine-001 --resume --set train.epochs=2",
        "evaluate runs/mine-001",
        "export runs/mine-001 --to c --out net",
    ):
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as left:
            command.main(line.split())
        assert left.value.code == 0, line
    assert 'kind = "tired:Tired"' in (tmp_path / "runs" / "mine-001" / "run.toml").read_text()
    assert list(tmp_path.glob("net*.c"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("network.layers.2.kapa=3", r"network.layers\[2\].kapa.*unknown key 'kapa'; did you mean 'kappa'"),
        ("network.layers.2.beta=3", r"network.layers\[2\].*Tired: beta=3.0 must be in \[0, 1\]"),
        (
            "network.layers.2='nowhere:Tired'",
            "'nowhere:Tired' cannot be imported: No module named 'nowhere'.*PYTHONPATH",
        ),
        ("network.layers.2='tired:Tyred'", "module tired has no 'Tyred'"),
        ("network.layers.2='margin:margin_loss'", "expected a frozen dataclass derived from Layer"),
        ("network.layers.2.surrogate='tired:Tired'", "expected a frozen dataclass derived from Surrogate"),
        ("network.layers.2=':Tired'", "write it as 'package.module:Class'"),
        ("network.layers.2='.tired:Tired'", "write it as 'package.module:Class'"),
        ("network.layers.0={kind='rms_norm:RunningRMSNorm'}", r"network.layers\[0\].features.*is required"),
        ("train.loss='cosine:cosine'", r"derived from Loss, or a function \(out, targets\)"),
        ("train.loss={kind='margin:margin_loss', margn=1}", "unknown key 'margn'; did you mean 'margin'"),
        ("train.learning='tired:Tired'", "expected a frozen dataclass derived from Learning"),
        ("train.schedule='a:b'", "unknown kind 'a:b'"),
    ],
)
def test_a_run_file_says_what_is_wrong(tmp_path, change, said):
    for package in ("typer", "pydantic", "tomli_w"):
        pytest.importorskip(package)
    from spikecore.cli import run_file
    from spikecore.cli.messages import ConfigError

    (tmp_path / "mine.toml").write_text(RUN)
    with pytest.raises(ConfigError, match=said):
        run_file.read(tmp_path / "mine.toml", sets=[change])


def test_the_documentation_shows_tables_as_run_files_have_them():
    """Excerpts of run files on all pages, which show the table ``[train]`` or its tables alone."""
    for package in ("pydantic", "tomli_w"):
        pytest.importorskip(package)
    from spikecore.cli import run_file

    found = 0
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            train = run_file.tomllib.loads(block).get("train", {})
            if train:
                run_file.Train.model_validate(train)  # says which key is wrong
                found += 1
    assert found >= 6

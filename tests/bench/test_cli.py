"""``spikecore bench`` as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import pytest

for package in ("typer", "pydantic", "tomli_w", "torch"):
    pytest.importorskip(package)

from benchmarks.workloads import WORKLOADS  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # peers warn of their own affairs


@pytest.fixture
def bench(capsys):
    """Runs the command; returns exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            cli.main(["bench", *map(str, arguments)])
        return (left.value.code or 0, *capsys.readouterr())

    return run


def test_it_prints_the_table_and_writes_it(bench, tmp_path):
    out = tmp_path / "results.md"
    code, said, error = bench("recurrent", "--quick", "--rounds", 2, "--peers", "none", "--out", out)
    assert code == 0, error
    written = out.read_text(encoding="utf-8")
    assert written.strip() == said.strip()
    assert "| RLeaky, T=5 B=3 N=8 | fused | " in written
    assert "snnTorch |" not in written
    assert not error


def shortened(monkeypatch, name, count):
    """Leaves a workload its first groups."""
    whole = WORKLOADS[name]
    monkeypatch.setitem(WORKLOADS, name, replace(whole, groups=lambda settings: islice(whole.groups(settings), count)))


def test_json_holds_every_round(bench, tmp_path):
    out = tmp_path / "results.json"
    assert bench("recurrent", "--quick", "--rounds", 2, "--peers", "none", "--out", out)[0] == 0
    (fused, loop) = json.loads(out.read_text(encoding="utf-8"))["workloads"]["recurrent"]["rows"]
    assert len(fused["figures"]) == len(loop["figures"]) == 2


def test_an_engine_can_be_chosen(bench, monkeypatch):
    shortened(monkeypatch, "tutorial5", 1)
    code, said, _ = bench("tutorial5", "--quick", "--rounds", 1, "--peers", "none", "--engine", "numpy")
    assert code == 0
    assert "| numpy engine |" in said
    assert "| torch engine |" not in said


def test_a_workload_of_which_nothing_is_left_says_so(bench):
    code, said, _ = bench("tutorial6", "--quick", "--peers", "none", "--engine", "numpy")
    assert code == 0
    assert "Nothing is left to run: --engine and --peers leave out every side" in said
    assert "| side |" not in said


def test_it_lists_every_workload_and_peer(bench):
    code, said, _ = bench("--list")
    assert code == 0
    assert all(f"{name}: " in said for name in WORKLOADS)
    assert "snntorch (" in said


def test_it_draws_time_against_rate_and_links_the_picture(bench, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    shortened(monkeypatch, "rates", 2)
    out, plot = tmp_path / "results.md", tmp_path / "images" / "rates.svg"
    plot.parent.mkdir()
    arguments = "rates", "--quick", "--rounds", 1, "--peers", "none", "--out", out, "--plot", plot
    code, said, error = bench(*arguments)
    assert code == 0, error
    written = out.read_text(encoding="utf-8")
    assert "![Time against rate](images/rates.svg)" in written
    assert "| Linear, 10 % | torch engine | " in written
    assert "<svg" in plot.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["neuron"], "WORKLOAD neuron: there are neurons, recurrent"),
        (["--peers", "brian2"], "--peers brian2: there are snntorch, "),
        (["--engine", "jax"], "--engine jax: must be torch or numpy"),
        (["--device", "cuda:99"], "--device cuda:99: this torch cannot use it"),
        (["--out", "results.txt"], "--out results.txt: must end in .md, .json or .jsonl"),
        (["--out", "nowhere/results.md"], "lie in a directory that exists"),
        (["--plot", "rates.pdf"], "--plot rates.pdf: must end in .svg or .png"),
        (["--plot", "nowhere/rates.svg"], "--plot nowhere/rates.svg: must end in .svg or .png and lie in a directory"),
        (["neurons", "--plot", "rates.svg"], "it shows the workload rates or growth; neither is chosen"),
    ],
    ids=["workload", "peer", "engine", "device", "suffix", "directory", "picture", "its directory", "no rates"],
)
def test_wrong_usage_is_told_before_anything_runs(bench, arguments, message):
    code, said, error = bench(*arguments)
    assert code == 2
    assert message in error
    assert not said


def test_its_help_teaches(bench):
    code, said, _ = bench("--help")
    assert code == 0
    assert "parity" in said
    assert "spikecore bench tutorial5 tutorial6 --out results.md" in said

"""The demonstration, shortened: what it leaves, what it says, and that it fails where a bar is missed."""

from __future__ import annotations

import pytest

for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib", "torch"):
    pytest.importorskip(package)

from spikecore.cli import demo  # noqa: E402

SHORT = ["train.epochs=2", "encoder.num_steps=4"]


@pytest.fixture
def two_runs(monkeypatch):
    monkeypatch.setattr(demo, "RUNS", demo.RUNS[::3])


@pytest.mark.usefixtures("two_runs")
def test_the_demo_reports_all_runs_and_passes_its_bars(tmp_path, capsys):
    assert demo.demo(tmp_path, SHORT, accuracy=0.3) == 0
    said = capsys.readouterr().out
    for engine, seed in demo.RUNS:
        directory = tmp_path / f"{engine}-{seed}"
        assert (directory / "traces.png").stat().st_size > 5000
        assert (directory / "model.safetensors").exists()
    assert (tmp_path / "engines.png").stat().st_size > 5000
    assert "verified" in (tmp_path / "torch-0" / "report.txt").read_text()
    table = [line.split() for line in said.splitlines() if line.strip().startswith(("torch  ", "numpy  "))]
    assert [(row[0], int(row[1])) for row in table] == list(demo.RUNS)


@pytest.mark.usefixtures("two_runs")
def test_the_demo_fails_where_a_bar_is_missed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo.TrainingRun, "pictures", lambda self, model: None)  # the test above looks at them
    assert demo.demo(tmp_path, ["train.epochs=1", "encoder.num_steps=2"], accuracy=0.99) == 1
    assert "MISSED: torch, seed 0: accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_the_full_demo_reaches_its_bars(tmp_path):
    assert demo.demo(tmp_path) == 0

"""The command that trains what papers print: resumable, with a table of what has run."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks.reproduced import __main__ as command
from benchmarks.reproduced import mackey_glass, randman, series, yin_yang

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")


@pytest.fixture
def reproduced(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["benchmarks.reproduced", *map(str, words)])
        command.main()
        return capsys.readouterr().out

    return run


def test_a_row_runs_once_for_each_seed_and_stands_in_the_table(reproduced, monkeypatch, tmp_path):
    monkeypatch.setattr(randman, "SAMPLES", 20)
    monkeypatch.setattr(randman, "EPOCHS", 1)
    lines = tmp_path / "lines.jsonl"
    said = reproduced("randman", "--seeds", 2, "--out", lines)
    known = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert [line["seed"] for line in known] == [0, 1]
    assert float(said.splitlines()[-1]) == pytest.approx(np.mean([line["figure"] for line in known]), abs=1e-4)
    assert known[0]["processor"]
    assert known[0]["versions"]["numpy"] == np.__version__
    again = reproduced("randman", "--seeds", 2, "--out", lines)
    assert len(again.splitlines()) == 2, "nothing runs again"
    table = reproduced("--report", "--out", lines)
    assert "|Randman, 20-128-10; % of test samples|" in table
    assert "Yin-Yang" not in table


def test_the_list_names_papers_and_files(reproduced):
    said = reproduced("--list")
    assert len(said.splitlines()) == len(command.ROWS)
    assert "needs ETTh1.csv" in said
    with pytest.raises(SystemExit):
        reproduced("etth1")
    with pytest.raises(SystemExit):
        reproduced("nope")


def test_a_file_of_spikes_is_read(tmp_path):
    times, units = np.array([[0, 5], [3, 99], [7, 120]]), np.array([[0, 1], [19, 2], [4, 5]])
    np.savez(tmp_path / "randman_1.npz", times=times, units=units, labels=np.array([0, 1, 1]))
    x, y = randman.read(tmp_path, seed=0)
    assert x.shape == (3, randman.STEPS, randman.UNITS)
    assert [tuple(place) for place in np.argwhere(x)] == [(0, 0, 0), (0, 5, 1), (1, 3, 19), (1, 99, 2), (2, 7, 4)]
    assert y.tolist() == [0, 1, 1]


def test_curves_are_smooth_and_fill_the_range():
    times, labels = randman.curves(0)
    assert (times.min(), times.max()) == (0.0, 1.0)
    assert np.bincount(labels).tolist() == [randman.SAMPLES] * randman.CLASSES
    spikes = yin_yang.spikes(yin_yang.yin_yang(7, 3, seed=0)[0])
    assert spikes.sum(axis=0).tolist() == [[1.0] * 5] * 7


def test_the_series_solves_its_equation():
    """Its slope, by differences of neighbours, is what the equation says of values 17 units before."""
    per = mackey_glass.PER / mackey_glass.LYAPUNOV  # points in a unit of time
    x = mackey_glass.series(2000)
    place = np.arange(2000) / per
    late = np.interp(place - mackey_glass.TAU, place, x)
    wanted = 0.2 * late / (1.0 + late**10) - 0.1 * x
    slope = np.gradient(x, 1.0 / per)
    inner = slice(100, 1900)
    assert np.corrcoef(slope[inner], wanted[inner])[0, 1] > 0.98


def test_the_row_of_electricity_learns_a_daily_rhythm(monkeypatch, tmp_path):
    monkeypatch.setattr(series, "MONTH", 24 * 12)
    hours = np.arange(20 * 24 * 12)[:, None]
    table = np.sin(2 * np.pi * hours / 24 + np.arange(7)) + np.random.default_rng(0).normal(0, 0.1, (len(hours), 7))
    rows = [f"h,{','.join(map(str, row))}" for row in table]
    (tmp_path / "ETTh1.csv").write_text("\n".join(["date,a,b,c,d,e,f,g", *rows]), "utf-8")
    found = series.etth1(0, tmp_path)
    assert found["figure"] < found["yesterday"] < 0.1, "in units of a deviation; the best is the noise's 0.02"

"""The command that trains what papers print: resumable, with a table of what has run."""

from __future__ import annotations

import json
import sys
from functools import partial

import numpy as np
import pytest

from benchmarks.reproduced import __main__ as command
from benchmarks.reproduced import mackey_glass, nir_lif, randman, series, yin_yang
from tests.bench.test_spoken_digits import folder as recordings  # noqa: F401  (a fixture)
from tests.datasets.test_mnist_files import write_mnist

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
    assert "|`randman`: Randman, 20-128-10; % of test samples|" in table
    assert "- `randman`: the data are made anew" in table
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


def test_curves_are_smooth_and_fill_the_range(monkeypatch):
    monkeypatch.setattr(randman, "SAMPLES", 50)
    times, labels = randman.curves(0)
    assert (times.min(), times.max()) == (0.0, 1.0)
    assert np.bincount(labels).tolist() == [randman.SAMPLES] * randman.CLASSES


def test_spikes_of_coordinates_keep_where_they_are():
    points = yin_yang.yin_yang(7, 3, seed=0)[0]
    spikes = yin_yang.spikes(points)
    np.testing.assert_allclose(spikes.sum(axis=0), np.ones((7, 5)), atol=1e-6)
    middle = np.tensordot(np.arange(yin_yang.STEPS), spikes, axes=1)
    np.testing.assert_allclose(middle[:, :4], 5 + 30 * points.inputs, rtol=1e-5)
    assert ((spikes > 0).sum(axis=0) <= 2).all()


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
    monkeypatch.setattr(series, "MONTH", 24 * 6)
    hours = np.arange(20 * 24 * 6)[:, None]
    table = np.sin(2 * np.pi * hours / 24 + np.arange(7)) + np.random.default_rng(0).normal(0, 0.1, (len(hours), 7))
    rows = [f"h,{','.join(map(str, row))}" for row in table]
    (tmp_path / "ETTh1.csv").write_text("\n".join(["date,a,b,c,d,e,f,g", *rows]), "utf-8")
    found = series.etth1(0, tmp_path)
    assert found["figure"] < found["yesterday"] < 0.1, "in units of a deviation; the best is the noise's 0.02"


@pytest.fixture
def pictures(tmp_path):
    """The four files of FashionMNIST, with few and easy images."""
    rng, arrays = np.random.default_rng(0), {}
    patterns = rng.integers(0, 200, (10, 28, 28))
    for part, count in (("train", 256), ("t10k", 60)):
        labels = np.arange(count) % 10
        arrays[f"{part}_labels"] = labels.astype(np.uint8)
        arrays[f"{part}_images"] = (patterns[labels] + rng.integers(0, 50, (count, 28, 28))).astype(np.uint8)
    write_mnist(tmp_path, **arrays)
    return tmp_path


def accuracies(line):
    """The figures of a line that are accuracies."""
    return [value for name, value in line.items() if name != "seconds" and isinstance(value, float)]


def test_the_neuron_of_nir_fires_when_its_equation_says_so(reproduced):
    pytest.importorskip("nir", reason="nir is not installed (extra 'nir')")
    assert nir_lif.solution(nir_lif.pulses()) == list(nir_lif.EXACT)
    said = reproduced("nir_lif").splitlines()
    assert said[-1] == "1.0000"
    assert "460, 510, 710, 760 steps with a spike" in said[-2]


def test_snntorch_stands_beside_us_in_its_tutorials(reproduced, pictures, monkeypatch, tmp_path):
    pytest.importorskip("snntorch", reason="snnTorch is not installed (extra 'peers')")
    from benchmarks.accuracy import dense
    from benchmarks.accuracy import membrane as regression
    from benchmarks.reproduced import tutorials
    from tests.bench.test_accuracy import images

    for module, name, value in (
        (regression, "ITERATIONS", 2),
        (tutorials, "EPOCHS", 15),
        (dense, "images", images),
        (dense, "EPOCHS", 1),
        (dense, "STEPS", 3),
    ):
        monkeypatch.setattr(module, name, value)
    lines = tmp_path / "lines.jsonl"
    reproduced("population", "plain", "membrane", "tutorial5", "--seeds", 1, "--data", pictures, "--out", lines)
    known = {line["row"]: line for line in map(json.loads, lines.read_text("utf-8").splitlines())}
    assert known["population"]["figure"] > 20.0, "twice as good as chance"
    assert known["membrane"]["figure"] == pytest.approx(known["membrane"]["theirs"], rel=1e-5)
    assert all(0.0 <= value <= 100.0 for line in known.values() for value in accuracies(line))
    table = reproduced("--report", "--out", lines)
    assert f"|82.7; {known['population']['theirs']:.1f}|{known['population']['figure']:.1f}|1|" in table


def test_rows_of_other_programs(reproduced, pictures, recordings, monkeypatch, tmp_path):  # noqa: F811
    """Each takes its settings from the program, and says what it is compared with."""
    pytest.importorskip("torch", reason="spoken digits and conversion train with torch")
    from torch import nn

    from benchmarks import conversion, spoken_digits
    from benchmarks.reproduced import beside
    from examples import diehl_cook

    for module, name, value in (
        (beside, "EPOCHS", (1, 1)),
        (beside, "OPTIONS", ("--quick",)),
        (conversion, "TIMES", (1, beside.TIME)),
        (conversion, "vgg", lambda: nn.Sequential(*conversion.block(1, 4), nn.Flatten(), nn.Linear(3136, 10))),
        (spoken_digits, "Settings", partial(spoken_digits.Settings, hidden=4, epochs=1)),
        (diehl_cook, "main", lambda words: [int(words[-1]) / 8]),
    ):
        monkeypatch.setattr(module, name, value)
    lines, few = tmp_path / "lines.jsonl", ("--seeds", 1)
    reproduced("store_recall", "conversion", *few, "--data", pictures, "--out", lines)
    reproduced("delays", *few, "--data", recordings, "--out", lines)
    reproduced("diehl_cook", "--seeds", 2, "--out", lines)
    known = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert [line["row"] for line in known] == ["store_recall", "conversion", "delays", "diehl_cook", "diehl_cook"]
    assert {"T=1", "T=16", "theirs"} < set(known[1])
    assert {"random", "theirs"} < set(known[2])
    assert [line["figure"] for line in known[3:]] == [0.0, 12.5]
    assert all(0.0 <= value <= 100.0 for line in known for value in accuracies(line))


def test_spikingjelly_stands_beside_us_on_images(reproduced, pictures, monkeypatch):
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from benchmarks import fashion_deep

    narrow = fashion_deep.NETWORKS["sew_resnet18"]._replace(images=128, epochs=1)
    monkeypatch.setitem(fashion_deep.NETWORKS, "sew_resnet18", narrow)
    monkeypatch.setattr(fashion_deep, "images", lambda *_: fashion_deep.fashion_mnist(pictures, image=True))
    assert "SEW-ResNet-18" in reproduced("sew_resnet18", "--seeds", 1, "--data", pictures)

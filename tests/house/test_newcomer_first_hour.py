"""Mistakes of a first hour: each is told what is wrong, where, and what to write instead."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore import compression, functional
from tests.house.newcomer_rig import X, Y, fit, model, network
from tests.house.own_parts import Free

IMAGES = np.zeros((4, 1, 28, 28), "float32")
LABELS = np.zeros(4, int)
FLAT = r"put a Flatten\(\) before the first layer, or give x\.reshape\(len\(x\), -1\)"
SEQUENCES = np.zeros((2, 6, 5))


@dataclass(frozen=True)
class MyLayer(Free):
    """A layer of the user's own."""


def flat(**options):
    return sc.Model(sc.Sequential(sc.Linear(784, 3), sc.Leaky()), "numpy", **options)


def flattening(**options):
    return sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(784, 3), sc.Leaky()), "numpy", **options)


def regression(targets, outputs=3):
    loss = functional.mse_membrane_loss(time_var_targets=True)
    sc.Model(sc.Sequential(sc.Linear(5, outputs), sc.LI()), "numpy").fit([(SEQUENCES, targets)], loss=loss)


def imported(name):
    exec(f"from spikecore import {name}", {})


#: A mistake: what is written, and what the message must say.
MISTAKES = {
    # images into Linear: the advice leads out, however often it is taken
    "images": (lambda: flat()(IMAGES, num_steps=2), r"\(4, 1, 28, 28\)", FLAT + "$"),
    "images without channels": (lambda: flat()(IMAGES[:, 0], num_steps=2), r"\(4, 28, 28\)", FLAT + "$"),
    "images without num_steps": (lambda: flat()(IMAGES), FLAT, "without a time axis pass num_steps, too"),
    "images without both": (lambda: flat()(IMAGES[:, 0]), FLAT, "without a time axis pass num_steps, too"),
    "images over time": (lambda: flat()(IMAGES[None]), r"\(1, 4, 1, 28, 28\)", r"x\.reshape\(\*x\.shape\[:2\], -1\)$"),
    "images over time, num_steps": (lambda: flat()(IMAGES[None], num_steps=2), r"Flatten\(\)", "leave out num_steps"),
    "Flatten, but built for rows": (
        lambda: flattening(input_shape=(784,))(IMAGES, num_steps=2),
        r"\(batch, 784\)",
        FLAT,
    ),
    "Flatten without num_steps": (
        lambda: flattening()(IMAGES[:, 0]),
        r"samples of shape \(28,\)",
        r"shape \(4, 28, 28\) was read as \(time, batch, \*features\); without a time axis pass num_steps",
    ),
    # targets
    "a code of too few classes": (
        lambda: model().fit(X, np.eye(2)[Y % 2], num_steps=2),
        r"\(6, 2\)",
        "2 outputs.*are 3",
    ),
    "values for each sample": (
        lambda: regression(np.zeros((6, 3))),
        r"\(6, 3\)",
        r"np\.repeat\(targets\[None\], 2, axis=0",
    ),
    "values without features": (lambda: regression(np.zeros((2, 6)), 1), r"\(2, 6\)", r"give targets\[\.\.\., None\]$"),
    "one value, three outputs": (
        lambda: regression(np.zeros((2, 6))),
        r"targets\[\.\.\., None\], and",
        "1 output: it has 3",
    ),
    "other outputs": (lambda: regression(np.zeros((2, 6, 4))), r"\(2, 6, 4\)", "has 3 outputs, and the targets 4"),
    # words of others
    "quantize(bits=8)": (lambda: compression.quantize(bits=8), "'bits'", "write weights=8, and states=8 for membranes"),
    "quantize(n_bits=4)": (lambda: compression.quantize(network(), n_bits=4), "'n_bits'", "write weights=4"),
    "RLeaky(100)": (lambda: sc.RLeaky(100), "keyword arguments only", r"e\.g\. RLeaky\(linear_features=100\)"),
    "RLeaky(0.9)": (lambda: sc.RLeaky(0.9), "keyword arguments only", r"e\.g\. RLeaky\(beta=0\.9\)"),
    "Leaky(100)": (lambda: sc.Leaky(100), r"e\.g\. Leaky\(beta=0\.9\)", "as many neurons as inputs"),
    "network.fit": (
        lambda: network().fit(X, Y),
        "'fit'",
        r"write model = sc\.Model\(network\), then model\.fit\(\.\.\.\)",
    ),
    "network.to": (lambda: network().to("cuda"), "'to'", r"to_engine\('torch', device='cuda'\)"),
    "network.nonsense": (lambda: network().nonsense, "^Sequential has no 'nonsense'$"),
    "from spikecore import ShapeError": (lambda: imported("ShapeError"), r"sc\.errors\.ShapeError"),
    "from spikecore import LIF": (lambda: imported("LIF"), "'LIF'", r"write sc\.Leaky\(beta=0\.9\)"),
    "from spikecore import Leeky": (lambda: imported("Leeky"), "'Leeky'", "did you mean 'Leaky'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_first_hour(mistake):
    act, *parts = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, AttributeError, ImportError)) as caught:
        act()
    for part in parts:
        assert re.search(part, str(caught.value), re.IGNORECASE), str(caught.value)


def test_the_advice_for_images_is_right():
    assert flat()(IMAGES.reshape(len(IMAGES), -1), num_steps=2).spikes.shape == (2, 4, 3)
    assert flattening()(IMAGES, num_steps=2).spikes.shape == (2, 4, 3)
    over_time = IMAGES[None]
    assert flat()(over_time.reshape(*over_time.shape[:2], -1)).spikes.shape == (1, 4, 3)


def test_modules_of_the_package_are_still_imported_by_name():
    imported("cli")  # which is no public name
    assert importlib.import_module("spikecore.cli")
    assert not hasattr(sc, "ShapeError")


def test_classes_that_are_no_list(tmp_path):
    trained = sc.Model(sc.Sequential(sc.Linear(5, 3), MyLayer(), sc.Leaky()), "numpy")
    trained.save(tmp_path / "a.sc")
    with pytest.raises(TypeError, match=r"classes=.*MyLayer.*must be a list.*write classes=\[MyLayer\]"):
        sc.load(tmp_path / "a.sc", classes=MyLayer)
    assert sc.load(tmp_path / "a.sc", classes=[MyLayer]).network == trained.network


def test_a_learning_rate_that_silences_the_network_is_named():
    with pytest.warns(sc.errors.TrainingWarning, match=r"never fires.*lr=1e\+06 may be the cause.*lr=1e-3"):
        fit(optimizer=sc.Adam(lr=1e6))
    with pytest.warns(sc.errors.TrainingWarning) as caught:
        fit([(0.0 * X, Y)], optimizer=sc.Adam(lr=1e-3))
    assert not any("lr=" in str(each.message) for each in caught)

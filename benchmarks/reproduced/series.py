"""By the recipe: a class at every step of an electrocardiogram, and four days of an electricity transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

import numpy as np

import spikecore as sc
from benchmarks.reproduced.row import Row
from benchmarks.step_labels import FIRST, kept, read
from spikecore import datasets

Part = Tuple[np.ndarray, np.ndarray]
LOOK_BACK, HORIZON, DAY, MONTH = 96, 96, 24, 30 * 24


def traces(folder: Path) -> Tuple[Part, Part, bool]:
    """Traces and labels to train with and for test, and whether the latter are the test file's."""
    x, y = read(folder / "qtdb_train.npz")
    test = folder / "qtdb_test.npz"
    if test.is_file():
        return (x, y), read(test), True
    rest = kept(len(x), "traces")
    return (x[~rest], y[~rest]), (x[rest], y[rest]), False


def by_recipe(x: np.ndarray, y: np.ndarray, seed: int) -> sc.Model:
    """The recipe's network after its training."""
    recipe = sc.recipe(x, y)
    model = sc.Model(recipe.network, engine="numpy", seed=seed)
    model.fit(x, y, progress=False, **recipe.training)
    return model


def qtdb(seed: int, folder: Path) -> Dict[str, float]:
    """The share of steps that are right: of every fifth trace, and of the test file where there is one."""
    (x, y), (x_test, y_test), test = traces(folder)
    right = by_recipe(x, y, seed).predict(x_test, time_axis=1) == y_test
    return {"figure": 100.0 * float(right[:, FIRST:].mean()), "test": float(test)}


def etth1(seed: int, folder: Path) -> Dict[str, float]:
    """The mean squared error of 96 hours from 96, of seven series in standard units; yesterday's hours beside it."""
    table = np.loadtxt(folder / "ETTh1.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
    parts = (12 * MONTH, 4 * MONTH, 4 * MONTH)
    (train, _, test), _ = datasets.windows(table[: sum(parts)], LOOK_BACK, HORIZON, parts=parts)
    recipe = sc.recipe(train.inputs, train.targets)
    model = sc.Model(recipe.network, engine="numpy", seed=seed)
    model.fit(train.inputs, train.targets, progress=False, **recipe.training)
    said = model.predict(test.inputs, batch_size=256, **recipe.feed)
    yesterday = np.tile(np.asarray(test.inputs)[:, -DAY:], (1, HORIZON // DAY, 1)).reshape(said.shape)
    errors = {"figure": said, "yesterday": yesterday}
    return {name: float(((values - test.targets) ** 2).mean()) for name, values in errors.items()}


QTDB = Row(
    title="QTDB ECG, a class at each of 1,301 steps, 36 hidden neurons",
    paper="Yin, Corradi and Bohte 2021",
    theirs="85.9",
    unit="% of steps",
    run=qtdb,
    data="qtdb_train.npz, qtdb_test.npz",
    differs="delays in place of recurrence; without the test file every fifth trace of the training file is for test",
)
ETTH1 = Row(
    title="ETTh1, 96 hours from 96, seven series",
    paper="SpikingTSF: SpikF; SpikeRNN",
    theirs="0.378; 0.701",
    unit="mean squared error",
    run=etth1,
    data="ETTh1.csv",
    differs="the recipe of this library: leaky neurons that see a whole window of one series; all series share weights",
)

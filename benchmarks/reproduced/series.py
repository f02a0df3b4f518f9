"""By the recipe: a class at every step of an electrocardiogram, and four days of an electricity transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import numpy as np

import spikecore as sc
from benchmarks.reproduced.row import Row
from benchmarks.step_labels import FIRST, kept, read
from spikecore import datasets

LOOK_BACK, HORIZON, DAY, MONTH = 96, 96, 24, 30 * 24


def qtdb(seed: int, folder: Path) -> Dict[str, float]:
    """The share of steps that are right: of every fifth trace, and of the test file where there is one."""
    x, y = read(folder / "qtdb_train.npz")
    test = folder / "qtdb_test.npz"
    if test.is_file():
        x_test, y_test = read(test)
    else:
        rest = kept(len(x), "traces")
        x, y, x_test, y_test = x[~rest], y[~rest], x[rest], y[rest]
    recipe = sc.recipe(x, y)
    model = sc.Model(recipe.network, engine="numpy", seed=seed)
    model.fit(x, y, progress=False, **recipe.training)
    right = model.predict(x_test, **recipe.feed) == y_test
    return {"figure": 100.0 * float(right[:, FIRST:].mean()), "test": float(test.is_file())}


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

"""Two long series: a class at every step of an electrocardiogram, and four days of an electricity transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

import numpy as np

import spikecore as sc
from benchmarks.reproduced.row import Row
from benchmarks.step_labels import FIRST, kept, read
from spikecore import datasets, functional, schedule
from spikecore.arguments import NumpyArray
from spikecore.samples import Dataset

LOOK_BACK, HORIZON, DAY, MONTH = 96, 96, 24, 30 * 24
HIDDEN, EPOCHS = 512, 3


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
    """The mean squared error of 96 hours from 96, of seven series in standard units.

    One network learns all series, each by itself and in units of its window: minus the mean of the 96 hours that are
    seen, over their deviation. A step is a day. Hidden neurons and the penalty on weights were chosen on validation.
    """
    table = np.loadtxt(folder / "ETTh1.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
    parts = (12 * MONTH, 4 * MONTH, 4 * MONTH)
    (train, _, test), _ = datasets.windows(table[: sum(parts)], LOOK_BACK, HORIZON, parts=parts)
    x, y, _, _ = _by_window(train)
    hidden = (sc.learn(np.full(HIDDEN, 0.8)), sc.learn(np.full(HIDDEN, 0.5)))
    network = sc.Sequential(
        *(sc.Linear(DAY, HIDDEN), sc.Leaky(beta=hidden[0], threshold=hidden[1])),
        *(sc.Linear(HIDDEN, HORIZON), sc.LI(beta=sc.learn(np.full(HORIZON, 0.8)))),
    )
    model = sc.Model(network, engine="numpy", seed=seed)
    model.fit(
        *(x, y),
        loss=functional.mse_value_loss(over_time="last"),
        optimizer=sc.AdamW(lr=3e-3, weight_decay=1.0),
        schedule=schedule.cosine(each="step"),
        epochs=EPOCHS,
        batch_size=256,
        time_axis=1,
        progress=False,
    )
    x, y, mean, deviation = _by_window(test)
    wrong = (model.predict(x, time_axis=1, batch_size=2048) - y) * deviation
    last = np.tile(x[:, -1], HORIZON // DAY) - y
    return {
        "figure": float((wrong**2).mean()),
        "yesterday": float(((last * deviation) ** 2).mean()),
        "window mean": float(((y * deviation) ** 2).mean()),
    }


def _by_window(part: Dataset) -> Tuple[NumpyArray, NumpyArray, NumpyArray, NumpyArray]:
    """Each series of each window as a sample: its days (samples, days, 24), what follows, its mean and deviation."""
    seen = np.asarray(part.inputs).transpose(0, 2, 1).reshape(-1, LOOK_BACK)
    count = np.asarray(part.inputs).shape[2]
    ahead = np.asarray(part.targets).reshape(-1, HORIZON, count).transpose(0, 2, 1).reshape(-1, HORIZON)
    mean, deviation = seen.mean(1, keepdims=True), seen.std(1, keepdims=True) + 0.1  # 0.1: a window may be constant
    return ((seen - mean) / deviation).reshape(len(seen), -1, DAY), (ahead - mean) / deviation, mean, deviation


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
    differs="leaky neurons that read a day at each step; each series of a window is a sample, in units of its window",
)

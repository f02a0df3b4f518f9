"""Files of samples: ``.ts`` of the UCR and UEA archives, and ``.npz``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Tuple

import numpy as np

from benchmarks.learns.problem import Problem


def read_ts(train: Path, test: Path) -> Problem:
    """A task of two ``.ts`` files. Shorter series are padded with zeros at the end."""
    (series, labels, classes), (others, wanted, _) = _parsed(train), _parsed(test)
    if classes:
        known = {label: i for i, label in enumerate(sorted(set(labels) | set(wanted)))}
        y, y_test = (np.array([known[label] for label in found]) for found in (labels, wanted))
    else:
        y, y_test = (np.array(found, np.float32) for found in (labels, wanted))
    longest = max(map(len, (*series, *others)))
    (x, lengths), (x_test, lengths_test) = _padded(series, longest), _padded(others, longest)
    if (lengths == longest).all() and (lengths_test == longest).all():
        return Problem(x, y, x_test, y_test, divided=True)
    return Problem(x, y, x_test, y_test, lengths, lengths_test, divided=True)


def read_npz(path: Path) -> Problem:
    """A task of an archive with ``x_train``, ``y_train``, ``x_test`` and ``y_test``."""
    with np.load(path, allow_pickle=False) as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        lengths, lengths_test = (file.get(name) for name in ("lengths_train", "lengths_test"))
    if y.dtype.kind in "UOSb":
        known = np.unique(y)
        y, y_test = (np.searchsorted(known, found) for found in (y, y_test))
    x, x_test = x.astype(np.float32), x_test.astype(np.float32)
    return Problem(x, y, x_test, y_test, lengths, lengths_test, divided=True)


def _parsed(path: Path) -> Tuple[List[np.ndarray], List[Any], bool]:
    """The series (steps, features) of a file, their labels, and whether these are classes."""
    series, labels, inside, classes = [], [], False, True
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line.lower().startswith("@targetlabel"):
            classes = line.split()[1].lower() != "true"
        if inside and line:
            *dimensions, label = line.split(":")
            values = [np.array([np.nan if v == "?" else float(v) for v in one.split(",")]) for one in dimensions]
            series.append(np.nan_to_num(np.stack(values, axis=1)).astype(np.float32))
            labels.append(label.strip())
        inside = inside or line.lower() == "@data"
    return series, labels, classes


def _padded(series: List[np.ndarray], longest: int) -> Tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(one) for one in series])
    x = np.zeros((len(series), longest, series[0].shape[1]), np.float32)
    for row, one in zip(x, series):
        row[: len(one)] = one
    return x, lengths

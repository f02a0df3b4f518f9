"""Forecasting: windows of a table of series, in standard units that can be undone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, Checked, NumpyArray, Size
from spikecore.datasets.csv_table import numbers_of
from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.limits import MOST_BYTES
from spikecore.datasets.places import PathLike
from spikecore.samples import Dataset

Parts = Sequence[Union[int, float]]


@dataclass(frozen=True, eq=False)
class Standard(Checked):
    """Series in standard units: (value - mean) / deviation, by the training part of each series.

    Args:
        mean: mean of each series, (series,).
        deviation: standard deviation of each series, (series,); 1 for a series that is constant.
        horizon: number of steps that are predicted, ≥ 1.
    """

    mean: np.ndarray
    deviation: np.ndarray
    horizon: int = 1

    def of(self, values: ArrayLike) -> NumpyArray:
        """Values (..., series) in standard units."""
        return (np.asarray(values) - self.mean) / self.deviation

    def undo(self, predicted: ArrayLike) -> NumpyArray:
        """Predictions, such as ``model.predict(test.inputs, time_axis=1)``, in the units of the series.

        Args:
            predicted: (samples, horizon x series), or targets in the same order.

        Returns:
            (samples, horizon, series), float64.

        Raises:
            DataError: there is not a value for each step and series.
        """
        values, wanted = np.asarray(predicted, np.float64), self.horizon * len(self.mean)
        if values.size != len(values) * wanted:
            raise DataError(
                f"undo: predicted has shape {values.shape}, expected (samples, {wanted}): {self.horizon} steps of "
                f"{len(self.mean)} series"
            )
        return values.reshape(-1, self.horizon, len(self.mean)) * self.deviation + self.mean


class Windows(NamedTuple):
    """The result of ``windows``: a Dataset for each part, and the units to undo."""

    parts: Tuple[Dataset, ...]
    standard: Standard


@checked
def windows(
    series: ArrayLike,
    look_back: Size,
    horizon: Size = 1,
    *,
    stride: Size = 1,
    parts: Parts = (0.7, 0.1, 0.2),
    name: str = "series",
) -> Windows:
    """Windows of series for forecasting: from the last ``look_back`` steps the next ``horizon`` steps.

        inputs[i]  = z[t_i - look_back], ..., z[t_i - 1]        targets[i] = z[t_i], ..., z[t_i + horizon - 1]
        z = (value - mean) / deviation, by the steps of the first part alone;   t_i = t_0 + i stride

    The series are cut into parts one after the other, and all targets of a sample lie within its part. The inputs of
    a later part's first samples come from the part before, as what is known by then.

    Args:
        series: (steps, series) or, of a single one, (steps,); finite numbers.
        look_back: number of steps that the network sees.
        horizon: number of steps that it predicts; default 1.
        stride: steps from one window to the next; default 1.
        parts: shares of the steps, each > 0 and together at most 1, or numbers of steps; for training, validation and
            test, or as many as there are. Default (0.7, 0.1, 0.2).
        name: of the data sets.

    Returns:
        ``parts``, a Dataset each, and ``standard``, whose ``undo`` gives predictions in the units of the series. Inputs
        are float32 (samples, look_back, series): pass ``time_axis=1``. Targets are float32 (samples, horizon x series),
        all series of the first step first: the last layer of the network has as many neurons.

    Raises:
        DataError: a value is not finite, a number is out of range, or a part is too short for one window.

    Example:
        >>> (train, validation, test), standard = datasets.windows(table, look_back=96, horizon=24)
        >>> model.fit(Loader(train), loss=functional.mse_value_loss(over_time="last"), time_axis=1)
        >>> standard.undo(model.predict(test.inputs, time_axis=1))   # (samples, 24, series)
    """
    table = np.asarray(series, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2:
        raise DataError(f"windows: series have shape {table.shape}, expected (steps, series)")
    wrong = np.argwhere(~np.isfinite(table))
    if len(wrong):
        row, column = map(int, wrong[0])
        raise DataError(
            f"windows: series[{row}, {column}] is {table[row, column]}: fill gaps first, e.g. with numpy.interp, or "
            "cut the series there"
        )
    ends = np.cumsum(_sizes(parts, len(table)))
    seen = table[: ends[0]]
    deviation = seen.std(axis=0)
    standard = Standard(seen.mean(axis=0), np.where(deviation > 0.0, deviation, 1.0), horizon)
    scaled = standard.of(table).astype(np.float32)
    sets = []
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends)):
        first = max(start, look_back)
        if end - first < horizon:
            raise DataError(
                f"windows: part {number} has {end - start} steps, too few for a window of look_back={look_back} and "
                f"horizon={horizon}: give more steps, other parts={tuple(parts)!r}, or smaller windows"
            )
        begins = np.arange(first, end - horizon + 1, stride)
        back, ahead = (begins[:, None] + np.arange(*span) for span in ((-look_back, 0), (0, horizon)))
        sets.append(Dataset(scaled[back], scaled[ahead].reshape(len(begins), -1), name=f"{name} part {number}"))
    return Windows(tuple(sets), standard)


def _sizes(parts: Parts, steps: int) -> np.ndarray:
    """The number of steps of each part."""
    whole = [isinstance(part, (int, np.integer)) and not isinstance(part, bool) for part in parts]
    counts = all(whole) and len(parts) > 0
    right = all(part >= 1 for part in parts) if counts else all(0.0 < part <= 1.0 for part in parts)
    limit = steps if counts else 1.0 + 1e-9
    if not parts or not right or sum(parts) > limit or (any(whole) and not counts):
        raise DataError(
            f"windows: parts={tuple(parts)!r} must be shares > 0 that add up to at most 1, or numbers of steps that "
            f"add up to at most {steps}"
        )
    return np.array(parts) if counts else np.diff(np.round(np.cumsum([0.0, *parts]) * steps).astype(int))


@checked
def series_csv(
    path: PathLike,
    look_back: Size,
    horizon: Size = 1,
    *,
    stride: Size = 1,
    parts: Parts = (0.7, 0.1, 0.2),
    leave_out: Sequence[str] = (),
    max_bytes: int = MOST_BYTES,
) -> Windows:
    """Windows of the series in a CSV file, a row per step and a column per series; see ``windows``.

    Args:
        path: the file: UTF-8, cells separated by commas, semicolons or tabs. The first row may have the names.
        look_back, horizon, stride, parts: see ``windows``.
        leave_out: names of columns that are not read, such as the date.
        max_bytes: most bytes that the file may have. Default: 4 GiB.

    Returns:
        As ``windows``.

    Raises:
        DataFileError: the file is absent or not such a table; names the line and the column, and what to do.
        DataError: as for ``windows``, or there is no such column.
    """
    _, values = numbers_of(path, leave_out, max_bytes)
    name = os.path.basename(os.fspath(path))
    return windows(values, look_back, horizon, stride=stride, parts=parts, name=name)

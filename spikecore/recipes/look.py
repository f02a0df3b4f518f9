"""Facts by which a recipe chooses: sizes, classes, and over how many steps a series resembles itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.messages import warn
from spikecore.arguments import shown
from spikecore.samples import DataError, stacked

MOST = 1024  # samples from which time scales are estimated
FEWEST = 4  # samples to learn from
CONTINUES = 0.5  # of the variance of targets: they continue the series if they begin nearer to its last step
UNCOUNTED = -1  # class of steps that do not count, as for ``ce_step_loss``
MOST_CLASSES = 20  # that are taken for classes if they come as floats, with a question


@dataclass(frozen=True)
class Facts:
    """Facts that are read off training samples.

    Args:
        samples: their number.
        shape: of one sample.
        classes: number of classes; 0 if the targets are numbers.
        outputs: classes, or numbers per sample.
        steps: of a series of typical length; 0 if samples have no time.
        by_step: whether there is a class for each step.
        unequal: whether lengths are given.
        ahead: how many steps the targets continue the series; 0 if they are something else.
        scales: if there is a class for each step, after how many steps a series hardly resembles itself, and the
            longest memory that it asks for.
        mean, deviation: of targets that are numbers, by output; 1 for the deviation of a constant.
    """

    samples: int
    shape: Tuple[int, ...]
    classes: int
    outputs: int
    steps: int = 0
    scales: Tuple[float, float] = (1.0, 1.0)
    mean: Tuple[float, ...] = (0.0,)
    deviation: Tuple[float, ...] = (1.0,)
    by_step: bool = False
    unequal: bool = False
    ahead: int = 0


def look(x: Any, y: Any, lengths: Any = None) -> Facts:
    """The facts about training samples.

    Raises:
        DataError: names what a recipe cannot be made of, and the remedy.
    """
    x, lengths = _one_array(x, lengths)
    y = _of_steps(y) if isinstance(y, (list, tuple)) else np.asarray(y)
    if y.dtype.kind not in "iufb":
        raise DataError(
            f"recipe: y has {y.dtype} entries; number classes that have names: np.unique(names, return_inverse=True)[1]"
        )
    if len(x) != len(y):
        raise DataError(f"recipe: x has {len(x)} samples and y {len(y)} targets; axis 0 of both counts samples")
    if len(x) < FEWEST:
        raise DataError(f"recipe: {len(x)} samples are too few to learn from; give at least {FEWEST}")
    for name, values in (("x", x), ("y", y)):
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if bad.any():
            raise DataError(
                f"recipe: {name}[{int(bad.argmax())}] has entries that are NaN or infinite, as have {int(bad.sum())} "
                f"samples of {len(values)}; leave these out, or fill the gaps: np.nan_to_num({name})"
            )
    by_step = x.ndim == 3 and y.ndim == 2 and y.dtype.kind in "iu" and y.shape[1] == x.shape[1]
    classes = _classes_of_steps(y, lengths) if by_step else _classes(y, x)
    shape, series = tuple(x.shape[1:]), x.ndim == 3
    outputs = classes or (1 if y.ndim == 1 else y.shape[-1])
    typical = int(np.median(lengths)) if lengths is not None else x.shape[1] if series else 0
    scales = time_scales(x, lengths, typical) if by_step else (1.0, 1.0)
    numbers = y.reshape(len(y), -1).astype(np.float64) if not classes else np.zeros((1, 1))
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    deviation = np.where(deviation > 0.0, deviation, 1.0)
    known = (tuple(mean.tolist()), tuple(deviation.tolist()))
    steps = typical if series else 0
    ahead = 0 if classes or not series or lengths is not None else _ahead(x, numbers)
    return Facts(len(x), shape, classes, outputs, steps, scales, *known, by_step, lengths is not None, ahead)


def _ahead(x: np.ndarray, y: np.ndarray) -> int:
    """The steps by which targets continue the series: they begin nearer to its last step than to their own mean."""
    series = x.shape[2]
    first, last = y[:, :series], x[:, -1].astype(np.float64)
    if y.shape[1] % series or (((first - last) ** 2).mean(axis=0) > CONTINUES * first.var(axis=0)).any():
        return 0
    return y.shape[1] // series


def _of_steps(y: Sequence[Any]) -> np.ndarray:
    """Classes of the steps of series of unequal length, padded with the class that does not count; else ``y``."""
    rows = [np.asarray(one) for one in y]
    if {one.ndim for one in rows} != {1} or len({len(one) for one in rows}) == 1:
        return np.asarray(y)
    whole = np.full((len(rows), max(map(len, rows))), UNCOUNTED, rows[0].dtype)
    for row, one in zip(whole, rows):
        row[: len(one)] = one
    return whole


def _classes_of_steps(y: np.ndarray, lengths: Optional[np.ndarray]) -> int:
    """The number of classes of steps, of which those of class -1 and behind the end do not count."""
    counted = y != UNCOUNTED
    if lengths is not None:
        counted &= np.arange(y.shape[1]) < lengths[:, None]
    known = np.unique(y[counted])
    if len(known) < 2:
        raise DataError(f"recipe: all steps are of class {known.tolist()}; there is nothing to tell apart")
    if known[0] < 0:
        raise DataError(f"recipe: y has the class {known[0]}; classes are counted from 0, and -1 does not count")
    return int(known[-1]) + 1


def _classes(y: np.ndarray, x: np.ndarray) -> int:
    """The number of classes; 0 if the targets are numbers."""
    if y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        raise DataError(f"recipe: y of shape {y.shape} is a one-hot code; give the classes, y.argmax(axis=1)")
    if y.dtype.kind == "f":
        if y.ndim > 2:
            raise DataError(f"recipe: y has shape {y.shape}; numbers are (n,) or (n, k)")
        known = np.unique(y)
        if y.ndim == 1 and len(known) <= min(MOST_CLASSES, len(y) // 5) and (known == np.arange(len(known))).all():
            warn(
                f"recipe: y has only the numbers 0 to {len(known) - 1}, of dtype {y.dtype}, and is read as numbers; if "
                "they are classes, give y.astype(int)"
            )
        return 0
    if y.ndim != 1:
        steps = f" one per step, {x.shape[:2]}," if x.ndim == 3 else ""
        raise DataError(
            f"recipe: y has shape {y.shape}; give one class per sample, (n,),{steps} or numbers of a float dtype"
        )
    known = np.unique(y)
    if known[0] < 0:
        raise DataError(f"recipe: y begins at {known[0]}; classes are counted from 0")
    if len(known) < 2:
        raise DataError(f"recipe: all samples are of class {known[0]}; there is nothing to tell apart")
    return int(known[-1]) + 1


def _one_array(x: Any, lengths: Any) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """Inputs (samples, *features) as floats; series of unequal length are padded with zeros at the end."""
    if isinstance(x, (list, tuple)) or np.asarray(x).dtype.kind == "O":
        try:
            series = [np.asarray(one, np.float32) for one in x]
        except (TypeError, ValueError) as error:
            raise DataError(
                f"recipe: x has entries that are no numbers ({error}); number texts, or leave them out"
            ) from None
        if len({one.shape for one in series}) > 1:
            if {one.ndim for one in series} != {2} or len({one.shape[1] for one in series}) > 1:
                raise DataError(
                    f"recipe: x[0] has shape {series[0].shape} and x[1] {series[1].shape}; series of unequal length "
                    "are arrays (steps, features) with equal features"
                )
            lengths = np.array([len(one) for one in series])
            if not lengths.all():
                raise DataError(f"recipe: x[{int(lengths.argmin())}] is a series without steps; leave it out")
            return stacked(series, time_axis=1), lengths
        x = series
    if isinstance(x, np.ma.MaskedArray) and x.mask.any():
        raise DataError(
            "recipe: x is a masked array with missing values, which no network leaves out; give x.filled(0)"
        )
    x = np.asarray(x)
    if x.dtype.kind not in "iufb":
        raise DataError(f"recipe: x has {x.dtype} entries; the network takes numbers")
    if not 2 <= x.ndim <= 4:
        raise DataError(
            f"recipe: x has shape {x.shape}; tables are (samples, features), series (samples, steps, features), images "
            "(samples, channels, height, width)"
        )
    return x, None if lengths is None else _counted(lengths, x)


def _counted(lengths: Any, x: np.ndarray) -> np.ndarray:
    counts = np.asarray(lengths)
    if x.ndim != 3:
        raise DataError(
            f"recipe: lengths are of series (samples, steps, features); x has shape {x.shape}: leave them out"
        )
    if (
        counts.shape != (len(x),)
        or counts.dtype.kind not in "iu"
        or not 1 <= counts.min() <= counts.max() <= x.shape[1]
    ):
        raise DataError(
            f"recipe: lengths={shown(lengths)} must be {len(x)} whole numbers from 1 to {x.shape[1]}, one per sample"
        )
    return counts


def time_scales(x: np.ndarray, lengths: Optional[np.ndarray], typical: int) -> Tuple[float, float]:
    """The shortest and the longest time scale of series, in steps.

        r[k] = sum (x[t] - m)(x[t + k] - m) / sum (x[t] - m)^2      over samples, features and t; m: each series' mean

    The shortest is the first lag k at which r falls below 1/e, interpolated; the longest a third of a typical length,
    within which at least three decays fit.
    """
    some = x[:MOST].astype(np.float64)
    counts = np.full(len(some), some.shape[1]) if lengths is None else lengths[:MOST]
    inside = (np.arange(some.shape[1]) < counts[:, None])[..., None]
    mean = (some * inside).sum(axis=1, keepdims=True) / counts[:, None, None]
    away = (some - mean) * inside
    size = 2 * some.shape[1]
    power = sum((abs(np.fft.rfft(one, size, axis=0)) ** 2).sum(axis=1) for one in away)  # one by one: less memory
    r = np.fft.irfft(power, size)[: max(2, some.shape[1] // 2)]
    longest = max(2.0, typical / 3)
    if r[0] <= 0.0:
        return 1.0, longest
    r = r / r[0]
    below = np.flatnonzero(r < np.exp(-1.0))
    k = int(below[0]) if len(below) else len(r) - 1
    shortest = k - 1 + (r[k - 1] - np.exp(-1.0)) / (r[k - 1] - r[k]) if len(below) else float(k)
    return float(np.clip(shortest, 1.0, longest)), longest

"""The key ``scale`` of ``[data]``: columns of a user's own arrays on a common scale, by the training samples alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np

from spikecore.api.training.checkpoint import notes_of
from spikecore.datasets import Dataset
from spikecore.datasets.stored import StoredArray

NOTE = "scale"  # of ``model.notes``, where a run keeps its scale
ROWS = 4096  # samples that are read at once


@dataclass(frozen=True)
class InputScaling:
    """The scaling of inputs: (x - subtract) / divide, with "minmax" clipped to [0, 1].

    Args:
        kind: "standard" or "minmax".
        subtract, divide: numbers that broadcast to a sample.
    """

    kind: str
    subtract: np.ndarray
    divide: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Inputs (samples, *features), scaled, in float32."""
        if x.dtype == object:  # sequences of unequal length
            return np.array([*map(self, x), None], object)[:-1]
        scaled = (x - self.subtract) / self.divide
        return (scaled.clip(0.0, 1.0) if self.kind == "minmax" else scaled).astype(np.float32)

    def of(self, data: Any) -> Any:
        """A data set with scaled inputs; of one on disk a batch is scaled when it is read."""
        inputs = self(data.inputs) if isinstance(data, Dataset) else ScaledArray(data.inputs, self)
        return replace(data, inputs=inputs)

    def noted(self) -> Dict[str, Any]:
        """The scale as ``model.notes`` keeps it."""
        return {"kind": self.kind, "subtract": self.subtract.tolist(), "divide": self.divide.tolist()}


class ScaledArray(StoredArray):
    """An array in a file, of which rows are scaled when they are read."""

    def __init__(self, inputs: StoredArray, scale: InputScaling) -> None:
        self.inputs, self.scale, self.shape, self.dtype = inputs, scale, inputs.shape, np.dtype("float32")

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.scale(self.inputs.read(rows))


def saved_scale(model: Path) -> Optional[InputScaling]:
    """The scale in a model file; None if there is no such file, or it has none."""
    kept = notes_of(model).get(NOTE) if model.exists() else None
    return InputScaling(kept["kind"], np.array(kept["subtract"]), np.array(kept["divide"])) if kept else None


def scale_of(data: Any, kind: str) -> InputScaling:
    """The scale by which the columns of training samples have mean 0 and deviation 1, or lie in [0, 1].

    A column is an entry of the last axis; of images, which have four axes with that of the samples, a channel. A column
    of one value becomes 0. Steps that only fill up a sequence do not count.

    Args:
        data: the training samples.
        kind: "standard" or "minmax".
    """
    count, mean, squares, low, high = 0, np.zeros(()), np.zeros(()), np.array(np.inf), np.array(-np.inf)
    source, images = getattr(data, "samples", data), len(getattr(data.inputs, "shape", ())) > 3
    for start in range(0, len(data), ROWS):
        rows = np.arange(start, min(start + ROWS, len(data)))
        block = _columns(source.batch(rows, 0), None if source.lengths is None else source.lengths[rows], images)
        own, deviation = block.mean(axis=0), block.mean(axis=0) - mean
        squares = squares + ((block - own) ** 2).sum(axis=0)
        squares = squares + deviation**2 * (count * len(block) / (count + len(block)))
        mean = mean + deviation * (len(block) / (count + len(block)))
        count += len(block)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    subtract, divide = (mean, (squares / count) ** 0.5) if kind == "standard" else (low, high - low)
    divide = np.where(divide > 0, divide, 1.0)
    shape = (-1, 1, 1) if images else (-1,)
    return InputScaling(kind, subtract.reshape(shape), divide.reshape(shape))


def _columns(x: np.ndarray, lengths: Optional[np.ndarray], images: bool) -> np.ndarray:
    """Inputs (samples, *features) as rows of columns, in float64."""
    x = x.astype(np.float64)
    if lengths is not None:
        x = np.concatenate([one[:count] for one, count in zip(x, lengths)])
    elif images:
        x = np.moveaxis(x, 1, -1)
    return x.reshape(-1, x.shape[-1])


def scaled(
    kind: Optional[str], known: Optional[InputScaling], *sets: Any
) -> Tuple[Optional[InputScaling], Tuple[Any, ...]]:
    """The scale of a run and its data sets, the first of which is the one that is trained on.

    Args:
        kind: the key of the run file; None: inputs stay as they are.
        known: the scale of a run that has begun; None: there is none.
        sets: data sets; None stays None.
    """
    if kind is None:
        return None, sets
    scale = scale_of(sets[0], kind) if known is None else known
    return scale, tuple(one if one is None else scale.of(one) for one in sets)

"""Sources of a loader's samples: arrays, sequences of unequal length, or files that are read in parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.arguments import numbered, of_numbers
from spikecore.samples.errors import DataError


class Samples(ABC):
    """Labelled samples whose inputs are read when a batch needs them. All `targets` (samples, ...) are in memory.

    Attributes:
        lengths: number of steps of each sample that count, if a batch is to say so; else None.
        steps: number of steps of each sample, if it is known before the samples are read; else None.
        fills: whether samples are sequences, of which a batch fills up the shorter ones.
        extent: size of axis 1 of all samples as one array, which buckets cut; None where samples are filled up.
        held: whether a batch is a plain copy of what is in memory, so that a process of its own gains nothing.
    """

    targets: np.ndarray
    lengths: Optional[np.ndarray] = None
    steps: Optional[np.ndarray] = None
    fills: bool = False
    extent: Optional[int] = None
    held: bool = False

    @abstractmethod
    def batch(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """The inputs of some samples as one array, for training.

        Args:
            rows: indices of the samples.
            epoch: number of the epoch from 0, for random transforms.
        """

    def filled(self, rows: np.ndarray, epoch: int, steps: Optional[int]) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """The inputs of some samples as one array; for recordings also the number of steps of each, as they were read.

        Args:
            rows, epoch: as for `batch`.
            steps: number of steps to which every sample is cut or filled up; None: those of the longest.
        """
        return self.batch(rows, epoch), None

    def targets_of(self, rows: np.ndarray, steps: int) -> Any:
        """The targets of some samples of a batch with so many steps; None without targets."""
        return None if self.targets is None else self.targets[rows]


class Arrays(Samples):
    """Samples in memory: an array with samples along axis 0, or sequences (time, *features) of unequal length.

    Args:
        inputs: the array; sequences of unequal length are an array of objects.
        targets: one for each sample, or None.
        lengths: number of steps of each sample; None if all steps count.
    """

    held = True

    def __init__(self, inputs: np.ndarray, targets: Any, lengths: Optional[np.ndarray] = None):
        self.inputs, self.targets = inputs, targets
        self.fills = inputs.dtype == object
        self.steps = np.array([len(one) for one in inputs]) if self.fills else None
        self.lengths = self.steps if lengths is None else lengths
        self.extent = None if self.fills else inputs.shape[1] if inputs.ndim > 1 else 0

    def batch(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        return self.filled(rows, epoch, None)[0]

    def targets_of(self, rows: np.ndarray, steps: int) -> Any:
        """The targets of some samples; targets for each step get zeros at their end, up to ``steps``."""
        if self.targets is None or self.targets.dtype != object:
            return super().targets_of(rows, steps)
        return stacked(list(self.targets[rows]), steps, time_axis=1)

    def filled(self, rows: np.ndarray, epoch: int, steps: Optional[int]) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        inputs = self.inputs[rows]  # indexing with an array copies: users may change a batch
        if self.fills:
            return stacked(list(inputs), steps, time_axis=1), None
        return inputs if steps is None else inputs[:, :steps], None


def stacked(samples: Sequence[np.ndarray], steps: Optional[int] = None, time_axis: int = 0) -> np.ndarray:
    """Stack arrays (time, *features) to one array; shorter arrays get zeros at their end, longer ones are cut.

    Args:
        samples: the arrays.
        steps: number of steps of the result; None: those of the longest array.
        time_axis: 0 for (time, batch, *features), 1 for (batch, time, *features).

    Raises:
        DataError: the arrays have features of different shapes.
    """
    features = same_features(samples)
    steps = max(len(sample) for sample in samples) if steps is None else steps
    first = (len(samples), steps) if time_axis else (steps, len(samples))
    batch = np.empty((*first, *features), samples[0].dtype)
    by_sample = batch if time_axis else batch.swapaxes(0, 1)
    for i, sample in enumerate(samples):
        by_sample[i, : len(sample)] = sample[:steps]
        by_sample[i, len(sample) :] = 0
    return batch


def same_features(samples: Sequence[Any]) -> Tuple[int, ...]:
    """The shape behind the first axis, which is that of all samples of a batch.

    Raises:
        DataError: it is not.
    """
    features = {tuple(sample.shape[1:]) for sample in samples}
    if len(features) > 1:
        raise DataError(f"samples of one batch have features of different shapes: {sorted(features)}")
    return features.pop()


def pair(inputs: Any, targets: Any, name: str = "") -> Tuple[np.ndarray, Any]:
    """Inputs and targets as NumPy arrays of equal length ≥ 1; targets may be None.

    A list of arrays (time, *features) of unequal length becomes an array of objects; so do targets for each step.
    """
    where = f"{name}: " if name else ""
    unequal = _unequal(f"{where}inputs", inputs)
    inputs = _host(f"{where}inputs", inputs) if unequal is None else unequal
    if targets is not None:
        by_step = _unequal(f"{where}targets", targets)
        targets = _host(f"{where}targets", targets) if by_step is None else by_step
        if by_step is not None and len(inputs) == len(targets):
            _check_steps(where, inputs, targets)
        if len(inputs) != len(targets):
            first = inputs.ndim > 2 and inputs.shape[1] == len(targets)
            raise DataError(
                f"{where}{len(inputs)} inputs but {len(targets)} targets: axis 0 of both must count the samples "
                f"(inputs {inputs.shape}, targets {targets.shape})"
                f"{'; if time comes first, pass inputs.swapaxes(0, 1)' if first else ''}"
            )
    if not len(inputs):
        raise DataError(f"{where}no samples: inputs have shape {inputs.shape}")
    return inputs, targets


def _check_steps(where: str, inputs: np.ndarray, targets: np.ndarray) -> None:
    """Refuse targets of unequal length that are not as long as their inputs."""
    for i, (one, aims) in enumerate(zip(inputs, targets)):
        if len(one) != len(aims):
            raise DataError(
                f"{where}inputs[{i}] has {len(one)} steps and targets[{i}] {len(aims)}: targets of unequal length need "
                "one entry for each step of their sequence; for one target per sample give an array (samples,)"
            )


def lengths_of(given: Any, inputs: Optional[np.ndarray], samples: int, name: str = "") -> np.ndarray:
    """The number of steps of each sample, int64 (samples,), checked.

    Args:
        given: one number per sample.
        inputs: the samples, if they are sequences of unequal length in memory: then none may exceed its own.
        samples: number of samples.
        name: of the data, for messages.
    """
    where = f"{name}: " if name else ""
    lengths = np.asarray(given)
    if lengths.shape != (samples,) or lengths.dtype.kind not in "iu":
        raise DataError(
            f"{where}lengths have shape {lengths.shape} and dtype {lengths.dtype}; expected ({samples},) integers: the "
            "number of steps of each sample"
        )
    low = np.flatnonzero(lengths < 1)
    if len(low):
        raise DataError(f"{where}lengths[{low[0]}] = {lengths[low[0]]}: a sample needs at least one step")
    if inputs is not None and inputs.dtype == object:
        over = np.flatnonzero(lengths > [len(one) for one in inputs])
        if len(over):
            row = over[0]
            raise DataError(f"{where}lengths[{row}] = {lengths[row]}, but inputs[{row}] has {len(inputs[row])} steps")
    return lengths.astype(np.int64)


def _unequal(name: str, values: Any) -> Optional[np.ndarray]:
    """A list of arrays of unequal length as an array of objects; None for anything else.

    An array of objects stays one, also if its arrays happen to be of one length: it may be a part of a longer one.
    """
    part = isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1 and len(values)
    if not (part or isinstance(values, (list, tuple))) or not all(len(getattr(one, "shape", ())) for one in values):
        return None
    if not part and len({one.shape[0] for one in values}) < 2:
        return None
    arrays: List[np.ndarray] = [_host(f"{name}[{i}]", one) for i, one in enumerate(values)]
    for i, one in enumerate(arrays):
        if one.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{name}[{i}] has shape {one.shape} and {name}[0] {arrays[0].shape}: all axes but the first, which is "
                "time, must agree"
            )
        if not len(one):
            raise DataError(f"{name}[{i}] has shape {one.shape}: a sequence needs at least one step")
    dtype = np.result_type(*{one.dtype for one in arrays})
    made = np.empty(len(arrays), object)
    for i, one in enumerate(arrays):  # assigned together, NumPy might take them for rows of numbers
        made[i] = one.astype(dtype, copy=False)
    return made


def _host(name: str, values: Any) -> np.ndarray:
    try:
        array = values.numpy(force=True) if hasattr(values, "detach") else np.asanyarray(values)  # a memory map stays
    except (TypeError, ValueError, RuntimeError) as error:
        rows = isinstance(values, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in values)
        hint = "; sequences of unequal length are a list of arrays (time, features): [np.array(row) for row in rows]"
        raise DataError(f"{name}: cannot be made a NumPy array: {error}{hint if rows else ''}") from error
    if array.ndim == 0 or not of_numbers(array.dtype):
        hint = numbered(values) or numbered(array)
        if hasattr(values, "batch_size"):
            hint = "; a loader brings its own targets: pass it alone"
        elif not hint and array.ndim and array.dtype == object:
            hint = "; convert it: values.astype(float), of a table table.to_numpy(dtype=float)"
        raise DataError(
            f"{name}: need an array with samples along axis 0, not {type(values).__name__} of {array.dtype}{hint}"
        )
    return array

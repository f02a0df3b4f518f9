"""Labelled arrays on disk, of which a batch reads its own rows."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Dict, Iterator, Mapping, Optional, Tuple, Union

import numpy as np

from spikecore.arguments import Checked, HostArray, argument_kind
from spikecore.datasets.errors import DataError, DataFileError
from spikecore.datasets.limits import check_size
from spikecore.datasets.places import PathLike
from spikecore.printing import shortened, table
from spikecore.samples import Dataset, Samples, halves
from spikecore.samples.source import lengths_of


class StoredArray(ABC):
    """An array in a file. A copy in another process opens the file itself.

    Attributes:
        shape: (samples, *features).
        dtype: NumPy's type of the numbers.
    """

    shape: Tuple[int, ...]
    dtype: np.dtype

    @abstractmethod
    def read(self, rows: np.ndarray) -> np.ndarray:
        """These rows, in this order, as an array in memory (rows, *features).

        Raises:
            DataFileError: the file is absent or damaged.
        """


argument_kind(StoredArray)


@dataclass(frozen=True, eq=False)
class StoredDataset(Checked, Samples):
    """Samples in a file, and their targets in memory. A Loader reads the rows of one batch at a time.

    `dataset[3]` is one (input, target). A slice, a mask or an array of indices gives a StoredDataset; nothing is read
    for it.

    Args:
        inputs: the array in the file, (samples, *features).
        targets: (samples, *anything): class indices, values or sequences.
        name: for messages and reports.
        classes: the classes' names in the order of their indices.
        lengths: number of steps of each sample that count, (samples,), each at least 1; None, the default: all.
        rows: numbers of the file's rows in this dataset, in this order; None for all.

    Raises:
        DataError: there are no samples, or inputs and targets differ in number.
    """

    _refusal: ClassVar[Any] = DataError

    inputs: StoredArray
    targets: HostArray
    name: str = ""
    classes: Tuple[str, ...] = ()
    lengths: Optional[HostArray] = None
    rows: Optional[HostArray] = None

    def __post_init__(self):
        targets = np.asarray(self.targets)
        count = self.inputs.shape[0] if self.rows is None else len(self.rows)
        if count != len(targets) or not count:  # before there are numbers of rows: a file may say any count
            raise DataError(f"{self.name}: {count} inputs, {len(targets)} targets: need one each, at least one")
        rows = np.arange(count) if self.rows is None else np.asarray(self.rows)
        if self.lengths is not None:
            object.__setattr__(self, "lengths", lengths_of(self.lengths, None, count, self.name))
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "targets", targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Any) -> Union[StoredDataset, Tuple[Any, Any]]:
        if isinstance(index, (int, np.integer)):
            return self.inputs.read(self.rows[index : index + 1 or None])[0], self.targets[index]  # type: ignore[index]
        return self._take(index)

    def __repr__(self) -> str:
        inputs = f"inputs {self.inputs.shape[1:]} {self.inputs.dtype} on disk"
        return f"StoredDataset({self.name or 'unnamed'}: {len(self)} samples, {inputs})"

    def _repr_html_(self) -> str:
        return table(
            f"StoredDataset {self.name}".strip(),
            [
                ("samples", str(len(self))),
                ("inputs", f"{self.inputs.shape[1:]} {self.inputs.dtype}, on disk"),
                ("targets", f"{self.targets.shape[1:]} {self.targets.dtype}"),
                *([("classes", shortened(self.classes))] if self.classes else ()),
            ],
        )

    @property
    def extent(self) -> Optional[int]:  # type: ignore[override]
        """Size of axis 1 of the samples as one array."""
        return self.inputs.shape[1] if len(self.inputs.shape) > 1 else 0

    def batch(self, rows: np.ndarray, epoch: int = 0) -> np.ndarray:
        """Some samples as one array (batch, *features).

        Args:
            rows: indices of the samples in this dataset.
            epoch: has no effect: nothing is drawn.
        """
        return self.inputs.read(self.rows[rows])  # type: ignore[index]

    def filled(
        self, rows: np.ndarray, epoch: int = 0, steps: Optional[int] = None
    ) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """Some samples as one array, cut to `steps` along axis 1; None does not cut. The second result is None."""
        inputs = self.batch(rows, epoch)
        return inputs if steps is None else inputs[:, :steps], None

    def split(self, at: Union[int, float], *, seed: Optional[int] = None) -> Tuple[StoredDataset, StoredDataset]:
        """Split into two parts: the first `at` samples, and the rest. Arguments and errors as in Dataset.split."""
        first, second = halves(len(self), at, seed)
        return self._take(first), self._take(second)

    def in_memory(self) -> Dataset:
        """Read all samples now."""
        return Dataset(self.batch(np.arange(len(self))), self.targets, self.name, self.classes, self.lengths)

    def _take(self, index: Any) -> StoredDataset:
        lengths = None if self.lengths is None else self.lengths[index]
        return replace(self, targets=self.targets[index], lengths=lengths, rows=self.rows[index])  # type: ignore[index]


def held(arrays: Mapping[str, StoredArray], path: PathLike, max_bytes: int) -> Dict[str, np.ndarray]:
    """Whole arrays, which are kept in memory.

    Args:
        arrays: the arrays by what they are.
        path: the file, for messages.
        max_bytes: most bytes of memory that they may take together.

    Raises:
        DataFileError: they take more.
    """
    needed = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
    what = " and ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
    check_size(path, needed, max_bytes, f"{what}, which are read into memory,")
    return {name: array.read(np.arange(array.shape[0])) for name, array in arrays.items()}


@contextlib.contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Turn errors while a file is read into a DataFileError that names it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # libraries raise errors of many kinds for damaged files
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataFileError(f"{path}: cannot be read: {reason}") from error


def check_numbers(path: PathLike, name: str, shape: Tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse an array that has no axis of samples, or holds something else than numbers.

    Raises:
        DataFileError: names the file and the array.
    """
    if not shape or dtype.kind not in "biuf":
        raise DataFileError(f"{path}: {name} has shape {shape} and dtype {dtype}; need numbers, samples along axis 0")

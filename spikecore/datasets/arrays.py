"""Labelled samples in host memory, and the order in which training sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Iterator, Optional, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, Checked, of_numbers
from spikecore.datasets.errors import DataError, checked

Batch = Tuple[np.ndarray, Optional[np.ndarray]]


@dataclass(frozen=True, eq=False)  # equality of arrays is not a truth value
class Dataset(Checked):
    """Samples and their targets, along axis 0 of two host arrays.

    Args:
        inputs: (samples, *features).
        targets: (samples, *anything): class indices, values, sequences.
        name: for messages and reports.
        classes: the classes' names in the order of their indices; empty where targets are no classes.

    `dataset[3]` is one (input, target); a slice, a mask or an array of indices gives a Dataset.

    Raises:
        DataError: no samples, ragged rows, or a different number of inputs and targets.
    """

    refusal: ClassVar[Any] = DataError

    inputs: np.ndarray
    targets: np.ndarray
    name: str = ""
    classes: Tuple[str, ...] = ()

    def __post_init__(self):
        if self.targets is None:
            raise DataError("targets: a Dataset needs them; for inputs alone use Loader(inputs)")
        inputs, targets = _pair(self.inputs, self.targets, self.name)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Union[Dataset, Tuple[Any, Any]]:
        single = isinstance(index, (int, np.integer))
        return (self.inputs[index], self.targets[index]) if single else self._take(index)

    def __repr__(self) -> str:
        inputs, targets = (f"{array.shape[1:]} {array.dtype}" for array in (self.inputs, self.targets))
        return f"Dataset({self.name or 'unnamed'}: {len(self)} samples, inputs {inputs}, targets {targets})"

    def split(self, at: Union[int, float], *, seed: Optional[int] = None) -> Tuple[Dataset, Dataset]:
        """Cut in two: the first `at` samples, and the rest.

        Args:
            at: a number of samples, or a fraction strictly between 0 and 1.
            seed: None keeps the order (both parts are views); a seed shuffles first. Shuffle only where neighbouring
                samples are independent: otherwise what the parts share makes the second one look too easy.

        Raises:
            DataError: a part would be empty.
        """
        first, second = halves(len(self), at, seed)
        return self._take(first), self._take(second)

    def _take(self, index: Any) -> Dataset:
        return replace(self, inputs=self.inputs[index], targets=self.targets[index])


class Samples(ABC):
    """Labelled samples that are read when a batch needs them: `targets` (samples, ...) are known at once."""

    targets: np.ndarray

    @abstractmethod
    def batch(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """The inputs of these samples as one array, as training sees them in this epoch."""


class Loader:
    """Minibatches for any engine: each iteration is one epoch of (inputs, targets) host arrays.

    The order of epoch e is a function of (seed, e) and nothing else, the same on every machine. `epoch` is therefore
    the whole state: store it, `set_epoch` it in another process, and the batches continue bit for bit. To resume within
    an epoch, skip the k batches already seen: `itertools.islice(loader, k, None)`.

    Args:
        inputs: (samples, *features), a Dataset, or an EventDataset: its batches are (time, batch, *features).
        targets: (samples, *anything); without them a batch is (inputs, None).
        batch_size: samples in a batch; the last one may be smaller.
        shuffle: a new order each epoch, or the data's own.
        seed: a non-negative integer.
        drop_last: leave out a last batch that is smaller, for engines with static shapes.

    Raises:
        DataError: no samples, inputs and targets of different length, batch_size below 1, a negative seed, or no batch.
    """

    @checked
    def __init__(
        self,
        inputs: Union[np.ndarray, Dataset, Samples, ArrayLike],
        targets: Union[np.ndarray, ArrayLike, None] = None,
        *,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        if isinstance(inputs, tuple) and targets is None and len(inputs) == 2:
            raise DataError("inputs: a tuple of two; give inputs and targets by themselves: Loader(inputs, targets)")
        if isinstance(inputs, (Dataset, Samples)) and targets is not None:
            raise DataError("targets: a Dataset brings its own; give the Dataset alone, or two arrays")
        self._samples = inputs if isinstance(inputs, Samples) else None
        if isinstance(inputs, (Dataset, Samples)):
            targets = inputs.targets
            inputs = inputs.inputs if isinstance(inputs, Dataset) else np.arange(len(inputs.targets))
        self._inputs, self._targets = _pair(inputs, targets)
        self.batch_size = _integer("batch_size", batch_size, at_least=1)
        self.seed = _integer("seed", seed, at_least=0)
        self.shuffle, self.drop_last = shuffle, drop_last
        self._epoch = 0
        if not len(self):
            raise DataError(
                f"drop_last=True with batch_size={batch_size} leaves no batch of {len(self._inputs)} samples: "
                "use a smaller batch_size or drop_last=False"
            )

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration runs; it advances when an iteration has given its last batch."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration run this epoch (from 0)."""
        self._epoch = _integer("epoch", epoch, at_least=0)

    def __len__(self) -> int:
        whole, rest = divmod(len(self._inputs), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, samples = self._epoch, len(self._inputs)
        order = permutation(samples, self.seed, epoch) if self.shuffle else np.arange(samples)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows = order[start : start + self.batch_size]  # an index array: batches are copies, free to be changed
            inputs = self._inputs[rows] if self._samples is None else self._samples.batch(rows, epoch)
            yield inputs, None if self._targets is None else self._targets[rows]
        self._epoch = epoch + 1


def halves(samples: int, at: Union[int, float], seed: Optional[int]) -> Tuple[Any, Any]:
    """Indices of the first `at` samples and of the rest, see Dataset.split; slices where nothing is shuffled."""
    count = round(at * samples) if isinstance(at, (float, np.floating)) else at
    if not 0 < count < samples:
        raise DataError(f"at={at!r} leaves one part of {samples} samples empty: use a count or fraction between")
    if seed is None:
        return slice(count), slice(count, None)
    order = permutation(samples, _integer("seed", seed, at_least=0))
    return order[:count], order[count:]


def permutation(count: int, *key: int) -> np.ndarray:
    """A permutation of range(count) that depends on the key alone.

    NumPy keeps the raw bits of its bit generators the same across versions and machines, but not what
    `Generator.permutation` makes of them: hence a stable sort of raw bits.
    """
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(bits, kind="stable")


def _pair(inputs: Any, targets: Any, name: str = "") -> Tuple[np.ndarray, Any]:
    """Two host arrays of equal, positive length; targets may be None."""
    where = f"{name}: " if name else ""
    inputs = _host(f"{where}inputs", inputs)
    if targets is not None:
        targets = _host(f"{where}targets", targets)
        if len(inputs) != len(targets):
            raise DataError(
                f"{where}{len(inputs)} inputs but {len(targets)} targets: axis 0 of both must count the samples "
                f"(inputs {inputs.shape}, targets {targets.shape})"
            )
    if not len(inputs):
        raise DataError(f"{where}no samples: inputs have shape {inputs.shape}")
    return inputs, targets


def _host(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asanyarray(values)  # keeps a memory map one
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: cannot be read as a host array: {error}") from error
    if array.ndim == 0 or not of_numbers(array.dtype):
        raise DataError(f"{name}: need an array with samples along axis 0, not {type(values).__name__} {array.dtype}")
    return array


def _integer(name: str, value: Any, *, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise DataError(f"{name}={value!r}: need an integer of at least {at_least}")
    return int(value)

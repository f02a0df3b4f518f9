"""Labelled samples as NumPy arrays, and minibatches of them in a reproducible order."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Iterator, Optional, Tuple, Union

import numpy as np

from spikecore import arguments
from spikecore.arguments import ArrayLike, Checked, numbered, of_numbers
from spikecore.printing import array, shortened, table

Batch = Tuple[np.ndarray, Optional[np.ndarray]]


class DataError(ValueError):
    """Data, or an argument about data, cannot be used."""


checked = functools.partial(arguments.checked, refusal=DataError)


@dataclass(frozen=True, eq=False)  # == on arrays gives an array, not True or False
class Dataset(Checked):
    """Samples and their targets, along axis 0 of two NumPy arrays.

    Args:
        inputs: (samples, *features).
        targets: (samples, *anything): class indices, values or sequences.
        name: for messages and reports.
        classes: the classes' names in the order of their indices; empty if targets are not classes.

    `dataset[3]` is one (input, target). A slice, a mask or an array of indices gives a Dataset.

    Raises:
        DataError: there are no samples, rows differ in length, or inputs and targets differ in number.
    """

    refusal: ClassVar[Any] = DataError

    inputs: np.ndarray
    targets: np.ndarray
    name: str = ""
    classes: Tuple[str, ...] = ()

    def __post_init__(self):
        if self.targets is None:
            raise DataError("targets=None: a Dataset needs targets; for inputs alone use Loader(inputs)")
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

    def _repr_html_(self) -> str:
        return table(
            f"Dataset {self.name}".strip(),
            [
                ("samples", str(len(self))),
                ("inputs", array(self.inputs)),
                ("targets", array(self.targets)),
                *([("classes", shortened(self.classes))] if self.classes else ()),
            ],
        )

    def split(self, at: Union[int, float], *, seed: Optional[int] = None) -> Tuple[Dataset, Dataset]:
        """Split into two parts: the first `at` samples, and the rest.

        Args:
            at: a number of samples, or a fraction strictly between 0 and 1.
            seed: None keeps the order, and both parts are views. With a seed, the samples are shuffled first. Shuffle
                only if neighbouring samples are independent: otherwise similar samples are in both parts, and the
                results on the second part are too good.

        Raises:
            DataError: one part would be empty.
        """
        first, second = halves(len(self), at, seed)
        return self._take(first), self._take(second)

    def _take(self, index: Any) -> Dataset:
        return replace(self, inputs=self.inputs[index], targets=self.targets[index])


class Samples(ABC):
    """Labelled samples whose inputs are read when a batch needs them. All `targets` (samples, ...) are in memory."""

    targets: np.ndarray

    @abstractmethod
    def batch(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """The inputs of some samples as one array, for training.

        Args:
            rows: indices of the samples.
            epoch: number of the epoch from 0, for random transforms.
        """


class Loader:
    """Minibatches for any engine: each iteration is one epoch of NumPy arrays (inputs, targets).

    The order of epoch e depends only on (seed, e), and is the same on every machine. `epoch` is therefore the whole
    state. To resume in another process, store `epoch` and pass it to `set_epoch`: the batches continue bit for bit. To
    resume within an epoch, skip the k batches that were already used: `itertools.islice(loader, k, None)`.

    Args:
        inputs: (samples, *features), a Dataset, or an EventDataset, whose batches are (time, batch, *features).
        targets: (samples, *anything); without targets a batch is (inputs, None).
        batch_size: number of samples in a batch, ≥ 1; the last batch may be smaller. Default 64.
        shuffle: draw a new order for each epoch; False keeps the order of the data.
        seed: of the order; an integer ≥ 0.
        drop_last: leave out the last batch if it is smaller, for engines with static shapes.

    Raises:
        DataError: there are no samples or no batch, inputs and targets differ in length, or an argument is wrong.
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
            raise DataError("inputs: is a tuple of two; pass inputs and targets separately: Loader(inputs, targets)")
        if isinstance(inputs, (Dataset, Samples)) and targets is not None:
            raise DataError("targets: a Dataset brings its own; pass the Dataset alone, or two arrays")
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

    def __repr__(self) -> str:
        size, order = self._described()
        return f"Loader({len(self._inputs)} samples, {len(self)} batches {size}, {order})"

    def _repr_html_(self) -> str:
        size, order = self._described()
        return table(
            "Loader",
            [
                ("samples", str(len(self._inputs))),
                ("batches", f"{len(self)} {size}"),
                ("order", order),
                ("epochs done", str(self.epoch)),
            ],
        )

    def _described(self) -> Tuple[str, str]:
        """The size of the batches, and the order of the samples, as text."""
        rest = ", the last one left out if it is smaller" * self.drop_last
        order = f"shuffled with seed {self.seed}" if self.shuffle else "in order"
        return f"of {self.batch_size}{rest}", order

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next iteration runs, from 0. It advances when all batches have been taken."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration run this epoch (counted from 0)."""
        self._epoch = _integer("epoch", epoch, at_least=0)

    def __len__(self) -> int:
        whole, rest = divmod(len(self._inputs), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, samples = self._epoch, len(self._inputs)
        order = permutation(samples, self.seed, epoch) if self.shuffle else np.arange(samples)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows = order[start : start + self.batch_size]  # indexing with an array copies: users may change a batch
            inputs = self._inputs[rows] if self._samples is None else self._samples.batch(rows, epoch)
            yield inputs, None if self._targets is None else self._targets[rows]
        self._epoch = epoch + 1


def halves(samples: int, at: Union[int, float], seed: Optional[int]) -> Tuple[Any, Any]:
    """Indices of the two parts of Dataset.split; slices if nothing is shuffled, so that the parts are views."""
    count = round(at * samples) if isinstance(at, (float, np.floating)) else at
    if not 0 < count < samples:
        raise DataError(f"at={at!r} leaves one part of {samples} samples empty: use a count or fraction between")
    if seed is None:
        return slice(count), slice(count, None)
    order = permutation(samples, _integer("seed", seed, at_least=0))
    return order[:count], order[count:]


def permutation(count: int, *key: int) -> np.ndarray:
    """A permutation of range(count) that depends on the key alone.

    NumPy guarantees the same raw bits of a bit generator in all versions and on all machines, but not the same result
    of `Generator.permutation`. The permutation is therefore a stable sort of raw bits.
    """
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(bits, kind="stable")


def _pair(inputs: Any, targets: Any, name: str = "") -> Tuple[np.ndarray, Any]:
    """Inputs and targets as NumPy arrays of equal length ≥ 1; targets may be None."""
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
        array = np.asanyarray(values)  # a memory map stays a memory map
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: cannot be made a NumPy array: {error}") from error
    if array.ndim == 0 or not of_numbers(array.dtype):
        raise DataError(
            f"{name}: need an array with samples along axis 0, not {type(values).__name__} {array.dtype}"
            f"{numbered(array)}"
        )
    return array


def _integer(name: str, value: Any, *, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise DataError(f"{name}={value!r}: need an integer of at least {at_least}")
    return int(value)

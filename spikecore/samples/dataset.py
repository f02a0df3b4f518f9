"""Labelled samples in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Optional, Tuple, Union

import numpy as np

from spikecore.arguments import Checked, argument_kind
from spikecore.printing import array, shortened, table
from spikecore.samples.errors import DataError
from spikecore.samples.order import halves
from spikecore.samples.source import Arrays, lengths_of, pair


@dataclass(frozen=True, eq=False)  # == on arrays gives an array, not True or False
class Dataset(Checked):
    """Samples and their targets, along axis 0 of two NumPy arrays.

    Args:
        inputs: (samples, *features); or a list of sequences (time, *features) of unequal length.
        targets: (samples, *anything): class indices, values or sequences; or a list of arrays (time, ...) beside a list
            of sequences, with an entry for each of their steps.
        name: for messages and reports.
        classes: the classes' names in the order of their indices; empty if targets are not classes.
        lengths: number of steps of each sample that count, (samples,), each at least 1; None, the default: all steps,
            for a list of sequences those of each sequence.

    `dataset[3]` is one (input, target). A slice, a mask or an array of indices gives a Dataset.

    Raises:
        DataError: there are no samples, rows differ in length, or inputs and targets differ in number.
    """

    _refusal: ClassVar[Any] = DataError

    inputs: np.ndarray
    targets: np.ndarray
    name: str = ""
    classes: Tuple[str, ...] = ()
    lengths: Optional[np.ndarray] = None

    def __post_init__(self):
        if self.targets is None:
            raise DataError("targets=None: a Dataset needs targets; for inputs alone use Loader(inputs)")
        inputs, targets = pair(self.inputs, self.targets, self.name)
        if self.lengths is not None:
            object.__setattr__(self, "lengths", lengths_of(self.lengths, inputs, len(inputs), self.name))
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Union[Dataset, Tuple[Any, Any]]:
        single = isinstance(index, (int, np.integer))
        return (self.inputs[index], self.targets[index]) if single else self._take(index)

    def __repr__(self) -> str:
        samples = self.samples
        one = ("time", *self.inputs[0].shape[1:]) if samples.fills else self.inputs.shape[1:]
        kind = self.inputs[0].dtype if samples.fills else self.inputs.dtype
        inputs = f"({', '.join(map(str, one))}{',' * (len(one) == 1)}) {kind}"
        steps = "" if samples.lengths is None else f" of {_span(samples.lengths)} steps"
        targets = f"{self.targets.shape[1:]} {self.targets.dtype}"
        return f"Dataset({self.name or 'unnamed'}: {len(self)} samples{steps}, inputs {inputs}, targets {targets})"

    def _repr_html_(self) -> str:
        return table(
            f"Dataset {self.name}".strip(),
            [
                ("samples", str(len(self))),
                ("inputs", "sequences" if self.samples.fills else array(self.inputs)),
                ("targets", array(self.targets)),
                *([("steps", _span(self.samples.lengths))] if self.samples.lengths is not None else ()),
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

    @property
    def samples(self) -> Arrays:
        """Inputs, targets and lengths as a loader takes them."""
        return Arrays(self.inputs, self.targets, self.lengths)

    def _take(self, index: Any) -> Dataset:
        lengths = None if self.lengths is None else self.lengths[index]
        return replace(self, inputs=self.inputs[index], targets=self.targets[index], lengths=lengths)


argument_kind(Dataset, "a spikecore.datasets.Dataset")


def _span(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return str(low) if low == high else f"{low} to {high}"

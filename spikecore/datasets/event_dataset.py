"""Labelled recordings of events that are read one by one, when they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import abc
from dataclasses import dataclass, field, replace
from typing import Any, Callable, ClassVar, List, Optional, Sequence, Tuple, Union, cast

import numpy as np

from spikecore.arguments import Checked, HostArray, argument_kind, shown
from spikecore.datasets.errors import DataError, DataFileError
from spikecore.datasets.events import Events
from spikecore.datasets.sound import Sound
from spikecore.datasets.transforms.base import Compose, apply
from spikecore.datasets.transforms.frames import CountedEvents, counting, frames_of
from spikecore.printing import shortened, table
from spikecore.progress import with_bar
from spikecore.samples import Samples, halves, stacked
from spikecore.samples.errors import integer


class Source(ABC):
    """Reads the recordings of a data set.

    Attributes:
        timed: False if `read` returns arrays without a time axis.
        steps: number of steps of each recording, if `read` returns sequences and it is known; else None.
    """

    timed = True
    steps: Optional[np.ndarray] = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of recordings."""

    @abstractmethod
    def read(self, row: int) -> Any:
        """Recording number `row`: Events, a Sound, or an array that a transform has made of it."""

    def identity(self, row: int) -> Tuple[Any, ...]:
        """Names and numbers that change when recording number `row` changes. A cache compares them.

        Raises:
            DataError: the source cannot tell whether the recording has changed.
        """
        raise DataError(f"{type(self).__name__} cannot tell whether a recording has changed")


argument_kind(Source)


@dataclass(frozen=True, eq=False)
class EventDataset(Checked, Samples):
    """Recordings of events or sound, and their labels.

    The labels are in memory. A recording is read and transformed at each access.

    `dataset[3]` is one (recording, label). A slice, a mask or an array of indices gives an EventDataset. For training,
    `map` a transform that makes arrays, and pass the result to a Loader:

        frames = dataset.map(ToFrames(steps=25))
        model.fit(Loader(frames, batch_size=32), ...)

    Batches are time first, (time, batch, *features). A sample that has fewer steps than the longest sample of its batch
    is filled up with empty steps at its end; with `Loader(frames, lengths=True)` these do not count. A torch
    DataLoader takes the dataset, too. Its batches are (batch, time, *features): pass `time_axis=1` to `fit`.

    Args:
        source: reads the recordings; or a list of Events or of Sounds, which stay in memory.
        targets: one class index per recording, int64 (recordings,).
        name: for messages and reports.
        classes: the classes' names in the order of their indices.
        transform: function that is applied to each recording; None for none.
        rows: numbers of the source's recordings in this dataset, in this order; None for all.

    Attributes:
        epoch: the epoch of random transforms in `dataset[3]`; `fit` sets it for a torch DataLoader.

    Raises:
        DataError: there are no recordings, an entry of a list is none, or recordings and labels differ in number.
    """

    _refusal: ClassVar[Any] = DataError

    source: Union[Source, Sequence[Union[Events, Sound]]]
    targets: HostArray
    name: str = ""
    classes: Tuple[str, ...] = ()
    transform: Optional[Callable[..., Any]] = None
    rows: Optional[HostArray] = None
    epoch: int = field(default=0, init=False)

    def __post_init__(self):
        if not isinstance(self.source, Source):
            object.__setattr__(self, "source", InMemory(_recordings(self.source, self.name)))
        rows = np.arange(len(self.source)) if self.rows is None else np.asarray(self.rows)
        targets = np.asarray(self.targets)
        if len(rows) != len(targets) or not len(rows):
            name, count = self.name or "EventDataset", len(rows)
            raise DataError(f"{name}: {count} recordings, {len(targets)} labels: need one each, at least one")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "targets", targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Any) -> Union[EventDataset, Tuple[Any, Any]]:
        if isinstance(index, (int, np.integer)):
            return self.item(int(index), self.epoch), self.targets[index]
        return self._take(index)

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""  # there may be labels without names
        transform = f", {self.transform!r}" if self.transform is not None else ""
        return f"EventDataset({self.name or 'unnamed'}: {len(self)} recordings{classes}{transform})"

    def _repr_html_(self) -> str:
        return table(
            f"EventDataset {self.name}".strip(),
            [
                ("recordings", str(len(self))),
                ("classes", shortened(self.classes)),
                ("transform", repr(self.transform)),
            ],
        )

    @property
    def _reader(self) -> Source:
        return cast(Source, self.source)  # a list has become one

    @property
    def timed(self) -> bool:
        """Whether transformed recordings have a time axis."""
        return self._reader.timed and getattr(self.transform, "timed", True)

    def item(self, index: int, epoch: int = 0) -> Any:
        """Read and transform one recording.

        Args:
            index: number of the recording in this dataset.
            epoch: number of the epoch from 0; only random transforms use it.

        Raises:
            IndexError: there is no such recording.
            DataError: the recording cannot be read or transformed.
        """
        return self._item(index, epoch, self.transform)

    def _item(self, index: int, epoch: int, transform: Any) -> Any:
        row = int(self.rows[index])  # type: ignore[index]
        recording = self._reader.read(row)
        return recording if transform is None else apply(transform, recording, row, epoch)

    def map(self, *transforms: Callable[..., Any]) -> EventDataset:
        """The same recordings with further transforms, which are applied after the present ones."""
        steps = (*(() if self.transform is None else (self.transform,)), *transforms)
        return replace(self._whole(), transform=Compose(*steps))

    def split(self, at: Union[int, float], *, seed: Optional[int] = None) -> Tuple[EventDataset, EventDataset]:
        """Split into two parts: the first `at` recordings, and the rest. Arguments and errors as in Dataset.split."""
        first, second = halves(len(self), at, seed)
        return self._take(first), self._take(second)

    def batch(self, rows: np.ndarray, epoch: int = 0) -> np.ndarray:
        """The samples of these numbers as one array: (time, batch, *features), or (batch, *features) without time.

        Args:
            rows: indices of the samples in this dataset.
            epoch: number of the epoch from 0; only random transforms use it.

        Raises:
            DataError: recordings are still Events, or their arrays have features of different shapes.
        """
        return self.filled(rows, epoch)[0]

    def filled(
        self, rows: np.ndarray, epoch: int = 0, steps: Optional[int] = None
    ) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """Some samples as one array, as `batch` gives it, and the number of steps of each; None without time.

        Args:
            rows, epoch: as for `batch`.
            steps: number of steps to which every sample is cut or filled up; None, the default: those of the longest.

        Raises:
            DataError: as for `batch`.
        """
        own = type(self).item is EventDataset.item  # a subclass may read its recordings in another way
        transform = counting(self.transform) if self.timed and own else self.transform
        items = [self._named(int(row), epoch, transform) for row in rows]
        for item in items:
            if isinstance(item, (Events, Sound)):
                kind, example = type(item).__name__, "ToFrames(steps=25)" if isinstance(item, Events) else "LogMel()"
                raise DataError(f"{self.name}: a batch needs arrays, not {kind}: dataset.map(transforms.{example})")
        if not self.timed:
            return np.stack(items), None
        counted = isinstance(items[0], CountedEvents)
        return (frames_of if counted else stacked)(items, steps), np.array([item.shape[0] for item in items])

    def _named(self, index: int, epoch: int, transform: Any) -> Any:
        """`item`, with `transform` in place of the dataset's; errors name the recording, wherever it is read."""
        try:
            return self.item(index, epoch) if transform is self.transform else self._item(index, epoch, transform)
        except Exception as error:
            row = int(self.rows[index])  # type: ignore[index]
            message = f"{self.name or 'EventDataset'}, recording {row}: {type(error).__name__}: {error}"
            raise (type(error) if isinstance(error, DataFileError) else DataError)(message) from error

    @property
    def fills(self) -> bool:  # type: ignore[override]
        """Whether a batch fills up samples that have fewer steps than others."""
        return self.timed

    @property
    def steps(self) -> Optional[np.ndarray]:  # type: ignore[override]
        """The number of steps of each sample, if it is known without reading; else None."""
        known = self._reader.steps if self.timed and self.transform is None else None
        return None if known is None else known[self.rows]

    def set_epoch(self, epoch: int) -> None:
        """Make `dataset[3]` apply random transforms as in this epoch (counted from 0).

        `fit` calls it through a torch DataLoader. Workers of a DataLoader with `persistent_workers=True` have a copy of
        the dataset, which it does not reach.
        """
        object.__setattr__(self, "epoch", integer("epoch", epoch, at_least=0))

    def in_memory(self, progress: Optional[bool] = None) -> EventDataset:
        """Read and transform every recording now, and keep the results in memory. Random transforms act as in epoch 0.

        Args:
            progress: True or False forces a progress bar on or off; None shows one on a terminal and in a notebook.
        """
        recordings = [self.item(i) for i in with_bar(range(len(self)), f"reading {self.name}", progress)]
        return EventDataset(InMemory(recordings, self.timed), self.targets, self.name, self.classes)

    def _take(self, index: Any) -> EventDataset:
        return replace(self._whole(), targets=self.targets[index], rows=self.rows[index])  # type: ignore[index]

    def _whole(self) -> EventDataset:
        """This dataset as a plain EventDataset, without the additions of a subclass."""
        return EventDataset(self.source, self.targets, self.name, self.classes, self.transform, self.rows)


argument_kind(EventDataset)


def _recordings(given: Sequence[Any], name: str) -> List[Any]:
    """A list of Events or Sounds, checked."""
    if isinstance(given, str) or not isinstance(given, abc.Sequence):
        raise DataError(f"EventDataset: source={shown(given)} must be a Source, or a list of Events or Sounds")
    for i, one in enumerate(given):
        if not isinstance(one, (Events, Sound)):
            raise DataError(
                f"{name or 'EventDataset'}: recording {i} is of type {type(one).__name__}: need Events or Sounds, e.g. "
                "Events(t, unit, sensor=(units,)) with times in microseconds. Dataset takes arrays"
            )
    return list(given)


class InMemory(Source):
    """Recordings in memory."""

    def __init__(self, recordings: Sequence[Any], timed: bool = True):
        self.recordings, self.timed = recordings, timed
        if timed and all(isinstance(recording, np.ndarray) for recording in recordings):
            self.steps = np.array([len(recording) for recording in recordings])

    def __len__(self) -> int:
        return len(self.recordings)

    def read(self, row: int) -> Any:
        return self.recordings[row]

    def identity(self, row: int) -> Tuple[Any, ...]:
        raise DataError("recordings in memory have no files that show whether they changed: cache before in_memory()")

"""Data sets of the library tonic, and others with the same interface."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple

import numpy as np

from spikecore.arguments import shown
from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events, check_sensor
from spikecore.datasets.structured import from_structured
from spikecore.progress import with_bar


@checked
def from_tonic(
    dataset: Any,
    *,
    sensor: Optional[Tuple[int, ...]] = None,
    targets: Optional[Sequence[Any]] = None,
    identity: str = "",
    progress: Optional[bool] = None,
) -> EventDataset:
    """Wrap a data set of tonic, for example `from_tonic(tonic.datasets.NMNIST("data")).map(ToFrames(steps=25))`.

    Leave out the `transform` of the data set. Any other object works that has `__len__` and whose `__getitem__` returns
    (structured array with t, x, y, p; target).

    Args:
        dataset: the data set. Its arrays have the fields t in µs and x, and y and p if the sensor has them.
        sensor: (width, height) or (units,). None takes `dataset.sensor_size`, (width, height, polarities). With a
            height of 1 the sensor is one-dimensional, and with one polarity events have none.
        targets: a class index or name per recording. None takes `dataset.targets`; if there is none, every recording is
            read once for its label.
        identity: a name for the data, by which a cache recognises them: change it when the data change.
        progress: True or False forces a progress bar on or off while labels are read; None shows one on a terminal and
            in a notebook.

    Raises:
        DataError: there are no recordings, no sensor is known, or items have another form.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(f"dataset={shown(dataset)}: need a data set of tonic, or another list of (events, target)")
    sensor, polarities = _sensor(dataset, sensor)
    source = Foreign(dataset, sensor, polarities, identity)
    if not len(source):
        raise DataError("dataset: has no recordings")
    source.read(0)  # raises an error now if items have another form
    if targets is not None and len(targets) != len(dataset):
        raise DataError(f"targets: {len(targets)} entries for {len(dataset)} recordings: need one per recording")
    if targets is None:
        targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != len(dataset):
        targets = [dataset[i][1] for i in with_bar(range(len(dataset)), "reading labels", progress)]
    labels, classes = _labels(targets, getattr(dataset, "classes", None))
    return EventDataset(source, labels, f"{type(dataset).__name__} (tonic)", classes)


class Foreign(Source):
    """Recordings of another library's data set."""

    def __init__(self, dataset: Any, sensor: Tuple[int, ...], polarities: int, identity: str):
        self.dataset, self.sensor, self.polarities, self.name = dataset, sensor, polarities, identity

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, row: int) -> Events:
        item = self.dataset[row]
        if not isinstance(item, tuple) or len(item) < 2:
            raise DataError(f"dataset[{row}]: need (events, target), not {type(item).__name__}")
        try:
            events = from_structured(np.asarray(item[0]), self.sensor, type(self.dataset).__name__)
        except DataError as error:
            raise DataError(
                f"dataset[{row}]: {error}. Leave out the data set's own transform, or give it to a torch DataLoader"
            ) from error
        return events if self.polarities > 1 else events.with_arrays(p=None)

    def identity(self, row: int) -> Tuple[Any, ...]:
        if not self.name:
            raise DataError(
                "a cache cannot tell whether these recordings have changed: name them by from_tonic(dataset, "
                "identity='N-MNIST train'), and change the name when they change"
            )
        return (self.name, len(self.dataset), row)


def _sensor(dataset: Any, sensor: Optional[Tuple[int, ...]]) -> Tuple[Tuple[int, ...], int]:
    if sensor is not None:
        return check_sensor(sensor), 2
    size = getattr(dataset, "sensor_size", None)
    if size is None or len(size) != 3 or not all(isinstance(n, (int, np.integer)) for n in size):
        raise DataError(f"sensor: {type(dataset).__name__}.sensor_size is {size!r}: pass sensor=(width, height)")
    width, height, polarities = (int(n) for n in size)
    return check_sensor((width,) if height == 1 else (width, height)), polarities


def _labels(targets: Sequence[Any], classes: Any) -> Tuple[np.ndarray, Tuple[str, ...]]:
    """Class indices from 0, and the classes' names."""
    array = np.asarray(targets)
    names = tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else ()
    if array.ndim == 1 and array.dtype.kind in "iub":
        return array.astype(np.int64), names
    if array.ndim == 1 and array.dtype.kind == "U":
        order, labels = np.unique(array, return_inverse=True)
        return labels.astype(np.int64), tuple(map(str, order))
    raise DataError(f"targets: need class indices or names, one per recording, not {array.dtype} {array.shape}")

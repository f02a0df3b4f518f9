"""Many recordings in one `.npz` archive: arrays of all events in turn, and the first event of each recording."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np

from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.limits import MOST_BYTES
from spikecore.datasets.npz import members
from spikecore.datasets.places import PathLike, stamp
from spikecore.files import write_atomically

MOST_CLASSES = 100_000


@checked
def event_npz(path: PathLike, sensor: Tuple[int, ...], *, max_bytes: int = MOST_BYTES) -> EventDataset:
    """Read recordings from one archive, as `save_event_npz` writes it.

    The archive has the arrays t, x, y, p (events,), offset (recordings + 1,) and label (recordings,). Recording i has
    the events from offset[i] up to, but without, offset[i + 1]. All arrays are read into memory.

    Args:
        path: the archive.
        sensor: (width, height) in pixels.
        max_bytes: most bytes of memory that the arrays may take. Default: 4 GiB.

    Raises:
        DataFileError: the file is absent, damaged or too large, or lacks an array. Events outside the sensor are
            reported when their recording is read.
    """
    arrays = members(path, "t", "x", "y", "p", "offset", "label", max_bytes=max_bytes)
    events = {name: arrays[name] for name in "txyp"}
    offset, label = arrays["offset"], arrays["label"]
    lengths = {array.shape for array in events.values()}
    fits = offset.ndim == label.ndim == 1 and len(offset) == len(label) + 1 and offset.dtype.kind in "iu"
    if not fits or len(lengths) != 1 or offset[0] != 0 or offset[-1] != len(events["t"]) or (np.diff(offset) < 0).any():
        raise DataFileError(
            f"{path}: offset {offset.shape}, label {label.shape} and events {sorted(lengths)} do not fit: offset must "
            "ascend from 0 to the number of events, with one more entry than label"
        )
    if label.dtype.kind not in "iu" or not len(label) or label.min() < 0 or label.max() > MOST_CLASSES:
        raise DataFileError(f"{path}: label must hold class indices from 0 to {MOST_CLASSES}, at least one")
    classes = tuple(map(str, range(int(label.max()) + 1)))
    return EventDataset(Archive(Path(path), events, offset, sensor), label.astype(np.int64), Path(path).name, classes)


@checked
def save_event_npz(path: PathLike, dataset: EventDataset) -> None:
    """Write recordings to an archive that `event_npz` reads.

    Args:
        path: the archive; ".npz" is added to a name that does not end so.
        dataset: recordings of one camera, as Events.

    Raises:
        DataError: a recording is not Events, or its Events lack y or p.
    """
    streams = [dataset.item(i) for i in range(len(dataset))]
    for i, stream in enumerate(streams):
        if not isinstance(stream, Events) or stream.y is None or stream.p is None:
            raise DataError(f"dataset[{i}] is {stream!r}: need Events with y and p, before any transform to frames")
    columns: Any = {name: np.concatenate([getattr(stream, name) for stream in streams]) for name in "txyp"}
    offset = np.cumsum([0, *map(len, streams)])
    content = io.BytesIO()
    np.savez_compressed(content, offset=offset, label=dataset.targets, **columns)
    name = os.fspath(path)
    write_atomically(name if name.endswith(".npz") else f"{name}.npz", content.getvalue())


class Archive(Source):
    """Recordings in concatenated arrays."""

    def __init__(self, path: Path, events: dict, offset: np.ndarray, sensor: Tuple[int, ...]):
        self.path, self.events, self.offset, self.sensor = path, events, offset, sensor
        self._stamp: Optional[Tuple] = stamp(path)

    def __len__(self) -> int:
        return len(self.offset) - 1

    def read(self, row: int) -> Events:
        part = slice(int(self.offset[row]), int(self.offset[row + 1]))
        columns = {name: array[part] for name, array in self.events.items()}
        try:
            return Events.from_unsorted(**columns, sensor=self.sensor, origin=self.path.name)
        except DataError as error:
            raise DataFileError(f"{self.path}, recording {row}: {error}") from error

    def identity(self, row: int) -> Tuple:
        return (*self._stamp, row, self.sensor)  # type: ignore[misc]

"""A cache of transformed recordings on disk, so that each is read and transformed only once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
import zlib
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np

from spikecore import __version__
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.fingerprint import fingerprint
from spikecore.datasets.places import PathLike
from spikecore.datasets.transforms.base import random_steps
from spikecore.progress import with_bar

MAGIC = b"spikecore cache 1\n"
DIGEST = 16
FAULTS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError)
COLUMNS = ("t", "x", "y", "p")
log = logging.getLogger(__name__)


class Cached(EventDataset):
    """A dataset that stores its transformed recordings in files: `Cached(dataset.map(ToFrames(steps=25)), "cache")`.

    Each recording is stored when it is first used, or by `fill()`. An entry depends on the recording's file (name,
    size, time of change), on the transform (class and fields) and on spikecore's version. If one of them changes, a new
    entry is written beside the old one. You may delete the folder at any time. A damaged entry is written again, and
    the log gets one message. Several processes may use one folder at the same time.

    Map random transforms after the cache, `Cached(...).map(Shift(2))`. Inside the cache, a random transform would give
    the same sample in every epoch, and is refused.

    Args:
        dataset: the recordings and their transform.
        folder: for the files; it is made if it does not exist.

    Raises:
        DataError: the transform is random or has no fields to compare (a plain function), or the source cannot tell
            whether a recording has changed.
        DataFileError: the folder cannot be written to.
    """

    @checked
    def __init__(self, dataset: EventDataset, folder: PathLike):
        random = random_steps(dataset.transform)
        if random:
            raise DataError(
                f"{random[0]!r} within a cache would give the same sample in every epoch: map it after the cache, "
                "Cached(dataset, folder).map(...)"
            )
        store = Store(dataset, Path(folder))
        super().__init__(store, dataset.targets, dataset.name, dataset.classes)

    def fill(self, progress: Optional[bool] = None) -> Cached:
        """Write every entry that is missing, and return self.

        Args:
            progress: True or False forces a progress bar on or off; None shows one on a terminal and in a notebook.
        """
        for index in with_bar(range(len(self)), f"caching {self.name}", progress):
            self.item(index)
        return self


class Store(Source):
    """The entries of a dataset in a folder."""

    def __init__(self, dataset: EventDataset, folder: Path):
        self.dataset, self.timed = dataset, dataset.timed
        self.key = fingerprint(__version__, dataset.transform)
        words = "".join(letter if letter.isalnum() else "-" for letter in dataset.name.lower()) or "unnamed"
        self.folder = folder / f"{words}-{self.key}"
        self.identity(0)  # raises an error now if the source cannot tell whether a recording has changed
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "made-by.txt").write_text(f"spikecore {__version__}\n{dataset!r}\n", encoding="utf-8")
        except OSError as error:
            raise DataFileError(f"{self.folder}: cannot be written to: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self.dataset)

    def _within(self, row: int) -> Tuple[Source, int]:
        """The source of a recording, and its number there."""
        dataset: Any = self.dataset  # its source was a list at most when it was made, its rows were None
        return dataset.source, int(dataset.rows[row])

    def identity(self, row: int) -> Tuple[Any, ...]:
        source, number = self._within(row)
        return (self.key, *source.identity(number))

    def read(self, row: int) -> Any:
        path = self.folder / f"{self._within(row)[1]:06d}-{fingerprint(self.identity(row))}"
        try:
            return decoded(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, DataError) as error:
            log.warning("%s: cache entry cannot be used (%s); it is made again", path, error)
        recording = self.dataset.item(row)
        _write(path, encoded(recording))
        return recording


def encoded(recording: Any) -> bytes:
    """Events or an array as bytes, with a digest that reveals damage."""
    if isinstance(recording, Events):
        arrays = {name: getattr(recording, name) for name in COLUMNS if getattr(recording, name) is not None}
        head = {"sensor": recording.sensor, "origin": recording.origin}
    elif isinstance(recording, np.ndarray) and recording.dtype != object:
        arrays, head = {"": recording}, {}
    else:
        raise DataError(f"a cache stores Events and arrays, not {type(recording).__name__}: change the transform")
    head["arrays"] = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    parts = [json.dumps(head).encode(), b"\n", *(np.ascontiguousarray(array).tobytes() for array in arrays.values())]
    body = zlib.compress(b"".join(parts), 1)  # frames are mostly zeros
    return MAGIC + digest_of(body) + body


def decoded(data: bytes) -> Any:
    """The inverse of `encoded`; raises DataError for bytes that `encoded` did not write."""
    start = len(MAGIC) + DIGEST
    body = data[start:]
    if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : start] != digest_of(body):
        raise DataError("damaged, or not a cache entry")
    try:
        return _content(zlib.decompress(body))
    except (*FAULTS, zlib.error) as error:
        raise DataError(f"not a cache entry: {error}") from error  # another program wrote it, with a correct digest


def _content(content: bytes) -> Any:
    head, position = json.loads(content[: content.index(b"\n")]), content.index(b"\n") + 1
    arrays = {}
    for name, dtype, shape in head["arrays"]:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(content, dtype, count, position).reshape(shape)
        position += arrays[name].nbytes
    if "sensor" in head:
        return Events(**arrays, sensor=tuple(head["sensor"]), origin=head["origin"])
    return arrays[""].copy()  # writable, like an array that comes from a transform


def digest_of(body: bytes) -> bytes:
    """The digest of an entry's contents, which a whole entry has."""
    return hashlib.blake2b(body, digest_size=DIGEST).digest()


def _write(path: Path, data: bytes) -> None:
    """Write a file in a single step, so that other processes never see a part of an entry."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DataFileError(f"{path}: cannot be written: {error.strerror or error}") from error

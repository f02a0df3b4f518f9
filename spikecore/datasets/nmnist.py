"""N-MNIST: MNIST's digits, recorded by an event camera that moved in front of a screen."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

import numpy as np

from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.places import Home, PathLike, content, stamp

SENSOR = (34, 34)
OVERFLOW_ROW, OVERFLOW = 240, 1 << 13  # an event in row 240 is none: all times from it on are 2¹³ µs later
HOME = Home(
    "N-MNIST",
    ("N-MNIST", "NMNIST", "."),
    "https://www.garrickorchard.com/datasets/n-mnist",
    "G. Orchard et al., Frontiers in Neuroscience 9:437, 2015",
    "the folders Train and Test, each with folders 0 to 9 of .bin files",
)


@checked
def nmnist(root: PathLike) -> Tuple[EventDataset, EventDataset]:
    """N-MNIST from files on disk as (train, test), 60,000 and 10,000 recordings; nothing is downloaded.

    A 34×34 sensor with two polarities, about 4000 events in 300 ms each: three saccades of 100 ms. Recordings stand in
    the order of their numbers, MNIST's.

    Args:
        root: the folder that holds Train and Test, or one above it called N-MNIST or NMNIST.

    Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, Converting Static Image Datasets to Spiking Neuromorphic
    Datasets Using Saccades, Frontiers in Neuroscience 9:437 (2015).

    Raises:
        DataFileError: a folder is absent or empty. A damaged file is found when it is read.
    """
    folder = HOME.find(root, "Train", "Test")
    return _part(folder / "Train"), _part(folder / "Test")


@checked
def read_nmnist(path: PathLike, sensor: Tuple[int, int] = SENSOR) -> Events:
    """One `.bin` file of N-MNIST, or of N-Caltech101, whose format is the same.

    Five bytes per event: x, y, then one bit of polarity and 23 bits of time in µs, big-endian. An event in row 240
    marks an overflow of the clock: it adds 2¹³ µs to all later times.

    Args:
        path: the file.
        sensor: (width, height); of N-Caltech101 (240, 180).

    Raises:
        DataFileError: absent, empty, of a length that is no multiple of 5, or with events outside the sensor.
    """
    data = content(path)
    if not data or len(data) % 5:
        raise DataFileError(f"{path}: {len(data)} bytes: an N-MNIST file has 5 for each event, and at least one event")
    bytes_ = np.frombuffer(data, np.uint8).reshape(-1, 5)
    x, y = bytes_[:, 0], bytes_[:, 1]
    polarity, high, middle, low = bytes_[:, 2] >> 7, bytes_[:, 2] & 0x7F, bytes_[:, 3], bytes_[:, 4]
    marker = y == OVERFLOW_ROW
    t = (high.astype(np.int64) << 16) + (middle.astype(np.int64) << 8) + low + OVERFLOW * np.cumsum(marker)
    real = ~marker
    try:
        return Events.from_unsorted(t[real], x[real], y[real], polarity[real], sensor=sensor, origin="N-MNIST")
    except DataError as error:
        raise DataFileError(f"{path}: {error}") from error


class Files(Source):
    """N-MNIST files in folders named after their labels."""

    def __init__(self, paths: List[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> Events:
        return read_nmnist(self.paths[row])

    def identity(self, row: int) -> Tuple:
        return (self.paths[row].parent.name, *stamp(self.paths[row]))


def _part(folder: Path) -> EventDataset:
    found = [(path.name, label, path) for label in range(10) for path in (folder / str(label)).glob("*.bin")]
    if not found:
        raise DataFileError(f"{folder}: no .bin files in its folders 0 to 9; N-MNIST is offered at {HOME.page}")
    found.sort()  # by number, so that a part of the data has all classes
    labels = np.array([label for _, label, _ in found])
    classes = tuple("0123456789")
    return EventDataset(Files([path for *_, path in found]), labels, f"N-MNIST {folder.name.lower()}", classes)

"""N-MNIST: the digits of MNIST, recorded by an event camera that moved in front of a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np

from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset
from spikecore.datasets.events import Events
from spikecore.datasets.places import Home, PathLike, Remote, content
from spikecore.datasets.recording_files import RecordingFiles

SENSOR = (34, 34)
OVERFLOW_ROW, OVERFLOW = 240, 1 << 13  # an entry in row 240 is not an event: it makes all later times 2¹³ µs later
# where the author publishes them (doi:10.17632/468j46mzdv.1); tonic and SpikingJelly name the same checksums
FILES = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
HOME = Home(
    "N-MNIST",
    ("N-MNIST", "NMNIST", "."),
    "https://www.garrickorchard.com/datasets/n-mnist",
    "G. Orchard et al., Frontiers in Neuroscience 9:437, 2015",
    "the folders Train and Test, each with folders 0 to 9 of .bin files",
    {
        "Train": Remote(
            "Train.zip",
            f"{FILES}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
            "20959b8e626244a1b502305a9e6e2031",
        ),
        "Test": Remote(
            "Test.zip",
            f"{FILES}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
            "69ca8762b2fe404d9b9bad1103e97832",
        ),
    },
)


@checked
def nmnist(root: PathLike, *, download: bool = False) -> Tuple[EventDataset, EventDataset]:
    """Read N-MNIST from files on disk as (train, test), 60,000 and 10,000 recordings.

    The sensor has 34×34 pixels and two polarities. A recording has about 4000 events in 300 ms, from three saccades of
    100 ms. Recordings are in the order of their numbers, which are those of MNIST's images.

    Args:
        root: the folder that holds Train and Test, or its parent, with the folder N-MNIST or NMNIST.
        download: fetch what is missing into root/N-MNIST: 1.2 GB, and space for as much again. Default False: nothing
            is downloaded.

    Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, Converting Static Image Datasets to Spiking Neuromorphic
    Datasets Using Saccades, Frontiers in Neuroscience 9:437 (2015).

    Raises:
        DataFileError: a folder is absent or empty, or cannot be fetched. A damaged file is reported when it is read.
    """
    folder = HOME.find(root, "Train", "Test", download=download)
    return _part(folder / "Train"), _part(folder / "Test")


@checked
def read_nmnist(path: PathLike, sensor: Tuple[int, int] = SENSOR) -> Events:
    """Read one `.bin` file of N-MNIST, or of N-Caltech101, which has the same format.

    An event has five bytes: x, y, then one bit of polarity and 23 bits of time in µs, big-endian. An entry in row 240
    marks an overflow of the clock: it adds 2¹³ µs to all later times.

    Args:
        path: the file.
        sensor: (width, height) in pixels; (34, 34) for N-MNIST (the default), (240, 180) for N-Caltech101.

    Raises:
        DataFileError: the file is absent or empty, its length is not a multiple of 5, or it has events outside the
            sensor.
    """
    data = content(path)
    if not data or len(data) % 5:
        raise DataFileError(f"{path}: {len(data)} bytes: an N-MNIST file has 5 for each event, and at least one event")
    bytes_ = np.frombuffer(data, np.uint8).reshape(-1, 5)
    x, y = bytes_[:, 0], bytes_[:, 1]
    polarity, high, middle, low = bytes_[:, 2] >> 7, bytes_[:, 2] & 0x7F, bytes_[:, 3], bytes_[:, 4]
    marker = y == OVERFLOW_ROW
    t = (high.astype(np.int64) << 16) + (middle.astype(np.int64) << 8) + low + OVERFLOW * np.cumsum(marker)
    event = ~marker
    try:
        return Events.from_unsorted(t[event], x[event], y[event], polarity[event], sensor=sensor, origin="N-MNIST")
    except DataError as error:
        raise DataFileError(f"{path}: {error}") from error


def _part(folder: Path) -> EventDataset:
    files = [(path.name, label, path) for label in range(10) for path in (folder / str(label)).glob("*.bin")]
    if not files:
        raise DataFileError(f"{folder}: no .bin files in its folders 0 to 9; get N-MNIST from {HOME.page}")
    files.sort()  # by number, so that the first samples are of all classes
    labels = np.array([label for _, label, _ in files])
    classes = tuple("0123456789")
    source = RecordingFiles([path for *_, path in files], read_nmnist)
    return EventDataset(source, labels, f"N-MNIST {folder.name.lower()}", classes)

"""The Heidelberg data sets: spoken digits and words as the spikes of an artificial cochlea."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np

from spikecore.arguments import Size
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.hdf5 import Hdf5Reader
from spikecore.datasets.places import Home, PathLike, stamp

UNITS = 700
LONGEST = 3600.0  # seconds
PAPER = "B. Cramer et al., IEEE Transactions on Neural Networks and Learning Systems 33, 2022"
PAGE = "https://zenkelab.org/datasets/ (described at https://compneuro.net)"
SHD = Home("SHD", ("SHD", "."), PAGE, PAPER, "shd_train.h5 and shd_test.h5, gunzipped")
SSC = Home("SSC", ("SSC", "."), PAGE, PAPER, "ssc_train.h5, ssc_valid.h5 and ssc_test.h5, gunzipped")


@checked
def shd(root: PathLike, *, timeout: float = 60.0) -> Tuple[EventDataset, EventDataset]:
    """Read the Spiking Heidelberg Digits from files on disk as (train, test); nothing is downloaded.

    There are 8156 and 2264 samples of spoken digits 0 to 9 in English and German (20 classes), of about one second. The
    sensor has 700 units without polarity. Times are µs from the start of the recording. Two of the twelve speakers are
    in the test set only.

    Args:
        root: the folder of shd_train.h5 and shd_test.h5, or its parent, with the folder SHD.
        timeout: longest time to read a sample, in seconds; reading usually takes about a millisecond. Default 60.

    Files are read in a separate process, because damaged files can crash or hang the HDF5 library.

    Source: B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, The Heidelberg Spiking Data Sets for the Systematic
    Evaluation of Spiking Neural Networks, IEEE TNNLS 33 (2022).

    Raises:
        MissingExtraError: h5py is not installed.
        DataFileError: a file is absent, or its labels cannot be read. Damaged spikes are reported when they are read.
    """
    train, test = (_part(SHD, root, word, timeout) for word in ("train", "test"))
    return train, test


@checked
def ssc(root: PathLike, *, timeout: float = 60.0) -> Tuple[EventDataset, EventDataset, EventDataset]:
    """Read the Spiking Speech Commands as (train, valid, test); nothing is downloaded.

    There are 75466, 9981 and 20382 samples of 35 words. Sensor, times, source and errors are those of `shd`.

    Args:
        root: the folder of ssc_train.h5, ssc_valid.h5 and ssc_test.h5, or its parent, with the folder SSC.
        timeout: longest time to read a sample, in seconds. Default 60.
    """
    train, valid, test = (_part(SSC, root, word, timeout) for word in ("train", "valid", "test"))
    return train, valid, test


@checked
def read_spikes(path: PathLike, *, units: Size = UNITS, name: str = "", timeout: float = 60.0) -> EventDataset:
    """Read any HDF5 file with the layout of SHD: spikes/times (s), spikes/units, labels, and optionally extra/keys.

    Args:
        path: the file.
        units: number of units of the sensor. Default 700.
        name: of the data set; default: that of the file.
        timeout: longest time to read a sample, in seconds. Default 60.

    Raises:
        MissingExtraError, DataFileError: as for `shd`.
    """
    source = Spikes(Hdf5Reader(timeout), Path(path), units, name or "HDF5 spikes")
    labels, classes = source.labels()
    return EventDataset(source, labels, name or Path(path).name, classes)


class Spikes(Source):
    """The samples of one file."""

    def __init__(self, reader: Hdf5Reader, path: Path, units: Size, origin: str):
        self.reader, self.path, self.units, self.origin = reader, path, units, origin
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def labels(self) -> Tuple[np.ndarray, Tuple[str, ...]]:
        """Labels and class names. The number of samples is known only after this call."""
        labels, classes = self.reader.labels(self.path)
        most = len(classes) or 1 << 15
        if int(labels.min()) < 0 or int(labels.max()) >= most:
            raise DataFileError(f"{self.path}: labels {labels.min()} to {labels.max()}, but there are {most} classes")
        self._count = len(labels)
        return labels.astype(np.int64), classes

    def read(self, row: int) -> Events:
        times, units = self.reader.spikes(self.path, row)
        seconds = times.astype(np.float64)  # SHD stores float16, whose resolution is half a millisecond at one second
        if not (np.abs(seconds) <= LONGEST).all():  # written so that NaN is refused, too
            raise DataFileError(f"{self.path}, sample {row}: times beyond {LONGEST:g} s, or not finite")
        try:
            t = np.rint(seconds * 1e6).astype(np.int64)
            return Events.from_unsorted(t, units, sensor=(self.units,), origin=self.origin)
        except DataError as error:
            raise DataFileError(f"{self.path}, sample {row}: {error}") from error

    def identity(self, row: int) -> Tuple:
        return (*stamp(self.path), row)


def _part(home: Home, root: PathLike, word: str, timeout: float) -> EventDataset:
    file = f"{home.name.lower()}_{word}.h5"
    return read_spikes(home.find(root, file) / file, name=f"{home.name} {word}", timeout=timeout)

"""The Heidelberg data sets: spoken digits and words as the spikes of an artificial cochlea."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

import numpy as np

from spikecore.arguments import Size
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.hdf5 import Hdf5Reader
from spikecore.datasets.places import Home, PathLike, Remote, stamp

UNITS = 700
LONGEST = 3600.0  # seconds
PAPER = "B. Cramer et al., IEEE Transactions on Neural Networks and Learning Systems 33, 2022"
PAGE = "https://zenkelab.org/datasets/ (described at https://compneuro.net)"
FILES = "https://zenkelab.org/datasets/"  # the authors' server
MD5 = {  # tonic and SpikingJelly name the same
    "shd_train.h5": "f3252aeb598ac776c1b526422d90eecb",
    "shd_test.h5": "1503a5064faa34311c398fb0a1ed0a6f",
    "ssc_train.h5": "d102be95e7144fcc0553d1f45ba94170",
    "ssc_valid.h5": "b4eee3516a4a90dd0c71a6ac23a8ae43",
    "ssc_test.h5": "a35ff1e9cffdd02a20eb850c17c37748",
}


def _remotes(prefix: str) -> Dict[str, Remote]:
    files = [file for file in MD5 if file.startswith(prefix)]
    return {file: Remote(f"{file}.zip", f"{FILES}{file}.zip", MD5[file]) for file in files}


SHD = Home("SHD", ("SHD", "."), PAGE, PAPER, "shd_train.h5 and shd_test.h5, unpacked", _remotes("shd"))
SSC = Home("SSC", ("SSC", "."), PAGE, PAPER, "ssc_train.h5, ssc_valid.h5 and ssc_test.h5, unpacked", _remotes("ssc"))


@checked
def shd(root: PathLike, *, timeout: float = 60.0, download: bool = False) -> Tuple[EventDataset, EventDataset]:
    """Read the Spiking Heidelberg Digits from files on disk as (train, test).

    There are 8156 and 2264 samples of spoken digits 0 to 9 in English and German (20 classes), of about one second. The
    sensor has 700 units without polarity. Times are µs from the start of the recording. Two of the twelve speakers are
    in the test set only.

    Args:
        root: the folder of shd_train.h5 and shd_test.h5, or its parent, with the folder SHD.
        timeout: longest time to read a sample, in seconds; reading usually takes about a millisecond. Default 60.
        download: fetch the files that are missing into root/SHD. Default False: nothing is downloaded.

    Files are read in a separate process, because damaged files can crash or hang the HDF5 library.

    Source: B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, The Heidelberg Spiking Data Sets for the Systematic
    Evaluation of Spiking Neural Networks, IEEE TNNLS 33 (2022).

    Raises:
        MissingExtraError: h5py is not installed.
        DataFileError: a file is absent or cannot be fetched, or its labels cannot be read. Damaged spikes
            are reported when they are read.
    """
    train, test = (_part(SHD, root, word, timeout, download) for word in ("train", "test"))
    return train, test


@checked
def ssc(
    root: PathLike, *, timeout: float = 60.0, download: bool = False
) -> Tuple[EventDataset, EventDataset, EventDataset]:
    """Read the Spiking Speech Commands from files on disk as (train, valid, test).

    There are 75466, 9981 and 20382 samples of 35 words. Sensor, times, source and errors are those of `shd`.

    Args:
        root: the folder of ssc_train.h5, ssc_valid.h5 and ssc_test.h5, or its parent, with the folder SSC.
        timeout: longest time to read a sample, in seconds. Default 60.
        download: fetch the files that are missing into root/SSC. Default False: nothing is downloaded.
    """
    train, valid, test = (_part(SSC, root, word, timeout, download) for word in ("train", "valid", "test"))
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
    source = SpikeFile(Hdf5Reader(timeout), Path(path), units, name or "HDF5 spikes")
    labels, classes = source.labels()
    return EventDataset(source, labels, name or Path(path).name, classes)


class SpikeFile(Source):
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


def _part(home: Home, root: PathLike, word: str, timeout: float, download: bool) -> EventDataset:
    file = f"{home.name.lower()}_{word}.h5"
    return read_spikes(home.find(root, file, download=download) / file, name=f"{home.name} {word}", timeout=timeout)

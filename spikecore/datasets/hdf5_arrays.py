"""Data sets in HDF5 files, of which a batch reads its own rows."""

from __future__ import annotations

import math
import os
from typing import Any, Dict, Optional

import numpy as np

from spikecore.datasets.errors import checked
from spikecore.datasets.hdf5 import Hdf5Reader
from spikecore.datasets.limits import MOST_BYTES
from spikecore.datasets.places import PathLike
from spikecore.datasets.stored import StoredArray, StoredDataset, check_numbers, held

AT_ONCE = 1 << 28  # bytes that are asked for at once, of the process that reads


@checked
def read_hdf5(
    path: PathLike,
    *,
    inputs: str = "inputs",
    targets: str = "targets",
    lengths: Optional[str] = None,
    timeout: float = 60.0,
    max_bytes: int = MOST_BYTES,
) -> StoredDataset:
    """Read samples of an HDF5 file that need not fit into memory.

    The file is read in a separate process, because a damaged one can crash or hang the HDF5 library. Recordings in the
    layout of SHD are read by `read_spikes`.

    Args:
        path: the file.
        inputs: name of the array of inputs, (samples, *features), such as "train/x".
        targets: name of the array of targets, (samples, *anything), which is read into memory.
        lengths: name of the array with the number of steps of each sample, (samples,); None, the default: all steps
            count.
        timeout: longest time to read a batch, in seconds. Default 60.
        max_bytes: most bytes of memory that targets and lengths may take. Default: 4 GiB.

    Raises:
        MissingExtraError: h5py is not installed.
        DataFileError: the file is absent or damaged; an array is missing, holds no numbers or too many, or is not in
            this file but in another one that it names.
        DataError: the arrays do not fit each other.
    """
    reader = Hdf5Reader(timeout)
    array = Hdf5Array(reader, path, inputs)
    rest = {"targets": targets, **({} if lengths is None else {"lengths": lengths})}
    others = {key: Hdf5Array(reader, path, name) for key, name in rest.items()}
    kept: Dict[str, Any] = held(others, array.path, max_bytes)
    return StoredDataset(array, name=os.path.basename(array.path), **kept)


class Hdf5Array(StoredArray):
    """An array of an HDF5 file."""

    def __init__(self, reader: Hdf5Reader, path: PathLike, name: str):
        self.reader, self.path, self.name = reader, os.path.abspath(os.fspath(path)), name
        self.shape, self.dtype = reader.described(self.path, name)
        check_numbers(self.path, name, self.shape, self.dtype)

    def read(self, rows: np.ndarray) -> np.ndarray:
        distinct, place = np.unique(rows, return_inverse=True)  # the library wants rows in ascending order
        each = max(1, AT_ONCE // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))
        parts = [
            self.reader.rows(self.path, self.name, distinct[first : first + each])
            for first in range(0, max(1, len(distinct)), each)
        ]
        return np.concatenate(parts)[place]

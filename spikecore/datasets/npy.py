"""Data sets in NumPy's `.npy` files, which are mapped into memory and read where a batch needs them."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

import numpy as np

from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.limits import MOST_BYTES
from spikecore.datasets.places import PathLike
from spikecore.datasets.stored import StoredArray, StoredDataset, check_numbers, held, reading


@checked
def read_npy(
    inputs: PathLike, targets: PathLike, *, lengths: Optional[PathLike] = None, max_bytes: int = MOST_BYTES
) -> StoredDataset:
    """Read samples of a `.npy` file that need not fit into memory.

    The operating system reads the parts of the file that a batch needs. Nothing is unpickled. An `.npz` archive cannot
    be read in parts: unpack it first (`unzip data.npz`); it is made of `.npy` files.

    Args:
        inputs: the `.npy` file of the inputs, (samples, *features).
        targets: the `.npy` file of the targets, (samples, *anything), which is read into memory.
        lengths: the `.npy` file of the number of steps of each sample, (samples,); None, the default: all steps count.
        max_bytes: most bytes of memory that targets and lengths may take. Default: 4 GiB.

    Raises:
        DataFileError: a file is absent, damaged, or an archive; or it holds no numbers or too many.
        DataError: the arrays do not fit each other.
    """
    array = MappedArray(inputs)
    rest: Dict[str, Any] = {"targets": targets, **({} if lengths is None else {"lengths": lengths})}
    kept: Dict[str, Any] = held({name: MappedArray(path) for name, path in rest.items()}, targets, max_bytes)
    return StoredDataset(array, name=os.path.basename(os.fspath(inputs)), **kept)


class MappedArray(StoredArray):
    """An array in a `.npy` file."""

    def __init__(self, path: PathLike):
        self.path = os.path.abspath(os.fspath(path))
        self._map: Any = _mapped(self.path)
        self.shape, self.dtype = self._map.shape, self._map.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        if self._map is None:
            self._map = _mapped(self.path)
        return np.array(self._map[rows])

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_map": None}  # pickled, a map would be all of its numbers


def _mapped(path: PathLike) -> np.ndarray:
    with reading(path):
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                raise DataFileError(
                    f"{path}: is an archive, which cannot be read in parts: unpack it (unzip {os.path.basename(path)}) "
                    "and pass the .npy files that come out"
                )
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    check_numbers(path, "the array", array.shape, array.dtype)
    return array

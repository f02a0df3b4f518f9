"""Data sets in Zarr groups, of which a batch reads the chunks that hold its rows."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Dict, Optional

import numpy as np

from spikecore.datasets.errors import DataFileError, MissingExtraError, checked
from spikecore.datasets.limits import MOST_BYTES
from spikecore.datasets.places import PathLike
from spikecore.datasets.stored import StoredArray, StoredDataset, check_numbers, held, reading
from spikecore.installing import to_install


@checked
def read_zarr(
    path: PathLike,
    *,
    inputs: str = "inputs",
    targets: str = "targets",
    lengths: Optional[str] = None,
    max_bytes: int = MOST_BYTES,
) -> StoredDataset:
    """Read samples of a Zarr group that need not fit into memory.

    Chunks of a single sample, or of a few, are read fastest in a shuffled order: a batch reads every chunk that one of
    its samples lies in.

    Args:
        path: the folder of the group, or a `.zip` of it; Zarr's formats 2 and 3, as far as the installed zarr has them.
        inputs: name of the array of inputs, (samples, *features), such as "train/x".
        targets: name of the array of targets, (samples, *anything), which is read into memory.
        lengths: name of the array with the number of steps of each sample, (samples,); None, the default: all steps
            count.
        max_bytes: most bytes of memory that targets and lengths may take. Default: 4 GiB.

    Raises:
        MissingExtraError: zarr is not installed.
        DataFileError: the group is absent or damaged, or an array is missing, or holds no numbers or too many.
        DataError: the arrays do not fit each other.
    """
    if importlib.util.find_spec("zarr") is None:
        raise MissingExtraError(f"Zarr needs the package zarr: {to_install('zarr')}")
    array = ZarrArray(path, inputs)
    rest = {"targets": targets, **({} if lengths is None else {"lengths": lengths})}
    kept: Dict[str, Any] = held({key: ZarrArray(path, name) for key, name in rest.items()}, array.path, max_bytes)
    return StoredDataset(array, name=os.path.basename(array.path), **kept)


class ZarrArray(StoredArray):
    """An array of a Zarr group."""

    def __init__(self, path: PathLike, name: str):
        self.path, self.name = os.path.abspath(os.fspath(path)), name
        self._opened: Any = None
        array = self._array()
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        check_numbers(self.path, name, self.shape, self.dtype)

    def read(self, rows: np.ndarray) -> np.ndarray:
        array = self._array()
        distinct, place = np.unique(rows, return_inverse=True)  # rows that a weighted draw repeats are read once
        with reading(self.path):
            return np.asarray(array.oindex[distinct])[place]

    def _array(self) -> Any:
        if self._opened is None:
            import zarr

            if not os.path.exists(self.path):
                raise DataFileError(f"{self.path}: there is no such folder or file")
            with reading(self.path):
                group: Any = zarr.open(self.path, mode="r")
                names = list(group) if hasattr(group, "keys") else []
                if not names or self.name not in group:  # a name may be a path, "train/x"
                    found = f"it holds {', '.join(sorted(names))}" if names else "it is no group of arrays"
                    raise DataFileError(f"{self.path}: no array {self.name}; {found}")
                self._opened = group[self.name]
                if not hasattr(self._opened, "oindex"):
                    raise DataFileError(f"{self.path}: {self.name} is a group, not an array")
        return self._opened

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_opened": None}

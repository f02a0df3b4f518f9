"""Data sets in NumPy's `.npz` archives."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Dict, Optional, Tuple, Union

import numpy as np

from spikecore.datasets.arrays import Dataset
from spikecore.datasets.errors import DataFileError, checked

PathLike = Union[str, "os.PathLike[str]"]


@checked
def npz(
    train: PathLike,
    test: Optional[PathLike] = None,
    *,
    inputs: Optional[str] = None,
    targets: Optional[str] = None,
) -> Tuple[Dataset, Dataset]:
    """Read (train, test) from two archives, or from one that holds both.

    Args:
        train: the archive of the training data, or of both parts.
        test: the archive of the test data; None takes both from `train`.
        inputs: name of the array. From two archives the same name is read in each (default "inputs"); from one,
            `{part}` in it becomes "train" and "test" (default "x_{part}").
        targets: likewise (defaults "targets" and "y_{part}").

    Raises:
        DataFileError: as for `read_npz`.
    """
    inputs = inputs or ("x_{part}" if test is None else "inputs")
    targets = targets or ("y_{part}" if test is None else "targets")
    if test is None and ("{part}" not in inputs or "{part}" not in targets):
        raise DataFileError(
            f"{train}: with one archive, inputs={inputs!r} and targets={targets!r} must each contain '{{part}}', or "
            "training and test data would be the same: name a second archive, or use read_npz and split"
        )

    def part(path: PathLike, word: str) -> Dataset:
        return read_npz(path, inputs=inputs.replace("{part}", word), targets=targets.replace("{part}", word))

    return part(train, "train"), part(train if test is None else test, "test")


@checked
def read_npz(path: PathLike, *, inputs: str = "inputs", targets: str = "targets") -> Dataset:
    """Read two arrays of an archive as one Dataset. Nothing is unpickled.

    Args:
        path: the `.npz` file.
        inputs: name of the array (samples, *features).
        targets: name of the array (samples, *anything).

    Raises:
        DataFileError: absent, damaged, not an archive, without these arrays, or with arrays of Python objects.
        DataError: arrays that do not fit together.
    """
    arrays = members(path, inputs, targets)
    return Dataset(arrays[inputs], arrays[targets], name=os.path.basename(os.fspath(path)))


def members(path: PathLike, *names: str) -> Dict[str, np.ndarray]:
    """These arrays of an archive; raises DataFileError."""
    try:
        # zipfile, then np.load: given a file that is no archive, np.load would speak of pickles.
        if not zipfile.is_zipfile(path):
            with open(path, "rb"):  # absent or unreadable is another fault than damaged
                raise DataFileError(f"{path}: not an .npz archive, or cut off: write it with numpy.savez_compressed")
        # Opened here: np.load leaves a file that it opened itself, and that is damaged, open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise DataFileError(f"{path}: no array {', '.join(missing)}; it holds {', '.join(archive.files)}")
            return {name: archive[name] for name in names}  # each access decompresses: one per array
    except DataFileError:
        raise
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataFileError(f"{path}: cannot be read: {error}") from error

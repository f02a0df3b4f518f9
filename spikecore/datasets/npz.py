"""Data sets in NumPy's `.npz` archives."""

from __future__ import annotations

import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from typing import Any, Dict, Iterable, Optional, Tuple

import numpy as np

from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.limits import DEFLATED, MOST_BYTES, check_size
from spikecore.datasets.places import PathLike
from spikecore.samples import Dataset

HEADERS: Dict[Any, Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
MOST_HEADER = 1 << 14  # bytes; NumPy reads headers of up to 10,000 characters
#: Errors that zipfile, zlib and NumPy raise for damaged archives; NumPy reads headers with Python's own tokenizer.
FAULTS = (
    ValueError, EOFError, RuntimeError, TypeError, KeyError, OverflowError, MemoryError, SyntaxError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@checked
def npz(
    train: PathLike,
    test: Optional[PathLike] = None,
    *,
    inputs: Optional[str] = None,
    targets: Optional[str] = None,
    lengths: Optional[str] = None,
    max_bytes: int = MOST_BYTES,
) -> Tuple[Dataset, Dataset]:
    """Read (train, test) from two archives, or from one archive that has both parts.

    Args:
        train: the archive of the training data, or of both parts.
        test: the archive of the test data; None if `train` has both parts.
        inputs: name of the array of inputs. Two archives have an array of this name each (default "inputs"). In one
            archive, `{part}` in the name stands for "train" and "test" (default "x_{part}").
        targets: name of the array of targets, likewise (defaults "targets" and "y_{part}").
        lengths: name of the array with the number of steps of each sample, likewise; None, the default: all steps
            count.
        max_bytes: upper limit, in bytes, for the memory that the arrays of each part take. Default: 4 GiB.

    Raises:
        DataFileError: as for `read_npz`.
    """
    inputs = inputs or ("x_{part}" if test is None else "inputs")
    targets = targets or ("y_{part}" if test is None else "targets")
    named = [name for name in (inputs, targets, lengths) if name is not None]
    if test is None and not all("{part}" in name for name in named):
        counts = "" if lengths is None else f" and lengths={lengths!r}"
        raise DataFileError(
            f"{train}: with one archive, inputs={inputs!r} and targets={targets!r}{counts} must each contain "
            "'{part}', or "
            "training and test data would be the same: name a second archive, or use read_npz and split"
        )

    def part(path: PathLike, word: str) -> Dataset:
        inside = [name.replace("{part}", word) for name in named]
        return read_npz(path, **dict(zip(("inputs", "targets", "lengths"), inside)), max_bytes=max_bytes)

    return part(train, "train"), part(train if test is None else test, "test")


@checked
def read_npz(
    path: PathLike,
    *,
    inputs: str = "inputs",
    targets: str = "targets",
    lengths: Optional[str] = None,
    max_bytes: int = MOST_BYTES,
) -> Dataset:
    """Read arrays of an archive as one Dataset. Nothing is unpickled.

    Args:
        path: the `.npz` file.
        inputs: name of the array (samples, *features).
        targets: name of the array (samples, *anything).
        lengths: name of the array with the number of steps of each sample, (samples,); None, the default: all steps
            count.
        max_bytes: upper limit, in bytes, for the memory that the arrays take. Default: 4 GiB.

    Raises:
        DataFileError: the file is absent, damaged, or not an archive; or an array is missing, too large, or of Python
            objects.
        DataError: the arrays do not fit each other.
    """
    counts = () if lengths is None else (lengths,)
    arrays = members(path, inputs, targets, *counts, max_bytes=max_bytes)
    steps = None if lengths is None else arrays[lengths]
    return Dataset(arrays[inputs], arrays[targets], name=os.path.basename(os.fspath(path)), lengths=steps)


def members(path: PathLike, *names: str, max_bytes: int = MOST_BYTES) -> Dict[str, np.ndarray]:
    """Read the arrays of these names from an archive; raises DataFileError."""
    try:
        # zipfile first: np.load's message about a file that is not an archive is about pickles.
        if not zipfile.is_zipfile(path):
            with open(path, "rb"):  # raises OSError if the file is absent or unreadable, not damaged
                raise DataFileError(f"{path}: not an .npz archive, or cut off: write it with numpy.savez_compressed")
        # The file is opened here, because np.load does not close a damaged file that it has opened itself.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                wanted = ", ".join(f"{name}=..." for name in names)
                raise DataFileError(
                    f"{path}: no array {', '.join(missing)}; it holds {', '.join(archive.files)}. Save them by these "
                    f"names, numpy.savez(path, {wanted}), or name yours by inputs= and targets="
                )
            _check_sizes(path, archive.zip, names, os.fstat(file.fileno()).st_size, max_bytes)
            return {name: archive[name] for name in dict.fromkeys(names)}  # each access decompresses the array
    except DataFileError:
        raise
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except FAULTS as error:
        raise DataFileError(f"{path}: cannot be read: {error}") from error


def _check_sizes(path: PathLike, archive: zipfile.ZipFile, names: Iterable[str], held: int, max_bytes: int) -> None:
    """Refuse arrays that are too large by their headers, before memory for them is taken."""
    total = 0
    for name in dict.fromkeys(names):
        with archive.open(f"{name}.npy") as member:
            begin = io.BytesIO(member.read(MOST_HEADER))  # a limit, because a header could have any length
        version = np.lib.format.read_magic(begin)
        if version not in HEADERS:
            raise DataFileError(f"{path}: array {name} has version {version} of NumPy's format; known are 1 and 2")
        shape, _, dtype = HEADERS[version](begin)
        needed = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or needed > DEFLATED * held:
            raise DataFileError(f"{path}: array {name} of shape {shape} cannot be in a file of {held} bytes")
        total += needed
    check_size(path, total, max_bytes)

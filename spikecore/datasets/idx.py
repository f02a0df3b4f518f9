"""The IDX format of MNIST and its relatives, and the folders in which they usually lie.

An IDX file is two zero bytes, a dtype code, the number of axes, one big-endian uint32 per axis, then the values in
C order, big-endian; gzipped or not.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Tuple, Union

import numpy as np

from spikecore.datasets.arrays import Dataset
from spikecore.datasets.errors import DataFileError, checked

PathLike = Union[str, "os.PathLike[str]"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@checked
def read_idx(path: PathLike) -> np.ndarray:
    """Read one IDX file, gzipped or not (told by its content, not by its name).

    Returns:
        An array of the file's shape and dtype, in native byte order.

    Raises:
        DataFileError: absent, not IDX, of an unknown dtype, shorter or longer than its header says, or damaged.
    """
    data = _content(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataFileError(f"{path}: not an IDX file: starts with {data[:4].hex(' ')!r}, not with two zero bytes")
    code, axes = data[2], data[3]
    if code not in DTYPES:
        raise DataFileError(f"{path}: unknown IDX dtype code 0x{code:02x}: known are {_codes()}")
    start = 4 + 4 * axes
    if axes == 0 or len(data) < start:
        raise DataFileError(f"{path}: header announces {axes} axes, but the file has {len(data)} bytes in all")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, offset=4))
    dtype = np.dtype(DTYPES[code])
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - start
    if expected != found:
        fault = "truncated" if found < expected else "longer than announced"
        raise DataFileError(f"{path}: {fault}: shape {shape} needs {expected} bytes of data, the file has {found}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


@checked
def mnist(root: PathLike, *, image: bool = False) -> Tuple[Dataset, Dataset]:
    """MNIST from files on disk as (train, test); nothing is downloaded.

    Args:
        root: the folder given to torchvision (files in root/MNIST/raw), or the folder of the four files itself.
        image: inputs (samples, 1, 28, 28) instead of (samples, 784); float32 in [0, 1] either way. Targets are int64.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits (1998).

    Raises:
        DataFileError: a file is absent, damaged, or not what its name says.
    """
    return _load(root, "MNIST", "torchvision.datasets.MNIST(root, download=True)", tuple("0123456789"), image)


@checked
def fashion_mnist(root: PathLike, *, image: bool = False) -> Tuple[Dataset, Dataset]:
    """FashionMNIST from files on disk as (train, test); nothing is downloaded. Arguments and errors as for `mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST (2017), arXiv:1708.07747.
    """
    origin = "torchvision.datasets.FashionMNIST(root, download=True) or Debian's package dataset-fashion-mnist"
    return _load(root, "FashionMNIST", origin, FASHION, image)


def _load(root: PathLike, name: str, origin: str, classes: Tuple[str, ...], image: bool) -> Tuple[Dataset, Dataset]:
    def part(prefix: str) -> Dataset:
        images = _find(root, name, f"{prefix}-images-idx3-ubyte", origin)
        labels = _find(root, name, f"{prefix}-labels-idx1-ubyte", origin)
        return _labelled(images, labels, name, classes, image)

    return part("train"), part("t10k")


def _find(root: PathLike, name: str, file: str, origin: str) -> Path:
    folders = (Path(root) / name / "raw", Path(root) / "raw", Path(root))
    for folder in folders:
        for path in (folder / file, folder / f"{file}.gz"):
            if path.is_file():
                return path
    raise DataFileError(
        f"{name}: no {file} or {file}.gz in {', '.join(map(str, folders))}. Expected are the four files "
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, "
        f"gzipped or not. Get them with {origin} and put them into {folders[0]}, or pass the folder they are in."
    )


def _labelled(images: Path, labels: Path, name: str, classes: Tuple[str, ...], image: bool) -> Dataset:
    pixels, targets = read_idx(images), read_idx(labels)
    for path, array, axes in ((images, pixels, 3), (labels, targets, 1)):
        if array.ndim != axes or array.dtype != np.uint8:
            raise DataFileError(f"{path}: need {axes} axes of uint8, found shape {array.shape} of {array.dtype}")
    if len(pixels) != len(targets):
        raise DataFileError(f"{images} has {len(pixels)} images but {labels} has {len(targets)} labels")
    if targets.size and targets.max() >= len(classes):
        raise DataFileError(f"{labels}: label {targets.max()}, but {name} has classes 0 to {len(classes) - 1}")
    samples, height, width = pixels.shape
    shape = (samples, 1, height, width) if image else (samples, height * width)
    inputs = pixels.reshape(shape).astype(np.float32)
    inputs /= 255  # in place: the full set as float32 is 188 MB
    return Dataset(inputs, targets.astype(np.int64), name=name, classes=classes)


def _content(path: PathLike) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error
    if data[:2] != GZIP_MAGIC:
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{path}: damaged gzip file: {error}") from error


def _codes() -> str:
    return ", ".join(f"0x{code:02x} {np.dtype(dtype).name}" for code, dtype in DTYPES.items())

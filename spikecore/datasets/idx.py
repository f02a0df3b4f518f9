"""MNIST and FashionMNIST, and their IDX file format.

An IDX file has two zero bytes, a dtype code, the number of axes, the size of each axis as a big-endian uint32, and then
the values in C order, big-endian. It may be gzipped.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, Tuple

import numpy as np

from spikecore.datasets.arrays import Dataset
from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.limits import DEFLATED, MOST_BYTES, check_size
from spikecore.datasets.places import PathLike

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@checked
def read_idx(path: PathLike, *, max_bytes: int = MOST_BYTES) -> np.ndarray:
    """Read one IDX file. Whether it is gzipped is decided by its content, not by its name.

    Args:
        path: the file.
        max_bytes: most bytes of memory that the array may take. Default: 4 GiB.

    Returns:
        An array of the file's shape and dtype, in native byte order.

    Raises:
        DataFileError: the file is absent, not IDX, of an unknown dtype, shorter or longer than its header says,
            damaged, or too large.
    """
    packed = False
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            if not packed:
                return _array(path, file, size, max_bytes)
            with gzip.GzipFile(fileobj=file) as stream:
                return _array(path, stream, DEFLATED * size, max_bytes)
    except DataFileError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        what = "damaged gzip file: " if packed else "cannot be read: "
        raise DataFileError(f"{path}: {what}{getattr(error, 'strerror', None) or error}") from error


def _array(path: PathLike, stream: Any, most: int, max_bytes: int) -> np.ndarray:
    """Read the array of an open file; ``most`` is an upper limit of the number of bytes in the file."""
    head = _read_bytes(stream, 4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DataFileError(f"{path}: not an IDX file: starts with {head.hex(' ')!r}, not with two zero bytes")
    code, axes = head[2], head[3]
    if code not in DTYPES:
        raise DataFileError(f"{path}: unknown IDX dtype code 0x{code:02x}: known are {_codes()}")
    sizes, start = _read_bytes(stream, 4 * axes), 4 + 4 * axes
    if axes == 0 or len(sizes) < 4 * axes:
        raise DataFileError(f"{path}: header announces {axes} axes, but the file has {4 + len(sizes)} bytes in all")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(DTYPES[code])
    expected = math.prod(shape) * dtype.itemsize
    if expected <= most - start:
        check_size(path, expected, max_bytes)
        data = _read_bytes(stream, expected + 1)
        size = len(data)
    else:
        size = most - start
    if expected != size:
        fault = "truncated" if size < expected else "longer than announced"
        raise DataFileError(f"{path}: {fault}: shape {shape} needs {expected} bytes of data, the file has {size}")
    try:
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (ValueError, MemoryError) as error:  # the file has more axes than NumPy allows
        raise DataFileError(f"{path}: shape {shape}: {error}") from error


def _read_bytes(stream: Any, count: int) -> bytearray:
    """Read `count` bytes, or all if there are fewer. Memory is taken only for bytes that are in the file."""
    data = bytearray()
    while len(data) < count:
        part = stream.read(min(count - len(data), 1 << 20))
        if not part:
            break
        data += part
    return data


@checked
def mnist(root: PathLike, *, image: bool = False) -> Tuple[Dataset, Dataset]:
    """Read MNIST from files on disk as (train, test), 60,000 and 10,000 images; nothing is downloaded.

    Args:
        root: the folder that was given to torchvision (files in root/MNIST/raw), or the folder of the four files.
        image: inputs (samples, 1, 28, 28) instead of (samples, 784); float32 in [0, 1] either way. Targets are int64.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits (1998).

    Raises:
        DataFileError: a file is absent or damaged, or does not hold images or labels of MNIST's form.
    """
    return _load(root, "MNIST", "torchvision.datasets.MNIST(root, download=True)", tuple("0123456789"), image)


@checked
def fashion_mnist(root: PathLike, *, image: bool = False) -> Tuple[Dataset, Dataset]:
    """Read FashionMNIST from files on disk as (train, test). Arguments, sizes and errors are those of `mnist`.

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
        f"{name}: no {file} or {file}.gz in {', '.join(map(str, folders))}. It has four files, gzipped or not: "
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte. "
        f"Get them with {origin} and put them into {folders[0]}, or pass the folder that holds them."
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


def _codes() -> str:
    return ", ".join(f"0x{code:02x} {np.dtype(dtype).name}" for code, dtype in DTYPES.items())

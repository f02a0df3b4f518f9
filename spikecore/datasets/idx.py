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
from typing import Any, Dict, Tuple

import numpy as np

from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.limits import DEFLATED, MOST_BYTES, check_size
from spikecore.datasets.places import PathLike, Remote
from spikecore.samples import Dataset

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
# torchvision's copy of MNIST, the authors' server of FashionMNIST, and the checksums that torchvision names
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
MNIST_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
FASHION_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
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
def mnist(root: PathLike, *, image: bool = False, download: bool = False) -> Tuple[Dataset, Dataset]:
    """Read MNIST from files on disk as (train, test), 60,000 and 10,000 images.

    Args:
        root: the folder that was given to torchvision (files in root/MNIST/raw), or the folder of the four files.
        image: inputs (samples, 1, 28, 28) instead of (samples, 784); float32 in [0, 1] either way. Targets are int64.
        download: fetch files that are missing into root/MNIST/raw, 11 MB in all. Default False: nothing is downloaded.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits (1998).

    Raises:
        DataFileError: a file is absent, damaged or cannot be fetched, or does not hold images or labels of MNIST's
            form.
    """
    return _load(root, "MNIST", _remotes(MNIST_URL, MNIST_MD5), tuple("0123456789"), image, download)


@checked
def fashion_mnist(root: PathLike, *, image: bool = False, download: bool = False) -> Tuple[Dataset, Dataset]:
    """Read FashionMNIST from files on disk as (train, test), 30 MB. Arguments, sizes and errors are those of `mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST (2017), arXiv:1708.07747.
    """
    return _load(root, "FashionMNIST", _remotes(FASHION_URL, FASHION_MD5), FASHION, image, download)


def _remotes(url: str, md5: Dict[str, str]) -> Dict[str, Remote]:
    return {file: Remote(f"{file}.gz", f"{url}{file}.gz", checksum) for file, checksum in md5.items()}


def _load(
    root: PathLike, name: str, remotes: Dict[str, Remote], classes: Tuple[str, ...], image: bool, download: bool
) -> Tuple[Dataset, Dataset]:
    images, labels, test_images, test_labels = (_find(root, name, file, remotes, download) for file in remotes)
    train = _labelled(images, labels, name, classes, image)
    return train, _labelled(test_images, test_labels, name, classes, image)


def _find(root: PathLike, name: str, file: str, remotes: Dict[str, Remote], download: bool) -> Path:
    folders = (Path(root) / name / "raw", Path(root) / "raw", Path(root))
    for folder in folders:
        for path in (folder / file, folder / f"{file}.gz"):
            if path.is_file():
                return path
    if download:
        return remotes[file].fetch(folders[0], remotes[file].url)
    others = f"torchvision.datasets.{name}(root, download=True)"
    others += " or Debian's package dataset-fashion-mnist" if name == "FashionMNIST" else ""
    raise DataFileError(
        f"{name}: no {file} or {file}.gz in {', '.join(map(str, folders))}. It has four files, gzipped or not: "
        f"{', '.join(remotes)}. Pass download=True to fetch them; or get them with {others} and put them into "
        f"{folders[0]}; or pass the folder that holds them."
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

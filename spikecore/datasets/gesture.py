"""DVS-Gesture: hand and arm gestures, recorded by an event camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from spikecore.datasets.aedat import Packets, find_packets, read_packets
from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events
from spikecore.datasets.places import Home, PathLike, Remote, content, stamp

SENSOR = (128, 128)
CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
# IBM gives it out through a page that only a browser can use; SpikingJelly names the same checksum
ARCHIVE = Remote("DvsGesture.tar.gz", "", "8a5c71fb11e24e5ca5b11866ca6c00a1", inside="DvsGesture")
HOME = Home(
    "DVS-Gesture",
    ("DvsGesture", "."),
    "https://research.ibm.com/interactive/dvsgesture/",
    "A. Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017",
    "trials_to_train.txt, trials_to_test.txt, and the .aedat and _labels.csv files that these name",
    {"trials_to_train.txt": ARCHIVE, "trials_to_test.txt": ARCHIVE},
)


class Trial(NamedTuple):
    """One gesture in a recording: the recording's file, the class (from 0), and start and stop in µs of its clock."""

    path: Path
    label: int
    start: int
    stop: int


@checked
def dvs_gesture(root: PathLike, *, download: bool = False) -> Tuple[EventDataset, EventDataset]:
    """Read DVS-Gesture from files on disk as (train, test).

    The sensor has 128×128 pixels and two polarities. There are 11 gestures of several seconds, in 1176 and 288 trials.
    The labels that come with the recordings say where a trial starts and stops. Times count from the start of a trial.
    To read a trial, a recording of about 20 MB is opened: for training, use Cached.

    Args:
        root: the folder that holds trials_to_train.txt and the recordings, or its parent, with the folder DvsGesture.
        download: check and unpack root/DvsGesture.tar.gz, which only a browser can fetch: the message of the missing
            file says where. Default False.

    Source: A. Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017.

    Raises:
        DataFileError: a file is absent, the archive is another file, or a list or a table of labels is damaged. A
            damaged recording is reported when it is read.
    """
    folder = HOME.find(root, "trials_to_train.txt", "trials_to_test.txt", download=download)
    return _part(folder, "train"), _part(folder, "test")


class Trials(Source):
    """Trials: the parts of recordings between a start and a stop."""

    def __init__(self, trials: List[Trial]):
        self.trials = trials
        self._packets: Dict[Any, Packets] = {}  # positions of the packets of each recording, by the file's stamp

    def __len__(self) -> int:
        return len(self.trials)

    def read(self, row: int) -> Events:
        trial = self.trials[row]
        packets = self._packets_of(trial.path)
        if not packets.whole and (not len(packets.last) or packets.last.max() < trial.stop):
            raise DataFileError(f"{trial.path}: cut off before the trial of {trial.start} to {trial.stop} µs ends")
        part = packets.during(trial.start, trial.stop)
        with open(trial.path, "rb") as file:
            events = read_packets(trial.path, file, part, SENSOR)
        return events.between(trial.start, trial.stop).shift(-trial.start).with_arrays(origin="DVS-Gesture")

    def identity(self, row: int) -> Tuple:
        trial = self.trials[row]
        return (*stamp(trial.path), trial.start, trial.stop)

    def _packets_of(self, path: Path) -> Packets:
        key = stamp(path)
        if key not in self._packets:
            self._packets[key] = find_packets(path, content(path))
        return self._packets[key]


def read_trials(path: PathLike, recording: PathLike) -> List[Trial]:
    """Read the table of labels of a recording: a line "class,startTime_usec,endTime_usec", then one line per trial.

    Args:
        path: the table.
        recording: the recording, for the trials.

    Raises:
        DataFileError: the table is absent or damaged; names the line.
    """
    lines = content(path).decode("latin-1").replace("\r", "").split("\n")
    if not lines[0].startswith("class,"):
        raise DataFileError(f"{path}: begins with {lines[0][:40]!r}, not with 'class,startTime_usec,endTime_usec'")
    trials = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.strip().split(",")
        if fields == [""]:
            continue
        plain = len(fields) == 3 and all(field.strip().isdecimal() and len(field) < 16 for field in fields)
        label, start, stop = map(int, fields) if plain else (0, 0, 0)
        if not (1 <= label <= len(CLASSES) and start < stop):
            raise DataFileError(
                f"{path}, line {number}: {line[:40]!r}: need a class from 1 to {len(CLASSES)}, start and stop in µs"
            )
        trials.append(Trial(Path(recording), label - 1, start, stop))
    return trials


def _part(folder: Path, word: str) -> EventDataset:
    table = folder / f"trials_to_{word}.txt"
    names = [line.strip() for line in content(table).decode("latin-1").splitlines() if line.strip()]
    trials: List[Trial] = []
    for name in names:
        HOME.find(folder, name)
        trials += read_trials(folder / name.replace(".aedat", "_labels.csv"), folder / name)
    if not trials:
        raise DataFileError(f"{table}: names no trial; get DVS-Gesture from {HOME.page}")
    labels = np.array([trial.label for trial in trials])
    return EventDataset(Trials(trials), labels, f"DVS-Gesture {word}", CLASSES)

"""Recordings in a folder per class: CIFAR10-DVS and its two splits, DVS-Lip, and readers of one's own."""

from __future__ import annotations

import pickle
import re
import struct
import sys
import types

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataError, DataFileError, Events, read_aedat2, read_dvs_lip
from spikecore.datasets.cifar10_dvs import CLASSES
from tests.datasets.event_files import aedat2_bytes, some_events

CAMERA = (128, 128)
HEAD = b"#!AER-DAT2.0\n"
LIP = np.dtype([("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])


def write_cifar10_dvs(root, numbers):
    """A recording of three events for each number and class; returns the bytes of none but the last."""
    for place, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for n in numbers:
            events = Events([0, 5, 9], [n % 128, place, 0], [n // 128, 1, 2], [0, 1, n % 2], sensor=CAMERA)
            (root / name / f"cifar10_{name}_{n}.aedat").write_bytes(aedat2_bytes(events))


def test_a_file_of_the_format_is_read_upright(tmp_path):
    events = some_events(500, CAMERA)
    (tmp_path / "a.aedat").write_bytes(aedat2_bytes(events))
    assert read_aedat2(tmp_path / "a.aedat") == events
    word = struct.pack(">II", 127 << 8 | 126 << 1 | 1, 7)  # raw column 126, raw row 127, OFF
    (tmp_path / "b.aedat").write_bytes(HEAD + struct.pack(">II", 1 << 15, 3) + word)  # a signal before it
    one = read_aedat2(tmp_path / "b.aedat")
    assert (one.t.tolist(), one.x.tolist(), one.y.tolist(), one.p.tolist()) == ([7], [0], [1], [0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not AEDAT 2.0: starts with b''"),
        (b"#!AER-DAT3.1\n", "not AEDAT 2.0: starts with b'#!AER-DAT3.1'"),
        (HEAD, "0 bytes after its header"),
        (HEAD + b"1234567", "7 bytes after its header"),
        (HEAD + b"# no end", "header of text lines does not end"),
        (HEAD + struct.pack(">II", 1 << 16, 3), "event 0 has the address 0x10000"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    (tmp_path / "a.aedat").write_bytes(content)
    with pytest.raises(DataFileError, match=re.escape(message)):
        read_aedat2(tmp_path / "a.aedat")


@pytest.mark.parametrize("place", ["CIFAR10-DVS", "."])
def test_the_two_splits_by_their_rules(tmp_path, place):
    numbers = [0, 1, 2, 10, 99, 100, 101, 110, 200, 999, 1000]
    write_cifar10_dvs(tmp_path / place, numbers)
    texts = sorted(map(str, numbers))  # 0, 1, 10, 100, 1000, ...
    train, test = datasets.cifar10_dvs(tmp_path)
    assert [events.x[0] + 128 * events.y[0] for events, _ in (test[i] for i in range(5))] == [0, 1, 10, 2, 99]
    assert test.targets.tolist() == np.repeat(np.arange(10), 5).tolist()
    assert len(train) == 60
    train, test = datasets.cifar10_dvs(tmp_path, test="last")
    kept = int(np.ceil(0.9 * 11))
    assert [path.stem.rpartition("_")[2] for path in train.source.paths[:kept]] == texts[:kept]
    assert [path.stem.rpartition("_")[2] for path in test.source.paths[: 11 - kept]] == texts[kept:]
    assert pickle.loads(pickle.dumps(test))[3][0] == test[3][0]
    assert test.classes[test.targets[0]] == "airplane"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_splits_are_spikingjellys_index_by_index(tmp_path, monkeypatch):
    """On 10 x 1000 generated files, which SpikingJelly converts and splits by itself."""
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    # SpikingJelly imports torchaudio for another data set; there is none for every version of torch
    monkeypatch.setitem(sys.modules, "torchaudio", types.ModuleType("torchaudio"))
    from spikingjelly.datasets import cifar10_dvs as theirs
    from spikingjelly.datasets.utils import split_to_train_test_set

    write_cifar10_dvs(tmp_path / "extract", range(1000))
    theirs.CIFAR10DVS.create_raw_from_extracted(tmp_path / "extract", _made(tmp_path / "events_np"))
    whole = theirs.CIFAR10DVS(str(tmp_path), data_type="event")
    pairs = [(whole[i], whole.samples[i][0]) for i in range(0, len(whole), 500)]
    train, test = datasets.cifar10_dvs(tmp_path / "extract", test="last")
    theirs_last = split_to_train_test_set(0.9, _Labels(whole.targets), 10)
    for ours, part in zip((train, test), theirs_last):
        names = [_stem(whole.samples[i][0]) for i in part.indices]
        assert [path.stem for path in ours.source.paths] == names
        assert ours.targets.tolist() == [whole.targets[i] for i in part.indices]
    for (events, label), path in pairs:
        name = _stem(path)
        own = read_aedat2(tmp_path / "extract" / CLASSES[label] / f"{name}.aedat")
        for column in "txyp":
            np.testing.assert_array_equal(getattr(own, column), np.asarray(events[column]).astype(int))
    ours = datasets.cifar10_dvs(tmp_path / "extract")
    for dataset, is_train in zip(ours, (True, False)):
        peer = theirs.CIFAR10DVSTEBNSplit(str(tmp_path), train=is_train, data_type="event")
        assert [path.stem for path in dataset.source.paths] == [_stem(path) for path, _ in peer.samples]
        assert dataset.targets.tolist() == [label for _, label in peer.samples]


class _Labels:
    """What SpikingJelly's split reads of a data set."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return None, self.labels[i]

    def __iter__(self):
        return ((None, label) for label in self.labels)


def _made(folder):
    folder.mkdir()
    return folder


def _stem(path):
    return str(path).rpartition("/")[2].rpartition(".")[0]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataFileError, match=r"CIFAR10-DVS: no airplane and automobile .*download=True.*figshare"):
        datasets.cifar10_dvs(tmp_path)
    write_cifar10_dvs(tmp_path, [5])
    with pytest.raises(DataFileError, match=r"test='first' leaves no recordings to train"):
        datasets.cifar10_dvs(tmp_path)
    (tmp_path / "cat" / "a.aedat").write_bytes(b"")
    with pytest.raises(DataFileError, match=r"a\.aedat: its name does not end with a number"):
        datasets.cifar10_dvs(tmp_path)
    with pytest.raises(DataError, match="test='middle'"):
        datasets.cifar10_dvs(tmp_path, test="middle")
    with pytest.raises(DataFileError, match=r"DVS-Lip: no train and test .*Put DVS-Lip\.zip into"):
        datasets.dvs_lip(tmp_path)


def write_dvs_lip(root):
    written = {}
    for part, speakers in (("train", 11), ("test", 3)):
        for word in ("accused", "young"):
            (root / part / word).mkdir(parents=True)
            for n in range(speakers):
                events = some_events(40, CAMERA, seed=len(written))
                array = np.empty(40, LIP)
                for name in "txyp":
                    array[name] = getattr(events, name)
                np.save(root / part / word / f"{n}.npy", array)
                written[part, word, n] = events
    return written


def test_words_on_lips(tmp_path):
    written = write_dvs_lip(tmp_path / "DVS-Lip")
    train, test = datasets.dvs_lip(tmp_path)
    assert (len(train), len(test)) == (22, 6)
    assert train.classes == ("accused", "young")
    assert train.targets.tolist() == [0] * 11 + [1] * 11
    assert train[2][0] == written["train", "accused", 10]  # by name: 0, 1, 10, 2, ...
    assert test[3][0] == written["test", "young", 0]
    (tmp_path / "DVS-Lip" / "test" / "young").rename(tmp_path / "DVS-Lip" / "test" / "old")
    with pytest.raises(DataFileError, match="train and test have folders of other names"):
        datasets.dvs_lip(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "need a structured array with the fields t, x"),
        (np.array([(1, -3, 0, 0)], LIP), r"x\[0\]=-3"),
        (np.array([{"t": 1}]), "Python objects"),
    ],
)
def test_a_damaged_file_of_dvs_lip_is_named(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataFileError, match=rf"a\.npy: .*{message}"):
        read_dvs_lip(tmp_path / "a.npy")


def read_lip(path):
    return read_dvs_lip(path)


def test_a_reader_of_ones_own(tmp_path):
    write_dvs_lip(tmp_path)
    train, test = datasets.recording_folder(tmp_path / "train", read_lip, [".npy"], test_share=0.3)
    assert (len(train), len(test)) == (16, 6)
    assert pickle.loads(pickle.dumps(train))[0][0] == train[0][0]
    again = datasets.recording_folder(tmp_path / "train", read_lip, [".npy"], test_share=0.3)[1]
    assert again.source.paths == test.source.paths
    with pytest.raises(DataError, match=r"test_share=0.0 must be > 0 and < 1"):
        datasets.recording_folder(tmp_path, read_lip, [".npy"], test_share=0.0)
    with pytest.raises(DataFileError, match="no such folder"):
        datasets.recording_folder(tmp_path / "absent", read_lip, [".npy"])
    with pytest.raises(DataFileError, match=r"has no \.bin files"):
        datasets.recording_folder(tmp_path / "train", read_lip, [".bin"])

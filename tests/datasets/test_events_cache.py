"""The cache on disk: what it notices, what it survives, and several processes at once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zlib
from dataclasses import dataclass

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import Cached, DataError, DataFileError, Events, Loader, cache, from_tonic, to_structured
from spikecore.datasets.cache import decoded, encoded
from spikecore.datasets.fingerprint import fingerprint
from spikecore.datasets.recording_files import RecordingFiles
from spikecore.datasets.transforms import Compose, CountImage, Denoise, Shift, ToFrames
from tests import ROOT
from tests.datasets.event_files import damaged, dataset_of, nmnist_bytes, some_events, write_nmnist


@pytest.fixture
def train(tmp_path):
    write_nmnist(tmp_path / "data", per_class=1)
    return datasets.nmnist(tmp_path / "data")[0]


@pytest.fixture
def reads(monkeypatch):
    """The rows that are read from N-MNIST's own files."""
    seen, read = [], RecordingFiles.read
    monkeypatch.setattr(RecordingFiles, "read", lambda self, row: seen.append(row) or read(self, row))
    return seen


def same(one, two):
    return all(np.array_equal(one[i][0], two[i][0]) and one[i][1] == two[i][1] for i in range(len(one)))


def test_each_recording_is_read_once_whoever_asks(train, tmp_path, reads):
    frames = train.map(Denoise(), ToFrames(steps=4))
    cached = Cached(frames, tmp_path / "cache")
    assert reads == []
    assert same(cached, frames)
    reads.clear()
    again = Cached(train.map(Denoise(), ToFrames(steps=4)), tmp_path / "cache")
    assert same(again, cached)
    assert reads == []
    assert cached.classes == train.classes


def test_events_are_kept_as_events(train, tmp_path, reads):
    cached = Cached(train.map(Denoise()), tmp_path).fill(progress=False)
    reads.clear()
    assert [cached[i][0] for i in range(10)] == [Denoise()(train.source.read(i)) for i in range(10)]
    assert cached[0][0].origin == "N-MNIST"
    assert len(reads) == 10  # by this test, for comparison
    spikes = Events([0, 3], [5, 699], sensor=(700,))
    assert decoded(encoded(spikes)) == spikes


def test_parts_share_entries_and_go_on_with_transforms(train, tmp_path, reads):
    Cached(train.map(ToFrames(steps=4)), tmp_path).fill()
    reads.clear()
    part = Cached(train[[7, 3]].map(ToFrames(steps=4)), tmp_path)
    doubled = part.map(lambda frames: 2 * frames)
    np.testing.assert_array_equal(doubled[0][0], 2 * ToFrames(steps=4)(train.source.read(7)))
    assert reads == [7]
    first, second = part.split(1)
    np.testing.assert_array_equal(second[0][0], part[1][0])
    ((inputs, _),) = Loader(part)
    assert inputs.shape == (4, 2, 2, 34, 34)
    assert Cached(train.map(CountImage()), tmp_path).batch(np.arange(3)).shape == (3, 2, 34, 34)


def test_another_transform_or_a_changed_file_is_noticed(train, tmp_path, reads):
    cached = Cached(train.map(ToFrames(steps=4)), tmp_path / "cache").fill()
    other = Cached(train.map(ToFrames(steps=5)), tmp_path / "cache")
    assert other[0][0].shape[0] == 5
    reads.clear()
    changed = some_events(33, seed=99)
    train.source.paths[2].write_bytes(nmnist_bytes(changed))
    np.testing.assert_array_equal(cached[2][0], ToFrames(steps=4)(changed))
    cached[1]
    assert reads == [2]
    os.utime(train.source.paths[1], ns=(1, 1))  # of the same size, but another time of change
    cached[1]
    assert reads == [2, 1]


def test_a_damaged_entry_is_made_again_with_one_message(train, tmp_path, monkeypatch, reads):
    cached = Cached(train.map(ToFrames(steps=4)), tmp_path / "cache").fill()
    entries = sorted(path for path in cached.source.folder.iterdir() if path.suffix != ".txt")
    whole = [path.read_bytes() for path in entries]
    for case, (path, content) in enumerate(zip(entries, whole)):
        path.write_bytes(damaged(content, case) if case else b"")
    differing = [i for i, path in enumerate(entries) if path.read_bytes() != whole[i]]
    assert len(differing) > 7
    reads.clear()
    said = []
    monkeypatch.setattr(cache.log, "warning", lambda text, *values: said.append(text % values))
    assert same(cached, cached)
    assert sorted(reads) == differing
    assert len(said) == len(differing)
    assert all("is made again" in text for text in said)
    assert [path.read_bytes() for path in entries] == whole


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_damage_passes_for_an_entry(count):
    good = encoded(some_events(50))
    for case in range(count):
        bad = damaged(good, case)
        if bad != good:
            with pytest.raises(DataError, match="damaged, or not a cache entry"):
                decoded(bad)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n", b"{}\n", b"[]\n", b"5\n", b"[" * 5000 + b"\n", b'{"x": 1}', b'{"arrays": 5}\n',
        b'{"arrays": [[1]]}\n', b'{"arrays": [["", "<f8", [9]]]}\n', b'{"arrays": [["", "|O", [1]]]}\n12345678',
        b'{"arrays": [["", "x", [1]]]}\n', b'{"arrays": [["", "<f8", [1e400]]]}\n',
        b'{"arrays": [["t", "<i8", [1]]]}\n12345678', b'{"arrays": [], "sensor": [1], "origin": ""}\n',
        b'{"arrays": [["t", "<i8", [1]]], "sensor": 5, "origin": 5}\n12345678',
    ],
)  # fmt: skip
def test_entries_of_others_are_noticed_too(content):
    """C9: their digest fits, and they hold something else."""
    body = zlib.compress(content)
    with pytest.raises(DataError):
        decoded(cache.MAGIC + cache.digest_of(body) + body)
    body = content
    with pytest.raises(DataError, match="not a cache entry"):
        decoded(cache.MAGIC + cache.digest_of(body) + body)


def test_nothing_half_written_is_left(train, tmp_path, monkeypatch):
    cached = Cached(train.map(ToFrames(steps=4)), tmp_path / "cache")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataFileError, match=r"cannot be written: No space left on device"):
        cached[0]
    assert [path.name for path in cached.source.folder.iterdir()] == ["made-by.txt"]


def test_a_cached_dataset_can_be_sent_to_another_process(train, tmp_path, reads):
    cached = Cached(train.map(ToFrames(steps=4)), tmp_path / "cache").fill()
    reads.clear()
    sent = pickle.loads(pickle.dumps(cached))
    assert same(sent, cached)
    assert reads == []


def test_a_folder_that_cannot_be_made_is_named(train, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFileError, match=r"file.*cannot be written to"):
        Cached(train, tmp_path / "file")


SCRIPT = """
import sys
from spikecore import datasets
from spikecore.datasets.transforms import ToFrames
train, _ = datasets.nmnist(sys.argv[1])
for _ in range(3):
    cached = datasets.Cached(train.map(ToFrames(steps=4)), sys.argv[2]).fill(progress=False)
print(sum(float(cached[i][0].sum()) for i in range(len(cached))))
"""


def test_several_processes_fill_one_folder(train, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "data"), str(tmp_path / "cache")]
    root = str(ROOT)
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) for _ in range(3)]
    ends = [run.communicate(timeout=60) for run in runs]
    assert [(run.returncode, out, err) for run, (out, err) in zip(runs, ends)] == [(0, b"500.0\n", b"")] * 3
    names = [path.name for path in next((tmp_path / "cache").iterdir()).iterdir()]
    assert len(names) == 11  # ten recordings, what made them, and no draft
    assert not [name for name in names if name.endswith(".tmp")]


# -------------------------------------------------------------------------------- what has no name


@dataclass(frozen=True)
class Scaled:
    """A user's transform, with a number and an array."""

    factor: float
    weights: np.ndarray

    def __call__(self, frames):
        return self.factor * self.weights * frames


def test_the_fingerprint_is_that_of_class_and_fields():
    values = [
        Scaled(1.0, np.ones(3)),
        Scaled(2.0, np.ones(3)),
        Scaled(1.0, np.zeros(3)),
        Scaled(1.0, np.ones(3, np.float32)),
        Compose(ToFrames(steps=3)),
        Compose(ToFrames(steps=3), ToFrames(steps=3)),
        ToFrames(count=3),
        np.zeros(4, np.int32),
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.float32),
        {"a": 1},
        ("a", 1),
        None,
        "None",
        1,
        True,
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint(Scaled(1.0, np.ones(3))) == fingerprint(values[0])
    assert fingerprint(Compose(ToFrames(steps=3))) == fingerprint(values[4])
    assert (
        fingerprint(ToFrames(steps=3), None) == "7caa94a90eb67cb42f4a"
    )  # the same in every process, today and tomorrow


def test_what_a_cache_could_not_notice_is_refused(train, tmp_path):
    with pytest.raises(DataError, match=r"Shift\(\) within a cache .*Cached\(dataset, folder\)\.map"):
        Cached(train.map(Shift(), ToFrames(steps=2)), tmp_path)
    with pytest.raises(DataError, match=r"<lambda>.* cannot be told .* frozen dataclass"):
        Cached(train.map(lambda events: events), tmp_path)
    with pytest.raises(DataError, match=r"cache before in_memory\(\)"):
        Cached(dataset_of(some_events()), tmp_path)
    foreign = ForeignData()
    with pytest.raises(DataError, match=r"identity='N-MNIST train'"):
        Cached(from_tonic(foreign), tmp_path)
    one, two = (Cached(from_tonic(foreign, identity=name), tmp_path) for name in ("one", "two"))
    assert one[0][0] == two[0][0] == some_events()
    assert len(list(one.source.folder.glob("0*"))) == 2


class ForeignData:
    sensor_size = (34, 34, 2)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return to_structured(some_events()), index

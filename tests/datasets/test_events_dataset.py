"""EventDataset: labels at once, recordings when needed, batches time first, training by Model.fit; and tonic's form."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import spikecore as sc
from spikecore.datasets import DataError, EventDataset, Events, Loader, Source, from_tonic, to_structured
from spikecore.datasets.transforms import CountImage, Downsample, ToFrames, VoxelGrid
from spikecore.samples import stacked
from tests.datasets.event_files import dataset_of, some_events


class Counted(Source):
    """Recordings that are counted as they are read."""

    def __init__(self, count):
        self.count, self.reads = count, []

    def __len__(self):
        return self.count

    def read(self, row):
        self.reads.append(row)
        return some_events(50 + row, (8, 8), seed=row)


def counted(count=6):
    return EventDataset(Counted(count), np.arange(count) % 3, "counted", ("a", "b", "c"))


def test_labels_are_known_at_once_and_recordings_read_when_asked_for():
    dataset = counted()
    assert len(dataset) == 6
    assert dataset.targets.tolist() == [0, 1, 2, 0, 1, 2]
    part = dataset[dataset.targets == 1].map(ToFrames(steps=2))
    first, second = dataset.split(0.5, seed=3)
    assert sorted([*first.rows, *second.rows]) == list(range(6))
    assert dataset.source.reads == []
    events, label = part[1]
    assert (events.shape, label, dataset.source.reads) == ((2, 2, 8, 8), 1, [4])
    assert repr(part) == "EventDataset(counted: 2 recordings, 3 classes, Compose(ToFrames(steps=2)))"
    assert [len(events) for events, _ in dataset] == list(range(50, 56))  # and a loop over it ends


def test_a_list_of_recordings_is_a_data_set():
    streams = [some_events(50 + row, (8, 8), seed=row) for row in range(3)]
    dataset = EventDataset(streams, [0, 1, 0], name="cells")
    assert [events for events, _ in dataset] == streams
    train, test = dataset.map(ToFrames(steps=4)).split(2)
    assert next(iter(Loader(train, shuffle=False)))[0].shape == (4, 2, 2, 8, 8)
    assert test.targets.tolist() == [0]
    with pytest.raises(DataError, match="cells: recording 1 is of type ndarray: need Events or Sounds"):
        EventDataset([streams[0], np.zeros(3)], [0, 1], "cells")
    with pytest.raises(DataError, match="source=3 must be a Source, or a list of Events or Sounds"):
        EventDataset(3, [0])
    with pytest.raises(DataError, match="number classes that have names"):
        EventDataset(streams, ["a", "b", "a"])


def test_batches_are_time_first_and_end_shorter_samples_with_empty_steps():
    dataset = counted().map(ToFrames(window=100_000))
    streams = [dataset[i][0] for i in range(6)]
    batch = dataset.batch(np.array([2, 0]))
    assert batch.shape == (3, 2, 2, 8, 8)
    for column, sample in enumerate((streams[2], streams[0])):
        np.testing.assert_array_equal(batch[: len(sample), column], sample)
        assert not batch[len(sample) :, column].any()
    short = dataset_of(Events([0], [1], [1], [1], (8, 8)), some_events(50, (8, 8))).map(ToFrames(window=100_000))
    assert not short.batch(np.arange(2))[1:, 0].any()


def test_arrays_without_time_are_stacked_as_they_are():
    dataset = counted().map(CountImage())
    assert dataset.batch(np.arange(4)).shape == (4, 2, 8, 8)
    assert dataset.in_memory().batch(np.arange(4)).shape == (4, 2, 8, 8)
    assert dataset.timed is dataset.in_memory().timed is False


@pytest.mark.parametrize("most", [1 << 24, 10], ids=["few", "many"])
@pytest.mark.parametrize("steps", [None, 30, 400])
@pytest.mark.parametrize("binary", [False, True])
def test_frames_of_a_batch_are_those_of_each_sample(binary, steps, most, monkeypatch):
    """A batch is counted where it lies; samples differ in length, and some events lie before the first frame."""
    monkeypatch.setattr("spikecore.datasets.transforms.frames.EXACT", most)
    frames = counted().map(Downsample(2), ToFrames(window=1000, start=2000, binary=binary))
    rows = np.array([4, 0, 2, 2])
    items = [frames.item(row) for row in rows]
    found, lengths = frames.filled(rows, 0, steps)
    assert len({len(item) for item in items}) > 1
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stacked(items, steps))
    np.testing.assert_array_equal(lengths, [len(item) for item in items])


def test_a_subclass_that_reads_in_its_own_way_does_so_in_batches():
    class Doubled(EventDataset):
        def item(self, index, epoch=0):
            return 2 * super().item(index, epoch)

    plain = counted().map(ToFrames(steps=3))
    doubled = Doubled(plain.source, plain.targets, transform=plain.transform)
    np.testing.assert_array_equal(doubled.batch(np.arange(3))[0], 2 * plain.batch(np.arange(3))[0])


def test_what_cannot_be_a_batch_is_refused():
    with pytest.raises(
        DataError, match=r"counted: a batch needs arrays, not Events: dataset\.map\(transforms\.ToFrames"
    ):
        next(iter(Loader(counted())))
    mixed = dataset_of(some_events(5, (8, 8)), some_events(5, (9, 9))).map(ToFrames(steps=2))
    with pytest.raises(DataError, match=r"different shapes: \[\(2, 8, 8\), \(2, 9, 9\)\]"):
        mixed.batch(np.arange(2))
    with pytest.raises(DataError, match=r"2 recordings, 3 labels"):
        EventDataset(Counted(2), np.arange(3))
    with pytest.raises(DataError, match=r"at least one"):
        counted()[[]]
    with pytest.raises(DataError, match=r"targets: a Dataset brings its own"):
        Loader(counted(), np.zeros(6))
    with pytest.raises(IndexError):
        counted()[6]


def test_in_memory_reads_each_recording_once():
    dataset = counted().map(Downsample(2))
    held = dataset.in_memory(progress=False)
    for _ in range(3):
        assert [held[i][0] for i in range(6)] == [Downsample(2)(some_events(50 + i, (8, 8), seed=i)) for i in range(6)]
    assert dataset.source.reads == list(range(6))


def test_a_loader_gives_each_sample_once_with_its_label():
    loader = Loader(counted(7).map(ToFrames(steps=3)), batch_size=3, seed=1)
    batches = list(loader)
    assert [inputs.shape for inputs, _ in batches] == [(3, 3, 2, 8, 8), (3, 3, 2, 8, 8), (3, 1, 2, 8, 8)]
    sizes = np.concatenate([inputs.sum((0, 2, 3, 4)) for inputs, _ in batches]) - 50
    labels = np.concatenate([targets for _, targets in batches])
    assert sorted(sizes) == list(range(7))
    np.testing.assert_array_equal(sizes % 3, labels)
    assert [targets.tolist() for _, targets in loader] != [targets.tolist() for _, targets in batches]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_fit_takes_a_loader_of_frames(engine):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    streams = [some_events(200, (8, 8), seed=i) for i in range(12)]
    streams = [s[s.x >= 4] if i % 2 else s[s.x < 4] for i, s in enumerate(streams)]  # right or left
    dataset = dataset_of(*streams, targets=np.arange(12) % 2).map(ToFrames(steps=5))
    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(128, 2), sc.Leaky(beta=0.9)), engine, seed=0)
    model.fit(Loader(dataset, batch_size=4), optimizer=sc.Adam(lr=5e-3), epochs=12, progress=False)
    assert model.evaluate(Loader(dataset, shuffle=False), progress=False)["accuracy"] == 1.0


def test_a_torch_loader_takes_it_with_workers_and_time_second():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    dataset = counted().map(ToFrames(steps=3))
    loader = torch.utils.data.DataLoader(dataset, batch_size=6)
    inputs, targets = next(iter(loader))
    assert inputs.shape == (6, 3, 2, 8, 8)
    np.testing.assert_array_equal(inputs.numpy().swapaxes(0, 1), dataset.batch(np.arange(6)))
    assert targets.tolist() == dataset.targets.tolist()
    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(128, 3), sc.Leaky()), "torch")
    model.fit(loader, time_axis=1, progress=False)
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[2][0], dataset[2][0])


# -------------------------------------------------------------------------------------------- tonic


class LikeTonic:
    """tonic's documented form: sensor_size, and (structured array with x, y, t, p; target)."""

    sensor_size = (8, 6, 2)
    dtype = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])

    def __init__(self, targets=(2, 0, 1)):
        self.streams, self.labels = [some_events(30 + i, self.sensor_size[:2], seed=i) for i in range(3)], targets

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return to_structured(self.streams[index]).astype(self.dtype), self.labels[index]


def test_a_tonic_data_set_is_taken_as_it_is():
    data = LikeTonic()
    dataset = from_tonic(data)
    assert [dataset[i][0] for i in range(3)] == data.streams
    assert dataset.targets.tolist() == [2, 0, 1]
    assert dataset.name == "LikeTonic (tonic)"
    assert dataset.map(VoxelGrid(3)).batch(np.arange(3)).shape == (3, 3, 1, 6, 8)


def test_tonics_targets_attribute_saves_reading_and_names_become_indices():
    data = LikeTonic(targets=None)
    data.targets = ["seven", "three", "seven"]
    data.labels = data.targets
    dataset = from_tonic(data)
    assert dataset.targets.tolist() == [0, 1, 0]
    assert dataset.classes == ("seven", "three")
    assert from_tonic(data, targets=[5, 6, 7]).targets.tolist() == [5, 6, 7]


def test_tonics_one_dimensional_sensors_have_units_without_polarity():
    class Spoken(LikeTonic):
        sensor_size = (700, 1, 1)

        def __getitem__(self, index):
            array = np.zeros(4, [("t", "i8"), ("x", "i8"), ("p", "i8")])
            array["t"], array["x"], array["p"] = [0, 10, 20, 30], [0, 5, 5, 699], 1
            return array, index

    assert from_tonic(Spoken())[0][0] == Events([0, 10, 20, 30], [0, 5, 5, 699], sensor=(700,))


def test_what_is_not_of_tonics_form_is_refused_with_the_remedy():
    class Framed(LikeTonic):
        def __getitem__(self, index):
            return np.zeros((4, 2, 6, 8)), 0

    class Bare:
        __len__ = LikeTonic.__len__
        __getitem__ = LikeTonic.__getitem__

    with pytest.raises(DataError, match=r"dataset\[0\]: array: need a structured array.*Leave out the data set's own"):
        from_tonic(Framed())
    with pytest.raises(DataError, match=r"Bare\.sensor_size is None: pass sensor=\(width, height\)"):
        from_tonic(Bare())
    with pytest.raises(DataError, match=r"x\[\d+\]=\d: must lie in \[0, 4\)"):
        from_tonic(LikeTonic(), sensor=(4, 6))
    with pytest.raises(DataError, match=r"targets: need class indices or names"):
        from_tonic(LikeTonic(), targets=[[1, 2], [3, 4], [5, 6]])

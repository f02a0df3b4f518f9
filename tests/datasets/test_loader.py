"""Loader: sequences of unequal length, buckets, weighted draws and shards of batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.datasets import DataError, DataFileError, Dataset, EventDataset, Loader, Source
from spikecore.datasets.transforms import DropEvents, Shift, ToFrames
from spikecore.samples.order import drawn
from tests.datasets.event_files import some_events


def sequences(lengths, features=3):
    """Sequences whose values are all their number, and that number as the target."""
    return [np.full((n, features), i + 1.0, np.float32) for i, n in enumerate(lengths)], np.arange(1, len(lengths) + 1)


class Recordings(Source):
    """Recordings of different durations; the one in `bad` cannot be read."""

    def __init__(self, count=11, bad=None):
        self.count, self.bad = count, bad

    def __len__(self):
        return self.count

    def read(self, row):
        if row == self.bad:
            raise DataFileError(f"file {row}.bin: damaged")
        return some_events(90, (6, 6), seed=row).between(0, 80_000 + 40_000 * (row % 5))


def events(count=11, bad=None, *transforms):
    steps = transforms or (DropEvents(0.3, seed=1), Shift(1, seed=2), ToFrames(window=50_000))
    return EventDataset(Recordings(count, bad), np.arange(count) % 3, "events", ("a", "b", "c")).map(*steps)


def same(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert len(one) == len(other)
        for left, right in zip(one, other):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


# ---- lengths -------------------------------------------------------------------------------------------------------

SOME = st.lists(st.integers(1, 9), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(
    lengths=SOME, batch_size=st.integers(1, 9), bucket=st.one_of(st.none(), st.integers(1, 4)), seed=st.integers(0, 5)
)
def test_sequences_of_unequal_length_lose_and_repeat_no_sample(lengths, batch_size, bucket, seed):
    inputs, targets = sequences([*lengths, 10])  # at least two lengths
    loader = Loader(inputs, targets, batch_size=batch_size, bucket=bucket, seed=seed)
    for _ in range(2):
        seen = []
        for x, y, n in loader:
            assert x.shape == (len(y), n.max(), 3)  # (batch, time, features), as long as the longest
            for sample, label, steps in zip(x, y, n):
                assert len(inputs[label - 1]) == steps
                assert (sample[:steps] == label).all()
                assert not sample[steps:].any()
            seen += y.tolist()
        assert sorted(seen) == targets.tolist()


def test_buckets_make_less_padding_and_another_order_in_each_epoch():
    lengths = np.random.default_rng(0).integers(10, 200, 600)
    inputs, targets = sequences(lengths, 1)

    def padding(bucket):
        batches = list(Loader(inputs, targets, batch_size=20, bucket=bucket, seed=1))
        return 1 - sum(n.sum() for *_, n in batches) / sum(x.shape[0] * x.shape[1] for x, *_ in batches)

    assert padding(None) > 0.35
    assert padding(10) < 0.08 < 0.2 < padding(1) + 0.16
    loader = Loader(inputs, targets, batch_size=20, bucket=10, seed=1)
    first, second = ([tuple(y) for _, y, _ in loader] for _ in range(2))
    assert first != second
    loader.set_epoch(0)
    assert [tuple(y) for _, y, _ in loader] == first
    longest = [max(lengths[np.array(y) - 1]) for y in first]
    assert longest != sorted(longest)  # batches do not come by length


def test_buckets_leave_out_samples_of_any_length():
    lengths = np.arange(1, 104)
    loader = Loader(*sequences(lengths), batch_size=10, bucket=100, drop_last=True)
    left_out = [set(lengths) - {int(n) for *_, ns in loader for n in ns} for _ in range(6)]
    assert all(len(each) == 3 for each in left_out)
    assert len(set(map(frozenset, left_out))) == 6
    assert min(map(min, left_out)) < 50


def test_lengths_of_an_array():
    x, y, n = np.arange(24.0).reshape(4, 3, 2), np.arange(4), np.array([1, 3, 2, 1])
    same(Loader(x, y, lengths=n, batch_size=3, shuffle=False), [(x[:3], y[:3], n[:3]), (x[3:], y[3:], n[3:])])
    data = Dataset(x, y, lengths=n)
    same(Loader(data, batch_size=4, shuffle=False), [(x, y, n)])
    same(Loader(data[2:], batch_size=4, shuffle=False), [(x[2:], y[2:], n[2:])])
    same(Loader(data, batch_size=4, shuffle=False, lengths=False), [(x, y)])
    assert repr(data) == "Dataset(unnamed: 4 samples of 1 to 3 steps, inputs (3, 2) float64, targets () int64)"
    for inputs, _, lengths in Loader(data, batch_size=2, bucket=2):
        assert inputs.shape[1] == lengths.max()  # buckets cut
    first, second = Dataset(*sequences([2, 5, 5, 5])).split(1)
    assert next(iter(Loader(second)))[2].tolist() == [5, 5, 5]  # a part of equal lengths is still a part of sequences
    assert repr(second) == "Dataset(unnamed: 3 samples of 5 steps, inputs (time, 3) float32, targets () int64)"
    assert "sequences" in first._repr_html_()


def test_lengths_of_recordings():
    data = events()
    plain = list(Loader(data, batch_size=4, seed=3))
    counted = list(Loader(data, batch_size=4, seed=3, lengths=True))
    for (x, y), (with_lengths, labels, n) in zip(plain, counted):
        np.testing.assert_array_equal(x, with_lengths)
        np.testing.assert_array_equal(y, labels)
        assert n.max() == len(x)
        assert n.min() < n.max()
    held = data.in_memory(progress=False)
    assert [n.tolist() for *_, n in Loader(held, batch_size=4, bucket=2, lengths=True)]
    given = np.full(11, 2)
    assert all(len(x) == 2 and (n == 2).all() for x, _, n in Loader(data, lengths=given, batch_size=4))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_fit_takes_sequences_of_unequal_length(engine):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    rng = np.random.default_rng(0)
    inputs = [rng.normal(0.4, 0.8, (n, 6)) for n in (3, 7, 5, 1)]
    labels = np.array([0, 2, 1, 1])

    def model():
        net = sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=0.8))
        return sc.Model(net, engine, seed=1, input_shape=(6,), dtype="float64")

    loader, padded = Loader(inputs, labels, batch_size=4, shuffle=False), np.zeros((7, 4, 6))
    for i, one in enumerate(inputs):
        padded[: len(one), i] = one
    found, expected = model(), model()
    found.fit(loader, optimizer=sc.SGD(lr=0.5), time_axis=1, progress=False)
    expected.fit([(padded, labels, [3, 7, 5, 1])], optimizer=sc.SGD(lr=0.5), progress=False)
    for name, value in expected.params().items():
        np.testing.assert_array_equal(found.params()[name], value)
    with pytest.raises(ValueError, match=r"time_axis=1|lengths have shape"):
        model().fit(loader, progress=False)


def test_validation_takes_sequences_of_unequal_length():
    rng = np.random.default_rng(0)
    inputs, labels = [rng.random((n, 6)) for n in (3, 7, 5)], np.array([0, 2, 1])
    model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=0.8)), "numpy", seed=1)
    options = {"time_axis": 1, "progress": False}
    history = model.fit(inputs, labels, validation=(inputs, labels), **options)
    assert history[0]["val_loss"] == model.evaluate(Loader(inputs, labels, shuffle=False), **options)["loss"]


# ---- weighted draws ------------------------------------------------------------------------------------------------


def test_balanced_classes_are_drawn_equally_often():
    targets = np.array([0] * 900 + [1] * 90 + [2] * 10)
    loader = Loader(np.zeros((1000, 1)), targets, weights="balanced", seed=1)
    first, second = (np.concatenate([y for _, y in loader]) for _ in range(2))
    assert len(first) == 1000
    for epoch in (first, second):
        assert (np.abs(np.bincount(epoch) - 1000 / 3) < 4.5 * np.sqrt(1000 * 2 / 9)).all()
    assert (first != second).any()
    loader.set_epoch(0)
    np.testing.assert_array_equal(np.concatenate([y for _, y in loader]), first)


@settings(deadline=None, max_examples=60)
@given(weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=30), epoch=st.integers(0, 3))
def test_samples_without_weight_are_never_drawn(weights, epoch):
    weights = np.array([*weights, 1.0, 0.0])
    assert (weights[drawn(weights, 3, epoch)] > 0).all()
    single = np.zeros(5)
    single[epoch] = 1e-300
    assert (drawn(single, 0, epoch) == epoch).all()


# ---- shards --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=4, max_size=40),
    batch_size=st.integers(4, 9),
    size=st.integers(1, 4),
    bucket=st.one_of(st.none(), st.integers(1, 3)),
    weighted=st.booleans(),
    drop_last=st.booleans(),
)
def test_the_shards_of_all_ranks_are_the_whole_batches(lengths, batch_size, size, bucket, weighted, drop_last):
    inputs, targets = sequences([*lengths, 10])
    weights = np.arange(len(targets)) % 3 + 1.0 if weighted else None
    options = {"bucket": bucket, "weights": weights, "seed": 2}
    if drop_last and batch_size > len(targets):
        return
    whole = Loader(inputs, targets, batch_size=batch_size, drop_last=drop_last, **options)
    if min(whole.batch_sizes()) < size:
        with pytest.raises(DataError, match=r"fewer than the \d processes: use .*batch_size"):
            whole.shard(0, size)
        return
    parts = [whole.shard(rank, size) for rank in range(size)]
    for _ in range(2):
        together = list(zip(*map(list, parts)))
        batches = list(whole)
        assert len(batches) == len(together) == len(parts[0])
        for batch, shards in zip(batches, together):
            assert np.ptp([len(y) for _, y, _ in shards]) <= 1
            for i, array in enumerate(batch):
                np.testing.assert_array_equal(np.concatenate([shard[i] for shard in shards]), array)
    assert [part.epoch for part in parts] == [whole.epoch] * size
    assert parts[0].batch_sizes() == [len(y) for _, y, _ in batches]


def test_a_shard_reads_its_own_samples_only(monkeypatch):
    reads = []
    monkeypatch.setattr(Recordings, "read", lambda self, row: reads.append(row) or some_events(60, (6, 6), seed=row))
    data = events(12, None, Shift(1), ToFrames(steps=3))
    whole = [x for x, _ in Loader(data, batch_size=4, seed=1)]
    reads.clear()
    parts = [[x for x, _ in Loader(data, batch_size=4, seed=1).shard(rank, 3)] for rank in range(3)]
    assert sorted(reads) == list(range(12))
    for batch, *shards in zip(whole, *parts):
        np.testing.assert_array_equal(np.concatenate(shards, axis=1), batch)


def test_recordings_of_unequal_length_are_sharded_with_lengths_only():
    data = events(8)
    with pytest.raises(DataError, match=r"samples of this shard have \d+ to \d+ steps.*pass lengths=True"):
        list(Loader(data, batch_size=4).shard(0, 2))
    assert len(list(Loader(data, batch_size=4, lengths=True).shard(0, 2))) == 2
    held = data.in_memory(progress=False)  # of which the lengths are known
    whole, parts = Loader(held, batch_size=4), [Loader(held, batch_size=4).shard(rank, 2) for rank in (0, 1)]
    for batch, *shards in zip(whole, *parts):
        np.testing.assert_array_equal(np.concatenate([x for x, _ in shards], axis=1), batch[0])


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [1, 2]}, r"lengths have shape \(2,\) and dtype int64; expected \(4,\) integers"),
        ({"lengths": [1.0, 2.0, 3.0, 4.0]}, r"dtype float64; expected \(4,\) integers"),
        ({"lengths": [1, 0, 1, 1]}, r"lengths\[1\] = 0: a sample needs at least one step"),
        ({"lengths": True}, r"lengths=True: the samples have no steps of their own; pass the number"),
        ({"bucket": 2}, r"bucket=2 needs the number of steps of each sample: pass lengths"),
        ({"bucket": 0, "lengths": [1, 1, 1, 1]}, r"bucket=0: need an integer of at least 1"),
        ({"bucket": 2, "lengths": [1, 1, 9, 1]}, r"bucket=2 cuts batches along axis 1.*3 entries.*up to 9"),
        ({"bucket": 2, "lengths": [1] * 4, "shuffle": False}, r"bucket changes the order.*shuffle=False keeps it"),
        ({"weights": [1] * 4, "shuffle": False}, r"weights changes the order.*shuffle=False keeps it"),
        ({"weights": [1, 2]}, r"weights have shape \(2,\), expected \(4,\)"),
        ({"weights": [1, -1, 1, 1]}, r"weights\[1\] = -1\.0: must be finite and >= 0"),
        ({"weights": [0, 0, 0, 0]}, r"their sum is 0\.0"),
        ({"weights": "even"}, r"weights='even': need one number per sample, or 'balanced'"),
        ({"workers": -1}, r"workers=-1: need an integer of at least 0"),
        ({"prefetch": 0}, r"prefetch=0: need an integer of at least 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        Loader(np.zeros((4, 3)), np.arange(4), **options)


def test_bad_sequences_and_shards_are_refused():
    good = [np.zeros((2, 3)), np.zeros((4, 3))]
    with pytest.raises(DataError, match=r"inputs\[1\] has shape \(4, 2\) and .*\[0\] \(2, 3\): all axes but the first"):
        Loader([np.zeros((2, 3)), np.zeros((4, 2))], [0, 1])
    with pytest.raises(DataError, match=r"inputs\[1\] has shape \(0, 3\): a sequence needs at least one step"):
        Loader([np.zeros((2, 3)), np.zeros((0, 3))], [0, 1])
    with pytest.raises(DataError, match=r"lengths\[0\] = 3, but inputs\[0\] has 2 steps"):
        Loader(good, [0, 1], lengths=[3, 4])
    with pytest.raises(DataError, match=r"weights='balanced' needs one class index per sample; .*no targets"):
        Loader(np.zeros((4, 3)), weights="balanced")
    loader = Loader(good, [0, 1])
    with pytest.raises(DataError, match=r"rank=2: need a number from 0 to 1"):
        loader.shard(2, 2)
    with pytest.raises(DataError, match=r"a batch has 2 samples, fewer than the 3 processes"):
        Loader(np.zeros((4, 1)), batch_size=2).shard(0, 3)
    with pytest.raises(DataError, match=r"the last batch has 1 samples, .*: use drop_last=True or another batch_size"):
        Loader(np.zeros((5, 1)), batch_size=2).shard(0, 2)
    with pytest.raises(DataError, match=r"is a shard already"):
        loader.shard(0, 2).shard(0, 1)


# ---- what fit tells its data ---------------------------------------------------------------------------------------


def test_an_epoch_reaches_data_sets_and_samplers_of_a_torch_loader():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra torch)")

    class Sampler(torch.utils.data.SequentialSampler):
        heard = ()

        def set_epoch(self, epoch):
            self.heard = (*self.heard, epoch)

    data = events(6, None, DropEvents(0.5, seed=1), ToFrames(steps=3))
    seen = []
    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(72, 3), sc.Leaky()), "numpy", input_shape=(2, 6, 6))

    class Seen(torch.utils.data.DataLoader):
        def __iter__(self):
            for x, y in super().__iter__():
                seen.append(x.numpy())
                yield x, y

    part = torch.utils.data.Subset(data, range(6))  # as random_split makes it
    loader = Seen(part, batch_size=6, sampler=Sampler(part))
    model.fit(loader, time_axis=1, epochs=2, progress=False)
    assert loader.sampler.heard == (0, 1)
    for epoch, x in enumerate(seen):
        np.testing.assert_array_equal(x.swapaxes(0, 1), data.batch(np.arange(6), epoch))
    assert (seen[0] != seen[1]).any()
    kept = torch.utils.data.DataLoader(data, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match=r"persistent_workers=True.*EventDataset\(events.*persistent_workers=False"):
        model.fit(kept, time_axis=1, progress=False)

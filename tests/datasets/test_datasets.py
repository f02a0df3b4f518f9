"""Data sets: what is read, in which order it is given, and what a user is told when it cannot be."""

from __future__ import annotations

import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikecore import datasets
from spikecore.datasets import DataError, DataFileError, Dataset, Loader, MissingExtraError
from spikecore.installing import to_install
from spikecore.samples import permutation


def numbered(count):
    """A data set whose samples say which they are."""
    return Dataset(np.arange(count, dtype=np.float32)[:, None], np.arange(count), name="numbered")


def order_of(loader):
    return [int(target) for _, targets in loader for target in targets]


# ------------------------------------------------------------------------------------------ Dataset


def test_dataset_indexing_gives_samples_and_subsets():
    data = Dataset([[0.0], [1.0], [2.0]], [5, 6, 7], name="three", classes=["a", "b"])
    assert len(data) == 3
    assert data[1][0].tolist() == [1.0]
    assert data[1][1] == 6
    assert [int(target) for _, target in data] == [5, 6, 7]
    subset = data[[2, 0]]
    assert isinstance(subset, Dataset)
    assert (subset.targets.tolist(), subset.name, subset.classes) == ([7, 5], "three", ("a", "b"))
    assert data[data.targets > 5].inputs.tolist() == [[1.0], [2.0]]
    assert "three: 3 samples" in repr(data)


@pytest.mark.parametrize("at", [7, 0.7])
def test_contiguous_split_is_views_in_order(at):
    data = numbered(10)
    first, second = data.split(at)
    assert first.targets.tolist() == list(range(7))
    assert second.targets.tolist() == [7, 8, 9]
    assert np.shares_memory(first.inputs, data.inputs)


def test_seeded_split_parts_partition_the_samples_and_keep_pairs_together():
    first, second = numbered(50).split(20, seed=3)
    assert len(first) == 20
    assert sorted([*first.targets, *second.targets]) == list(range(50))
    assert first.targets.tolist() != list(range(20))
    for part in (first, second):
        np.testing.assert_array_equal(part.inputs[:, 0], part.targets)
    assert numbered(50).split(20, seed=3)[0].targets.tolist() == first.targets.tolist()


@pytest.mark.parametrize("at", [0, 10, 11, -1, 0.0, 1.0])
def test_split_refuses_an_empty_part(at):
    with pytest.raises(DataError, match=r"at=.* leaves one part of 10 samples empty"):
        numbered(10).split(at)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros((3, 2)), np.zeros(4), r"3 inputs but 4 targets"),
        (np.zeros((0, 2)), np.zeros(0), r"no samples: inputs have shape \(0, 2\)"),
        (1.0, np.zeros(4), r"inputs: need an array with samples along axis 0"),
        ([[1.0], [1.0, 2.0]], np.zeros(2), r"inputs: "),
        (np.array(["a", None], dtype=object), np.zeros(2), r"inputs: need an array .* object"),
        (np.zeros((3, 2)), None, r"targets=None: a Dataset needs targets"),
    ],
)
@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # what NumPy 1.23 and older do instead of raising
def test_dataset_refuses_arrays_that_do_not_fit(inputs, targets, message):
    with pytest.raises(DataError, match=message):
        Dataset(inputs, targets)


# ------------------------------------------------------------------------------------------- Loader


@given(count=st.integers(1, 60), batch_size=st.integers(1, 70), shuffle=st.booleans(), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_an_epoch_gives_each_sample_once_with_its_target(count, batch_size, shuffle, seed):
    loader = Loader(numbered(count), batch_size=batch_size, shuffle=shuffle, seed=seed)
    batches = list(loader)
    assert len(batches) == len(loader)
    assert all(len(inputs) == batch_size for inputs, _ in batches[:-1])
    for inputs, targets in batches:
        np.testing.assert_array_equal(inputs[:, 0], targets)
    seen = [int(target) for _, targets in batches for target in targets]
    assert (sorted(seen) if shuffle else seen) == list(range(count))


def test_order_depends_on_seed_and_epoch_only():
    reference = [order_of(loader) for loader in [Loader(numbered(40), batch_size=7, seed=5)] for _ in range(4)]
    assert len({tuple(order) for order in reference}) == 4
    resumed = Loader(numbered(40), batch_size=7, seed=5)
    resumed.set_epoch(2)
    assert [order_of(resumed), order_of(resumed)] == reference[2:]
    assert resumed.epoch == 4
    assert order_of(Loader(numbered(40), batch_size=40, seed=5)) == reference[0]
    assert order_of(Loader(numbered(40), batch_size=7, seed=6)) != reference[0]


def test_shuffling_is_the_same_on_every_machine_and_numpy_version():
    """Golden values: changing them would change every seeded training run."""
    assert permutation(8, 0, 0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]
    assert permutation(8, 7, 3).tolist() == [7, 1, 6, 0, 4, 2, 3, 5]


def test_an_interrupted_epoch_runs_again_and_continues_by_skipping():
    loader = Loader(numbered(20), batch_size=4, seed=1)
    whole = [targets.tolist() for _, targets in loader]
    loader.set_epoch(0)
    for _ in zip(range(2), loader):
        pass
    assert loader.epoch == 0
    assert [targets.tolist() for _, targets in itertools.islice(loader, 2, None)] == whole[2:]
    assert loader.epoch == 1


def test_the_global_random_state_is_neither_read_nor_changed():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    order_of(Loader(numbered(10)))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_drop_last_leaves_equal_batches():
    loader = Loader(numbered(10), batch_size=4, drop_last=True)
    assert [len(inputs) for inputs, _ in loader] == [4, 4]
    assert len(loader) == 2


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_copies(shuffle):
    data = numbered(6)
    for inputs, targets in Loader(data, shuffle=shuffle):
        inputs[:], targets[:] = -1, -1
    np.testing.assert_array_equal(data.inputs[:, 0], np.arange(6))
    np.testing.assert_array_equal(data.targets, np.arange(6))


def test_inputs_alone_give_none_for_targets():
    ((inputs, targets),) = Loader(np.zeros((3, 2)))
    assert inputs.shape == (3, 2)
    assert targets is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size=0: need an integer of at least 1"),
        ({"batch_size": 2.5}, r"batch_size=2.5"),
        ({"batch_size": True}, r"batch_size=True"),
        ({"seed": -1}, r"seed=-1: need an integer of at least 0"),
        ({"batch_size": 11, "drop_last": True}, r"leaves no batch of 10 samples"),
        ({"targets": np.zeros(10)}, r"a Dataset brings its own"),
    ],
)
def test_loader_refuses_bad_options(options, message):
    with pytest.raises(DataError, match=message):
        Loader(numbered(10), **options)


def test_loader_refuses_bad_data_and_epochs():
    with pytest.raises(DataError, match=r"3 inputs but 2 targets"):
        Loader(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(DataError, match=r"no samples"):
        Loader(np.zeros((0, 1)))
    with pytest.raises(DataError, match=r"epoch=-1"):
        Loader(np.zeros((3, 1))).set_epoch(-1)


# ------------------------------------------------------------------------------------------- digits


@pytest.fixture
def _sklearn():
    pytest.importorskip("sklearn")


@pytest.mark.usefixtures("_sklearn")
def test_digits_contiguous():
    train, test = datasets.digits()
    assert (train.inputs.shape, test.inputs.shape) == ((1347, 64), (450, 64))
    assert (train.inputs.dtype, train.targets.dtype) == (np.float32, np.int64)
    assert (train.inputs.min(), train.inputs.max()) == (0.0, 1.0)
    assert train.targets[:10].tolist() == list(range(10))  # the first writer
    assert len(train.classes) == 10
    assert set(np.unique(test.targets)) == set(range(10))


@pytest.mark.usefixtures("_sklearn")
def test_digits_as_images_are_the_same_pixels():
    flat, image = datasets.digits()[0], datasets.digits(image=True)[0]
    assert image.inputs.shape == (1347, 1, 8, 8)
    np.testing.assert_array_equal(image.inputs.reshape(-1, 64), flat.inputs)


@pytest.mark.usefixtures("_sklearn")
def test_digits_shuffled_mixes_writers_and_other_splits_are_refused():
    train, test = datasets.digits("shuffled", seed=1)
    assert (len(train), len(test)) == (1347, 450)
    assert train.targets[:10].tolist() != list(range(10))
    with pytest.raises(DataError, match=r"split='random': use 'contiguous' or 'shuffled'"):
        datasets.digits("random")


def test_digits_without_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=re.escape(to_install("data"))) as caught:
        datasets.digits()
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, DataError)


# ---------------------------------------------------------------------------------------------- npz


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "all.npz"
    parts = {"train": 4, "test": 2}
    arrays = {f"x_{part}": np.full((count, 3), count, np.float32) for part, count in parts.items()}
    np.savez_compressed(path, **arrays, **{f"y_{part}": np.arange(count) for part, count in parts.items()})
    return path


def test_npz_with_both_parts_in_one_archive(archive):
    train, test = datasets.npz(archive)
    assert (len(train), len(test)) == (4, 2)
    assert train.inputs.dtype == np.float32
    assert test.targets.tolist() == [0, 1]
    assert train.name == "all.npz"


def test_npz_with_one_archive_for_each_part(tmp_path):
    for part, count in (("a", 3), ("b", 2)):
        np.savez(tmp_path / f"{part}.npz", inputs=np.zeros((count, 1)), labels=np.arange(count))
    train, test = datasets.npz(tmp_path / "a.npz", tmp_path / "b.npz", targets="labels")
    assert (len(train), len(test)) == (3, 2)


def test_npz_refuses_one_archive_and_one_name_for_both_parts(archive):
    with pytest.raises(DataFileError, match=r"must each contain '\{part\}'"):
        datasets.npz(archive, inputs="x_train", targets="y_train")


def test_npz_reads_each_member_once(archive, monkeypatch):
    reads, read = [], np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: reads.append(key) or read(self, key))
    datasets.read_npz(archive, inputs="x_train", targets="y_train")
    assert reads == ["x_train", "y_train"]


def test_npz_errors_name_the_file_and_the_fault(archive, tmp_path):
    def fault(path, message, **names):
        with pytest.raises(DataFileError, match=message) as caught:
            datasets.read_npz(path, **names)
        assert path.name in str(caught.value)

    fault(tmp_path / "none.npz", r"cannot be read: No such file")
    fault(archive, r"no array inputs, targets; it holds x_train, x_test, y_train, y_test")
    content = archive.read_bytes()
    names = {"inputs": "x_train", "targets": "y_train"}
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content[: len(content) // 2])
    fault(damaged, r"not an .npz archive, or cut off", **names)
    damaged.write_bytes(content[:60] + b"\xff" * 30 + content[90:])
    fault(damaged, r"cannot be read", **names)
    single = tmp_path / "single.npy"
    np.save(single, np.zeros(3))
    fault(single, r"not an .npz archive")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, inputs=np.array([{}], dtype=object), targets=np.zeros(1))
    fault(pickled, r"cannot be read: Object arrays cannot be loaded")

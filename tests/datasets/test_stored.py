"""Data that need not fit into memory: .npy, HDF5, Zarr, and tar archives of webdataset."""

from __future__ import annotations

import pickle
import re
import tarfile

import numpy as np
import pytest

import spikecore as sc
from spikecore import datasets
from spikecore.datasets import DataError, DataFileError, Loader, MissingExtraError, StoredDataset
from spikecore.datasets.stored import StoredArray
from spikecore.installing import to_install

X = np.arange(20 * 5 * 3, dtype=np.float32).reshape(20, 5, 3)
Y = np.arange(20) % 4
N = np.arange(20) % 5 + 1
NEEDS = {"npy": None, "hdf5": "h5py", "zarr": "zarr"}


def written(kind, folder):
    """The file of a kind with these arrays, read again."""
    if kind == "npy":
        paths = {name: folder / f"{name}.npy" for name in ("inputs", "targets", "lengths")}
        for path, array in zip(paths.values(), (X, Y, N)):
            np.save(path, array)
        return datasets.read_npy(paths["inputs"], paths["targets"], lengths=paths["lengths"])
    arrays = {"inputs": X, "targets": Y, "steps": N}
    if kind == "hdf5":
        h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
        with h5py.File(folder / "data.h5", "w") as file:
            for name, array in arrays.items():
                file.create_dataset(f"train/{name}", data=array, chunks=(2, *array.shape[1:]), compression="gzip")
        names = {"inputs": "train/inputs", "targets": "train/targets", "lengths": "train/steps"}
        return datasets.read_hdf5(folder / "data.h5", **names)
    zarr = pytest.importorskip("zarr", reason="zarr is not installed (extra zarr)")
    group = zarr.open_group(str(folder / "data.zarr"), mode="w")
    for name, array in arrays.items():
        create = getattr(group, "create_array", None) or group.create_dataset  # which versions before 3 have
        made = create(name, shape=array.shape, dtype=array.dtype, chunks=(2, *array.shape[1:]))
        made[:] = array
    return datasets.read_zarr(folder / "data.zarr", lengths="steps")


@pytest.fixture(params=NEEDS)
def stored(request, tmp_path):
    return written(request.param, tmp_path)


def test_batches_are_those_of_the_arrays_in_memory(stored):
    held = datasets.Dataset(X, Y, lengths=N)
    for options in ({}, {"bucket": 2}, {"weights": "balanced"}, {"shuffle": False, "drop_last": True}):
        found, expected = (list(Loader(data, batch_size=6, seed=3, **options)) for data in (stored, held))
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            for left, right in zip(one, other):
                np.testing.assert_array_equal(left, right)
                assert left.dtype == right.dtype
                assert type(left) is np.ndarray
    x, y = stored[-1]
    np.testing.assert_array_equal(x, X[-1])
    assert y == Y[-1]
    first, second = stored.split(0.5, seed=1)
    assert sorted([*first.rows, *second.rows]) == list(range(20))
    part = stored[stored.targets == 2]
    np.testing.assert_array_equal(part.in_memory().inputs, X[Y == 2])
    np.testing.assert_array_equal(part.in_memory().lengths, N[Y == 2])
    assert "20 samples, inputs (5, 3) float32 on disk)" in repr(stored)
    copy = pickle.loads(pickle.dumps(stored))
    np.testing.assert_array_equal(copy.batch(np.array([3, 1, 3])), X[[3, 1, 3]])
    assert len(pickle.dumps(stored)) < X.nbytes


def test_only_the_rows_of_a_batch_are_read(stored, monkeypatch):
    reads = []
    kind = type(stored.inputs)
    read = kind.read
    monkeypatch.setattr(kind, "read", lambda self, rows: reads.append(rows.tolist()) or read(self, rows))
    part = stored[10:]
    loader = Loader(part, batch_size=4, shuffle=False)
    assert reads == []
    next(iter(loader))
    assert reads == [[10, 11, 12, 13]]
    reads.clear()
    list(Loader(part, batch_size=4, seed=1).shard(1, 2))
    assert sorted(map(len, reads)) == [1, 2, 2]


def test_fit_trains_on_a_file_as_on_its_arrays(stored):
    def trained(data):
        model = sc.Model(sc.Sequential(sc.Linear(3, 4), sc.Leaky(beta=0.8)), "numpy", seed=1)
        model.fit(Loader(data, batch_size=8), time_axis=1, progress=False)
        return model.params()

    expected = trained(datasets.Dataset(X, Y, lengths=N))
    for name, value in trained(stored).items():
        np.testing.assert_array_equal(value, expected[name])


def test_workers_open_the_file_themselves(stored):
    for one, other in zip(Loader(stored, batch_size=6, workers=1), Loader(stored, batch_size=6)):
        for left, right in zip(one, other):
            np.testing.assert_array_equal(left, right)


# ---- what cannot be read -------------------------------------------------------------------------------------------


def test_npy_says_what_is_wrong(tmp_path):
    good, bad = tmp_path / "good.npy", tmp_path / "bad.npy"
    np.save(good, X)
    archive = tmp_path / "both.npz"
    np.savez(archive, inputs=X)
    with pytest.raises(
        DataFileError, match=r"both\.npz: is an archive.*unpack it \(unzip both\.npz\) and pass the \.npy"
    ):
        datasets.read_npy(archive, good)
    bad.write_bytes(good.read_bytes()[:300])
    with pytest.raises(DataFileError, match=r"bad\.npy: cannot be read"):
        datasets.read_npy(bad, good)
    with pytest.raises(DataFileError, match=r"none\.npy: cannot be read: No such file"):
        datasets.read_npy(tmp_path / "none.npy", good)
    np.save(bad, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataFileError, match=r"bad\.npy: cannot be read"):
        datasets.read_npy(bad, good)
    np.save(bad, Y[:7])
    with pytest.raises(DataError, match=r"20 inputs, 7 targets: need one each"):
        datasets.read_npy(good, bad)
    np.save(bad, np.array(["a"] * 20))
    with pytest.raises(DataFileError, match=r"bad\.npy: the array has shape \(20,\) and dtype <U1; need numbers"):
        datasets.read_npy(bad, bad)


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_hdf5_and_zarr_say_what_is_wrong(kind, tmp_path):
    stored = written(kind, tmp_path)
    reader = {"hdf5": datasets.read_hdf5, "zarr": datasets.read_zarr}[kind]
    path = stored.inputs.path
    with pytest.raises(
        DataFileError, match=r"(h5|zarr): no array nothing; it holds (train/inputs|inputs, steps, targets)"
    ):
        reader(path, inputs="nothing")
    with pytest.raises(DataFileError, match=r"there is no such"):
        reader(tmp_path / "nothing")
    (tmp_path / "text.h5").write_text("nothing of the kind")
    with pytest.raises(DataFileError, match=r"text\.h5"):
        reader(tmp_path / "text.h5")
    with pytest.raises(DataError, match=r"lengths have shape \(20, 5, 3\)"):
        reader(path, **({"inputs": "train/inputs", "targets": "train/targets", "lengths": "train/inputs"}
                        if kind == "hdf5" else {"lengths": "inputs"}))  # fmt: skip


def test_zarr_arrays_in_groups_of_a_group(tmp_path):
    stored = written("zarr", tmp_path)
    zarr = pytest.importorskip("zarr")
    inner = zarr.open_group(stored.inputs.path, mode="a").require_group("train")
    for name, array in {"x": X, "y": Y}.items():
        create = getattr(inner, "create_array", None) or inner.create_dataset
        create(name, shape=array.shape, dtype=array.dtype)[:] = array
    read = datasets.read_zarr(stored.inputs.path, inputs="train/x", targets="train/y")
    np.testing.assert_array_equal(read.in_memory().inputs, X)
    for name, said in (("train/z", "no array train/z; it holds"), ("train", "train is a group, not an array")):
        with pytest.raises(DataFileError, match=said):
            datasets.read_zarr(stored.inputs.path, inputs=name, targets="train/y")


def test_a_file_that_is_gone_is_named(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    copy = pickle.dumps(datasets.read_npy(tmp_path / "x.npy", tmp_path / "y.npy"))
    (tmp_path / "x.npy").unlink()
    with pytest.raises(DataFileError, match=r"x\.npy: cannot be read: No such file"):
        pickle.loads(copy)[0]


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("h5py", "data", lambda: datasets.read_hdf5("x.h5")),
        ("zarr", "zarr", lambda: datasets.read_zarr("x.zarr")),
    ],
)
def test_a_missing_package_is_named_with_its_extra(package, extra, call, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    with pytest.raises(MissingExtraError, match=f"need.* {package}: {re.escape(to_install(extra))}"):
        call()


def test_stored_data_that_do_not_fit_are_refused():
    class Fixed(StoredArray):
        shape, dtype = (4, 3), np.dtype(np.float32)

        def read(self, rows):
            return np.zeros((len(rows), 3), np.float32)

    with pytest.raises(DataError, match=r"4 inputs, 3 targets"):
        StoredDataset(Fixed(), np.arange(3))
    data = StoredDataset(Fixed(), np.arange(4), lengths=[1, 2, 9, 3])
    with pytest.raises(DataError, match=r"bucket=2 cuts batches along axis 1"):
        Loader(data, bucket=2)
    assert "on disk" in data._repr_html_()


# ---- tar archives --------------------------------------------------------------------------------------------------


@pytest.fixture
def archives(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="webdataset, which writes them, is not installed")
    for shard in range(3):
        with webdataset.TarWriter(str(tmp_path / f"train-{shard}.tar")) as writer:
            for i in range(shard * 7, min(20, shard * 7 + 7)):
                writer.write({"__key__": f"{i:04d}", "npy": X[i], "cls": int(Y[i])})
    return tmp_path


def test_shards_give_each_sample_once_in_an_order_of_seed_and_epoch(archives):
    def epoch(shards):
        batches = list(shards)
        for x, y in batches:
            for one, target in zip(x, y):
                row = int(one[0, 0]) // 15
                np.testing.assert_array_equal(one, X[row])
                assert target == Y[row]
        return [int(one[0, 0]) // 15 for x, _ in batches for one in x]

    shards = datasets.Shards(str(archives / "train-*.tar"), batch_size=6, buffer=8, seed=2)
    first, second = epoch(shards), epoch(shards)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    shards.set_epoch(0)
    assert epoch(shards) == first
    plain = datasets.Shards(sorted(archives.glob("*.tar")), batch_size=6, buffer=0)
    assert epoch(plain) == list(range(20))
    assert [len(y) for _, y in datasets.Shards(sorted(archives.glob("*.tar")), batch_size=6, drop_last=True)] == [6] * 3
    assert repr(shards) == "Shards(3 archives, batches of 6, shuffled in a buffer of 8 with seed 2)"
    model = sc.Model(sc.Sequential(sc.Linear(3, 4), sc.Leaky()), "numpy", input_shape=(3,))
    model.fit(shards, time_axis=1, epochs=2, progress=False)
    assert shards.epoch == 2


def test_shards_say_what_is_wrong(archives):
    with pytest.raises(DataFileError, match=r"no-\*\.tar: there is no such archive"):
        datasets.Shards(str(archives / "no-*.tar"))
    with pytest.raises(DataFileError, match=r"pipe:ls: there is no such archive"):
        datasets.Shards(["pipe:ls"])
    with pytest.raises(DataFileError, match=r"paths=\[\]: there is no such archive"):
        datasets.Shards([])
    with pytest.raises(
        DataFileError, match=r"train-0\.tar, sample 0000: no file with the ending jpg; it has (npy, cls|cls, npy)"
    ):
        next(iter(datasets.Shards(archives / "train-0.tar", inputs="jpg", buffer=0)))
    (archives / "cut.tar").write_bytes((archives / "train-0.tar").read_bytes()[:3000])
    with pytest.raises(DataFileError, match=r"cut\.tar.*cannot be read"):
        list(datasets.Shards(archives / "cut.tar"))
    np.save(archives / "0001.npy", np.array([{"a": 1}]), allow_pickle=True)
    (archives / "0001.cls").write_text("3")
    with tarfile.open(archives / "objects.tar", "w") as tar:
        for name in ("0001.npy", "0001.cls"):
            tar.add(archives / name, name)
    with pytest.raises(DataFileError, match=r"objects\.tar, sample 0001\.npy: cannot be read.*allow_pickle"):
        list(datasets.Shards(archives / "objects.tar"))


# ---- files from others ---------------------------------------------------------------------------------------------


def elsewhere(kind, folder, h5py):
    """A file whose inputs are in another one."""
    secret = folder / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["inputs"] = X
    (folder / "secret.bin").write_bytes(X.tobytes())
    with h5py.File(folder / "data.h5", "w") as file:
        file["targets"] = Y
        if kind == "external link":
            file["inputs"] = h5py.ExternalLink(secret, "inputs")
        elif kind == "group behind an external link":
            file["group"] = h5py.ExternalLink(secret, "/")
            return {"inputs": "group/inputs"}
        elif kind == "soft link to an external link":
            file["far"] = h5py.ExternalLink(secret, "inputs")
            file["inputs"] = h5py.SoftLink("/far")
        elif kind == "external storage":
            file.create_dataset("inputs", X.shape, X.dtype, external=[(str(folder / "secret.bin"), 0, X.nbytes)])
        else:
            layout = h5py.VirtualLayout(X.shape, X.dtype)
            layout[:] = h5py.VirtualSource(str(secret), "inputs", X.shape, X.dtype)
            file.create_virtual_dataset("inputs", layout)
    return {}


@pytest.mark.parametrize(
    "kind",
    [
        "external link",
        "group behind an external link",
        "soft link to an external link",
        "external storage",
        "virtual source",
    ],
)
def test_an_hdf5_file_names_no_other_file_to_be_read(kind, tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    names = elsewhere(kind, tmp_path, h5py)
    with h5py.File(tmp_path / "data.h5") as file:  # HDF5 itself reads it
        np.testing.assert_array_equal(file[names.get("inputs", "inputs")][:], X)
    with pytest.raises(DataFileError, match=r"data.h5: .*inputs (is a link|has its numbers) .*secret"):
        datasets.read_hdf5(tmp_path / "data.h5", **names)


def test_spikes_are_not_read_from_another_file_either(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["times"] = np.zeros(3)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["labels"], file["spikes/units"] = np.arange(3), np.zeros(3)
        file["spikes/times"] = h5py.ExternalLink(tmp_path / "other.h5", "times")
    with pytest.raises(DataFileError, match=r"spikes/times is a link to another file, .*other.h5"):
        datasets.read_spikes(tmp_path / "data.h5", units=3)


def test_links_within_an_hdf5_file_are_followed(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["train/x"], file["train/y"] = X, Y
        file["train/latest"] = h5py.SoftLink("x")
        file["inputs"] = h5py.SoftLink("/train/latest")
        file["targets"] = h5py.SoftLink("train/y")
        file["circle"] = h5py.SoftLink("/circle")
    np.testing.assert_array_equal(datasets.read_hdf5(tmp_path / "data.h5").in_memory().inputs, X)
    for name in ("circle", "train", "nothing", "train/x/y", ""):
        with pytest.raises(DataFileError, match=f"no array {name}; it holds train/x, train/y"):
            datasets.read_hdf5(tmp_path / "data.h5", inputs=name)


@pytest.mark.parametrize("kind", NEEDS)
def test_targets_that_no_memory_holds_are_refused_by_name(kind, tmp_path):
    """A small file may say any shape: its numbers are zeros that nobody has written."""
    written(kind, tmp_path)
    if kind == "npy":  # a file with a hole
        np.lib.format.open_memmap(tmp_path / "targets.npy", "w+", np.int64, (HUGE // 8,))
        arguments = tmp_path / "inputs.npy", tmp_path / "targets.npy"
    else:
        module = pytest.importorskip(NEEDS[kind])
        arguments = (tmp_path / "huge",)
        group = module.File(*arguments, "w") if kind == "hdf5" else module.open_group(str(arguments[0]), mode="w")
        create = getattr(group, "create_array", None) or group.create_dataset
        for name in ("inputs", "targets"):
            create(name, shape=(HUGE,), dtype="i8", chunks=(1024,))
        if kind == "hdf5":
            group.close()
    read = getattr(datasets, f"read_{kind}")
    with pytest.raises(DataFileError, match=r"targets of shape \(1\d+,\), .* take [18],000,000,000,000 bytes"):
        read(*arguments)
    with pytest.raises(DataFileError, match="max_bytes=5"):
        read(*arguments, max_bytes=5)


HUGE = 10**12


def test_inputs_that_no_memory_holds_are_refused_by_name(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("inputs", (HUGE,), "f4", chunks=(1024,))
        file.create_dataset("wide", (20, HUGE), "f4", chunks=(1, 1024))
        file["targets"] = Y
    wide = datasets.read_hdf5(tmp_path / "data.h5", inputs="wide")
    with pytest.raises(DataFileError, match=r"1 rows of wide, .* \(20, 1000000000000\), take 4,000,000,000,000 bytes"):
        wide.batch(np.array([3]))
    with pytest.raises(DataError, match="1000000000000 inputs, 20 targets"):
        datasets.read_hdf5(tmp_path / "data.h5")


def test_an_hdf5_array_larger_than_one_answer_is_read_in_parts(tmp_path, monkeypatch):
    from spikecore.datasets import hdf5_arrays

    stored = written("hdf5", tmp_path)
    monkeypatch.setattr(hdf5_arrays, "AT_ONCE", 3 * X[0].nbytes)
    np.testing.assert_array_equal(stored.batch(np.arange(20)[::-1]), X[::-1])
    assert stored.batch(np.arange(0)).shape == (0, 5, 3)

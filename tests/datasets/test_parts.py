"""Data on disk for several processes: each reads its part of every batch, and batches are the same for 1, 2 or 4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikecore import datasets
from spikecore.api.core.ranks import Ranks
from spikecore.api.training.shards import Shard, sharded
from spikecore.samples import Loader

COUNT, BATCH, LEAST = 46, 12, 10  # the last batch has 10 samples: parts of 2 and of 3
X = np.random.default_rng(0).random((COUNT, 64, 128))  # 64 kB a sample, which Zarr cannot make much smaller
Y = np.arange(COUNT)
IO = Path("/proc/self/io")


def tar(folder):
    webdataset = pytest.importorskip("webdataset", reason="webdataset, which writes archives, is not installed")
    for number, rows in enumerate(np.array_split(np.arange(COUNT), 5)):
        with webdataset.TarWriter(str(folder / f"train-{number}.tar")) as writer:
            for i in rows:
                writer.write({"__key__": f"set.d/{i:04d}", "npy": X[i], "cls": int(Y[i])})
    return lambda **options: datasets.Shards(str(folder / "train-*.tar"), batch_size=BATCH, seed=3, **options)


def zarr(folder):
    library = pytest.importorskip("zarr", reason="zarr is not installed (extra zarr)")
    group = library.open_group(str(folder / "data.zarr"), mode="w")
    create = getattr(group, "create_array", None) or group.create_dataset
    for name, x in (("inputs", X), ("targets", Y)):
        create(name, shape=x.shape, chunks=(1, *x.shape[1:]), dtype=x.dtype)[:] = x
    return lambda: Loader(datasets.read_zarr(folder / "data.zarr"), batch_size=BATCH, seed=3)


def hdf5(folder):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    with h5py.File(folder / "data.h5", "w") as file:
        file.create_dataset("inputs", data=X, chunks=(1, *X.shape[1:]))
        file.create_dataset("targets", data=Y)
    return lambda: Loader(datasets.read_hdf5(folder / "data.h5"), batch_size=BATCH, seed=3)


def npy(folder):
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    return lambda: Loader(datasets.read_npy(folder / "x.npy", folder / "y.npy"), batch_size=BATCH, seed=3)


KINDS = [tar, zarr, hdf5, npy]


def parted(make, size, epoch=0):
    """The batches of an epoch, put together of the parts of ``size`` processes."""
    parts = []
    for rank in range(size):
        own = make()  # each process opens the data itself
        own = own.shard(rank, size) if size > 1 else own
        own.set_epoch(epoch)
        parts.append(list(own))
        assert own.epoch == epoch + 1
    assert len({len(part) for part in parts}) == 1
    return [tuple(np.concatenate(both) for both in zip(*row)) for row in zip(*parts)]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_the_same_for_one_two_and_four_processes(kind, tmp_path):
    make = kind(tmp_path)
    alone = parted(make, 1)
    assert [len(y) for _, y in alone] == [12, 12, 12, 10] == list(make().batch_sizes())
    seen = np.concatenate([y for _, y in alone])
    assert sorted(seen) == list(range(COUNT))
    assert list(seen) != list(range(COUNT))
    for x, y in alone:
        np.testing.assert_array_equal(x, X[y])
    for size in (2, 4):
        together = parted(make, size)
        assert len(together) == len(alone)
        for one, other in zip(alone, together):
            assert all(np.array_equal(a, b) for a, b in zip(one, other))
    assert [y.tolist() for _, y in parted(make, 2, epoch=1)] != [y.tolist() for _, y in alone]


class Second(Ranks):
    """The second of four processes."""

    rank, size = 1, 4


@pytest.mark.parametrize("kind", KINDS)
def test_fit_in_a_group_takes_the_part_of_its_process(kind, tmp_path):
    make = kind(tmp_path)
    own = sharded(make(), Second())
    assert isinstance(own, Shard)
    own.set_epoch(0)
    alone = [y for _, y in make()]
    assert [y.tolist() for _, y in own] == [y[len(y) // 4 : 2 * len(y) // 4].tolist() for y in alone]
    assert own.sizes == [len(y) for y in alone]


def read_by(kind, own):
    """Bytes that an epoch reads, as Linux counts them for this process; for HDF5, for the one that reads."""
    process = f"/proc/{own._samples.inputs.reader._process.pid}/io" if kind is hdf5 else IO

    def bytes_read():
        return int(dict(line.split(": ") for line in Path(process).read_text().splitlines())["rchar"])

    next(iter(own))  # what is opened once
    before = bytes_read()
    for _ in own:
        pass
    return bytes_read() - before


@pytest.mark.skipif(not IO.exists(), reason="only Linux counts the bytes that a process reads")
@pytest.mark.parametrize("kind", [tar, zarr, hdf5])
def test_a_process_reads_its_part_only(kind, tmp_path):
    make = kind(tmp_path)
    whole = read_by(kind, make())
    assert whole > 0.8 * X.nbytes
    for size in (2, 4):
        parts = [read_by(kind, make().shard(rank, size)) for rank in range(size)]
        print(f"\n{kind.__name__}: {whole} bytes alone; by {size} processes {parts}")
        assert max(parts) < 1.25 * whole / size


def test_samples_of_archives_stay_near_their_place(tmp_path):
    """So few samples are in memory at once, whatever the size of the archives; each epoch has its own order."""
    make = tar(tmp_path)
    one = make(buffer=8)
    members, order = one._ordered(0)
    assert sorted(order.tolist()) == list(range(COUNT))
    read_so_far = np.maximum.accumulate(order) + 1
    assert (read_so_far - np.arange(1, COUNT + 1)).max() <= 8
    assert one._ordered(1)[1].tolist() != order.tolist()
    assert [member.path for member in members] != sorted(member.path for member in members)


def test_parts_that_cannot_be_are_refused(tmp_path):
    shards = tar(tmp_path)()
    with pytest.raises(datasets.DataError, match="a batch has 10 samples, fewer than the 11 processes"):
        shards.shard(0, 11)
    with pytest.raises(datasets.DataError, match="rank=2: need a number from 0 to 1"):
        shards.shard(2, 2)

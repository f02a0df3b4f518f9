"""Damaged event files give valid data or a DataError that names the file: never a crash, never a hang."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from spikecore.datasets import (
    DataFileError,
    Events,
    event_npz,
    read_aedat,
    read_aedat2,
    read_dvs_lip,
    read_nmnist,
    save_event_npz,
    to_structured,
)
from spikecore.datasets.hdf5 import Hdf5Reader
from spikecore.datasets.heidelberg import SpikeFile
from tests.datasets.event_files import (
    aedat2_bytes,
    aedat_bytes,
    damaged,
    dataset_of,
    nmnist_bytes,
    some_events,
    write_spikes,
)

MOST_SECONDS = 5.0  # of one file; most take a millisecond
cases = pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])


def outcomes(path, good, read, count, spots=(0,)):
    """(read, refused) numbers of copies damaged behind one of the spots; the file's name stands in each message."""
    valid = refused = 0
    for case in range(count):
        spot = spots[case % len(spots)]
        path.write_bytes(good[:spot] + damaged(good[spot:], case))
        begun, message = time.perf_counter(), None
        try:
            streams = read(path)
        except DataFileError as error:
            message = str(error)
        if message is None:
            assert all(isinstance(events, Events) for events in streams)
            valid += 1
        else:
            assert str(path) in message
            refused += 1
        assert time.perf_counter() - begun < MOST_SECONDS, f"case {case}"
    return valid, refused


def check(counted, count):
    valid, refused = counted
    assert valid + refused == count
    assert valid > count // 50, "the damage never lies where it does not matter: it is not what a reader meets"
    assert refused > count // 20, "hardly any damage is noticed"


@cases
def test_nmnist(tmp_path, count):
    good = nmnist_bytes(some_events(100))
    check(outcomes(tmp_path / "some.bin", good, lambda path: [read_nmnist(path)], count), count)


@cases
def test_aedat(tmp_path, count):
    good = aedat_bytes(some_events(100, (128, 128)), per_packet=16)
    check(outcomes(tmp_path / "some.aedat", good, lambda path: [read_aedat(path)], count), count)


@cases
def test_aedat2(tmp_path, count):
    good = aedat2_bytes(some_events(100, (128, 128)))
    check(outcomes(tmp_path / "some.aedat", good, lambda path: [read_aedat2(path)], count), count)


@cases
def test_dvs_lip(tmp_path, count):
    path = tmp_path / "some.npy"
    np.save(path, to_structured(some_events(100, (128, 128))))
    check(outcomes(path, path.read_bytes(), lambda path: [read_dvs_lip(path)], count, spots=(0, 128)), count)


@cases
def test_archives(tmp_path, count):
    path = tmp_path / "some.npz"
    save_event_npz(path, dataset_of(some_events(50), some_events(20)))

    def read(path):
        dataset = event_npz(path, (34, 34))
        return [dataset[i][0] for i in range(len(dataset))]

    check(outcomes(path, path.read_bytes(), read, count), count)


def spikes_reader(reader, served):
    """Labels and all samples of a file, through one process as long as it lives; `served` collects the processes."""

    def read(path):
        source = SpikeFile(reader, path, 700, "fuzz")
        try:
            labels, _ = source.labels()
            return [source.read(row) for row in range(min(len(labels), 20))]
        finally:
            served.add(reader._process)

    return read


@cases
def test_hdf5(tmp_path, count):
    """HDF5 itself hangs on some of these files; only its process does, and is ended after half a second.

    Half of the damage is done to the end of the heap in which the spikes lie: there it is that the library loops.
    """
    pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    path, reader, served = tmp_path / "some.h5", Hdf5Reader(timeout=0.5), set()
    write_spikes(path)
    good = path.read_bytes()
    check(outcomes(path, good, spikes_reader(reader, served), count, (0, good.index(b"GCOL") + 600)), count)
    write_spikes(path)
    assert len(spikes_reader(reader, served)(path)) == 6  # and a whole file is read as ever
    reader.close()
    print(f"{len(served)} processes for {count} damaged files")


def test_a_heap_that_sends_hdf5_into_a_loop(tmp_path):
    """The size of the heap's free space, made smaller: HDF5 2.0 and older then go round for ever."""
    pytest.importorskip("h5py", reason="h5py is not installed (extra data)")
    path, reader = tmp_path / "some.h5", Hdf5Reader(timeout=0.5)
    write_spikes(path)
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    at, number = heap + 16, 1
    while number:  # entries of number, references, size, and bytes up to a multiple of 8; the last has number 0
        number, size = struct.unpack_from("<H6xQ", data, at)
        at += 16 + -(-size // 8) * 8 if number else 0
    assert at + size == heap + 4096
    struct.pack_into("<Q", data, at + 8, 16)
    path.write_bytes(data)
    source = SpikeFile(reader, path, 700, "loop")
    assert len(source.labels()[0]) == 6
    begun = time.perf_counter()
    with pytest.raises(DataFileError, match=r"some\.h5: damaged: reading sample 0 ended the HDF5 library"):
        source.read(0)
    assert time.perf_counter() - begun < MOST_SECONDS
    reader.close()


def test_the_damage_is_the_same_for_the_same_case():
    good = bytes(range(1, 200))
    assert damaged(good, 7) == damaged(good, 7)
    assert len({damaged(good, case) for case in range(50)}) > 40
    assert np.mean([damaged(good, case) != good for case in range(200)]) > 0.95

"""Event data read from files that these tests write: N-MNIST, AEDAT, DVS-Gesture, SHD, archives of recordings."""

from __future__ import annotations

import pickle
import re
import signal
import struct

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataError, DataFileError, Events, MissingExtraError
from spikecore.datasets.gesture import read_trials
from spikecore.installing import to_install
from tests.datasets.event_files import (
    AEDAT_HEADER,
    aedat_bytes,
    aedat_packet,
    dataset_of,
    nmnist_bytes,
    some_events,
    write_gesture,
    write_nmnist,
    write_spikes,
)

# ------------------------------------------------------------------------------------------ N-MNIST


@pytest.mark.parametrize("place", ["N-MNIST", "NMNIST", "."])
def test_nmnist_where_it_usually_lies(tmp_path, place):
    written = write_nmnist(tmp_path / place)
    train, test = datasets.nmnist(tmp_path)
    assert (len(train), len(test)) == (20, 20)
    assert train.targets.tolist() == [*range(10), *range(10)]  # by number, not by class
    assert train.classes == tuple("0123456789")
    for i, path in enumerate(train.source.paths):
        assert train[i][0] == written[path]
    assert train[0][0] != test[0][0]


def test_nmnist_bytes_are_read_as_the_format_is_described(tmp_path):
    path = tmp_path / "one.bin"
    path.write_bytes(bytes([1, 2, 0x80, 0x01, 0x02, 3, 4, 0x7F, 0xFF, 0xFF]))
    events = datasets.read_nmnist(path)
    assert events == Events([0x0102, 0x7FFFFF], [1, 3], [2, 4], [1, 0], (34, 34), "N-MNIST")


def test_an_event_in_row_240_is_an_overflow_of_the_clock(tmp_path):
    marker = bytes([0, 240, 0, 0, 0])
    path = tmp_path / "long.bin"
    path.write_bytes(nmnist_bytes(Events([8000], [5], [6], [1], (34, 34))) + marker * 2 + bytes([7, 8, 0, 0, 9]))
    events = datasets.read_nmnist(path)
    assert events.t.tolist() == [8000, 2 * 2**13 + 9]
    assert events.y.tolist() == [6, 8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"0 bytes: an N-MNIST file has 5 for each event"),
        (b"\0" * 7, r"7 bytes"),
        (bytes([34, 0, 0, 0, 0]), r"x\[0\]=34: must lie in \[0, 34\)"),
        (bytes([0, 0, 0, 0, 0, 0, 200, 0, 0, 0]), r"y\[1\]=200"),
    ],
)
def test_a_damaged_nmnist_file_is_named(tmp_path, content, message):
    path = tmp_path / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=rf"00001\.bin: {message}"):
        datasets.read_nmnist(path)


def test_absent_nmnist_says_where_from_and_where_to(tmp_path):
    with pytest.raises(DataFileError) as caught:
        datasets.nmnist(tmp_path)
    for part in ("no Train and Test", "garrickorchard.com", "Orchard et al.", str(tmp_path / "N-MNIST"), "0 to 9"):
        assert part in str(caught.value)
    (tmp_path / "Train").mkdir()
    (tmp_path / "Test").mkdir()
    with pytest.raises(DataFileError, match=r"Train: no \.bin files in its folders"):
        datasets.nmnist(tmp_path)
    with pytest.raises(DataFileError, match=r"none\.bin: cannot be read: No such file"):
        datasets.read_nmnist(tmp_path / "none.bin")


# -------------------------------------------------------------------------------------------- AEDAT


def aedat(tmp_path, content):
    path = tmp_path / "some.aedat"
    path.write_bytes(content)
    return datasets.read_aedat(path)


def test_aedat_round_trip(tmp_path):
    events = some_events(300, (128, 128))
    assert aedat(tmp_path, aedat_bytes(events)) == events
    assert len(aedat(tmp_path, AEDAT_HEADER)) == 0


def test_aedat_words_are_read_as_the_format_is_described(tmp_path):
    header = struct.pack("<hhiiiiii", 1, 0, 8, 4, 1, 1, 1, 1)
    data = AEDAT_HEADER + header + struct.pack("<Ii", 100 << 17 | 7 << 2 | 1 << 1 | 1, 5)
    assert aedat(tmp_path, data) == Events([2**31 + 5], [100], [7], [1], (128, 128))  # after one overflow


def test_aedat_passes_over_invalid_events_and_other_packets(tmp_path):
    events = some_events(10, (128, 128))
    special = struct.pack("<hhiiiiii", 0, 1, 4, 0, 0, 3, 3, 3) + b"\xff" * 12
    valid = np.arange(10) % 3 > 0
    assert aedat(tmp_path, AEDAT_HEADER + special + aedat_packet(events, valid=valid) + special) == events[valid]


def test_aedat_packets_out_of_order_are_sorted(tmp_path):
    events = some_events(20, (128, 128))
    found = aedat(tmp_path, AEDAT_HEADER + aedat_packet(events[10:]) + aedat_packet(events[:10]))
    assert found.t.tolist() == events.t.tolist()


PACKET = aedat_packet(some_events(4, (128, 128)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not AEDAT 3\.1: starts with b''"),
        (b"#!AER-DAT2.0\r\n", r"not AEDAT 3\.1: starts with b'#!AER-DAT2\.0'"),
        (b"#!AER-DAT3.1\r\n#Format: RAW", r"does not end with b'#!END-HEADER'"),
        (b"#!AER-DAT3.1\r\n" + PACKET, r"does not end with b'#!END-HEADER'"),
        (AEDAT_HEADER + PACKET + PACKET[:20], r"cut off within a packet, after 4 events"),
        (AEDAT_HEADER + PACKET[:-1], r"cut off within a packet, after 0 events"),
        (AEDAT_HEADER + struct.pack("<hhiiiiii", 1, 0, 16, 4, 0, 1, 1, 1) + b"\0" * 16, r"polarity events of 16 bytes"),
        (AEDAT_HEADER + struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, 1, -1, 1), r"damaged: .* -1 events"),
        (AEDAT_HEADER + struct.pack("<hhiiiiii", 1, 0, 8, 4, -1, 1, 1, 1) + b"\0" * 8, r"-1 overflows"),
        (AEDAT_HEADER + struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, 0, 1, 1) + b"\0" * 8, r"1 events of at most 0"),
        (AEDAT_HEADER + struct.pack("<hhiiiiiiIi", 1, 0, 8, 4, 0, 1, 1, 1, 1, -5), r"has a negative time"),
        (AEDAT_HEADER + struct.pack("<hhiiiiiiIi", 1, 0, 8, 4, 0, 1, 1, 1, 500 << 17 | 1, 5), r"x\[0\]=500"),
    ],
)
def test_a_damaged_aedat_file_is_named(tmp_path, content, message):
    with pytest.raises(DataFileError, match=rf"some\.aedat: .*{message}"):
        aedat(tmp_path, content)


# -------------------------------------------------------------------------------------- DVS-Gesture


@pytest.mark.parametrize("place", ["DvsGesture", "."])
def test_gestures_are_cut_out_of_their_recordings(tmp_path, place):
    written = write_gesture(tmp_path / place)
    train, test = datasets.dvs_gesture(tmp_path)
    assert (len(train), len(test)) == (8, 4)
    assert train.targets.tolist() == [0, 1, 2, 3, 1, 2, 3, 4]
    assert train.classes[train.targets[0]] == "hand clapping"
    whole = written["user02_led.aedat"]
    assert train[5][0] == whole.between(65_000, 115_000).shift(-65_000)
    assert train[5][0].origin == "DVS-Gesture"
    assert pickle.loads(pickle.dumps(test))[1][0] == test[1][0]


def test_a_gesture_after_an_overflow_of_the_clock(tmp_path):
    write_gesture(tmp_path, subjects=2, trials=2)
    events = some_events(600, (128, 128), duration=180_000)
    (tmp_path / "user01_led.aedat").write_bytes(AEDAT_HEADER + aedat_packet(events) + aedat_packet(events, overflows=1))
    table = f"class,startTime_usec,endTime_usec\n3,{2**31 + 50_000},{2**31 + 90_000}\n"
    (tmp_path / "user01_led_labels.csv").write_text(table)
    assert datasets.dvs_gesture(tmp_path)[0][0][0] == events.between(50_000, 90_000).shift(-50_000)


def test_a_gesture_before_the_cut_is_read_and_one_behind_it_refused(tmp_path):
    written = write_gesture(tmp_path)
    path = tmp_path / "user03_led.aedat"
    path.write_bytes(path.read_bytes()[: len(AEDAT_HEADER) + 3 * (28 + 8 * 64) + 100])  # three packets and some
    test = datasets.dvs_gesture(tmp_path)[1]
    last = written["user03_led.aedat"].t[3 * 64 - 1]
    assert 55_000 < last < 235_000
    assert test[0][0] == written["user03_led.aedat"].between(5000, 55_000).shift(-5000)
    with pytest.raises(DataFileError, match=r"user03_led\.aedat: cut off before the trial of 185000 to 235000"):
        test[3]


def test_absent_parts_of_dvs_gesture_are_named(tmp_path):
    with pytest.raises(DataFileError, match=r"DVS-Gesture: no trials_to_train\.txt and trials_to_test\.txt.*research"):
        datasets.dvs_gesture(tmp_path)
    write_gesture(tmp_path)
    (tmp_path / "user01_led.aedat").unlink()
    with pytest.raises(DataFileError, match=r"no user01_led\.aedat in"):
        datasets.dvs_gesture(tmp_path)
    (tmp_path / "trials_to_train.txt").write_text("\n")
    with pytest.raises(DataFileError, match=r"trials_to_train\.txt: names no trial"):
        datasets.dvs_gesture(tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"begins with '', not with 'class,startTime_usec,endTime_usec'"),
        ("class,a,b\n12,5,6\n", r"line 2: '12,5,6': need a class from 1 to 11"),
        ("class,a,b\n1,5,6\n\n1,6,5\n", r"line 4"),
        ("class,a,b\n1,5\n", r"line 2"),
        ("class,a,b\n1,-5,6\n", r"line 2"),
        ("class,a,b\n1,5,99999999999999999\n", r"line 2"),
    ],
)
def test_a_damaged_table_of_labels_is_named_with_its_line(tmp_path, table, message):
    path = tmp_path / "user_labels.csv"
    path.write_text(table)
    with pytest.raises(DataFileError, match=rf"user_labels\.csv.*{message}"):
        read_trials(path, tmp_path / "user.aedat")


# ---------------------------------------------------------------------------------------- SHD, SSC


@pytest.fixture
def _h5py():
    pytest.importorskip("h5py", reason="h5py is not installed (extra data)")


@pytest.mark.usefixtures("_h5py")
def test_shd_spikes_labels_and_class_names(tmp_path):
    spikes, labels = write_spikes(tmp_path / "shd_train.h5", seed=1)
    write_spikes(tmp_path / "shd_test.h5", samples=3, seed=2)
    train, test = datasets.shd(tmp_path)
    assert (len(train), len(test)) == (6, 3)
    assert train.targets.tolist() == labels.tolist()
    assert train.classes[3] == "class 3"
    for i, (seconds, units) in enumerate(spikes):
        events = train[i][0]
        assert events.x.tolist() == units.tolist()
        np.testing.assert_array_equal(events.t, np.rint(seconds.astype(float) * 1e6))
    assert events.sensor == (700,)
    assert repr(events).startswith("Events(SHD train: ")
    assert pickle.loads(pickle.dumps(train))[1][0] == train[1][0]
    for part in (train, test):
        part.source.reader.close()


@pytest.mark.usefixtures("_h5py")
def test_ssc_has_three_parts(tmp_path):
    for word in ("train", "valid", "test"):
        write_spikes(tmp_path / f"ssc_{word}.h5", samples=2, classes=35)
    parts = datasets.ssc(tmp_path)
    assert [part.name for part in parts] == ["SSC train", "SSC valid", "SSC test"]
    for part in parts:
        part.source.reader.close()


@pytest.mark.usefixtures("_h5py")
def test_absent_and_foreign_hdf5_files_are_named(tmp_path):
    with pytest.raises(DataFileError, match=r"SHD: no shd_train\.h5 in .*zenkelab\.org.*Cramer.*SHD"):
        datasets.shd(tmp_path)
    path = tmp_path / "some.h5"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataFileError, match=r"some\.h5: not an HDF5 file of spikes, or damaged: OSError"):
        datasets.read_spikes(path)
    write_spikes(path, labels=np.arange(20, 26))
    with pytest.raises(DataFileError, match=r"some\.h5: labels 20 to 25, but there are 20 classes"):
        datasets.read_spikes(path)
    write_spikes(path, labels=np.arange(5))
    with pytest.raises(DataFileError, match=r"labels, times and units have shapes \(5,\), \(6,\)"):
        datasets.read_spikes(path)
    write_spikes(path)
    narrow = datasets.read_spikes(path, units=20)
    with pytest.raises(DataFileError, match=r"some\.h5, sample 0: x\[\d+\]=\d+: must lie in \[0, 20\)"):
        narrow[0]


@pytest.mark.usefixtures("_h5py")
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows cannot stop a process")
def test_a_process_that_ends_or_hangs_is_an_error_and_the_next_question_is_answered(tmp_path):
    path = tmp_path / "some.h5"
    write_spikes(path)
    dataset = datasets.read_spikes(path)
    reader = dataset.source.reader
    good = dataset[0][0]
    reader.timeout = 0.2
    child = reader._process
    child.send_signal(signal.SIGSTOP)  # it will not answer
    with pytest.raises(DataFileError, match=r"ended the HDF5 library .*or took it more than 0\.2 s"):
        dataset[1]
    reader.timeout = 60
    assert dataset[0][0] == good
    assert reader._process is not child
    reader.close()


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "shd_train.h5").write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=re.escape(to_install("data"))):
        datasets.shd(tmp_path)


# ---------------------------------------------------------------------------------------- archives


def test_recordings_in_one_archive_round_trip(tmp_path):
    streams = [some_events(n, seed=n) for n in (30, 1, 50)]
    path = tmp_path / "all.npz"
    datasets.save_event_npz(path, dataset_of(*streams, targets=np.array([2, 0, 1])))
    dataset = datasets.event_npz(path, (34, 34))
    assert [dataset[i][0] for i in range(3)] == streams
    assert dataset.targets.tolist() == [2, 0, 1]
    assert dataset.classes == ("0", "1", "2")
    with pytest.raises(DataFileError, match=r"all\.npz, recording 0: x\[\d+\]=\d+: must lie in \[0, 8\)"):
        datasets.event_npz(path, (8, 34))[0]
    with pytest.raises(DataError, match=r"need Events with y and p"):
        datasets.save_event_npz(path, dataset_of(Events([0], [1], sensor=(700,))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": [0, 2, 3]}, r"do not fit: offset must ascend from 0 to the number of events"),
        ({"offset": [0, 5, 4]}, r"do not fit"),
        ({"label": [0, 1, 2]}, r"do not fit"),
        ({"x": [0, 1]}, r"do not fit"),
        ({"label": [0, -1]}, r"label must hold class indices"),
        ({"label": [0.0, 1.0]}, r"label must hold class indices"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, changes, message):
    columns = {name: [0, 1, 2, 3] for name in "txy"}
    path = tmp_path / "some.npz"
    np.savez(path, **{**columns, "p": [0, 1, 0, 1], "offset": [0, 2, 4], "label": [1, 0], **changes})
    with pytest.raises(DataFileError, match=rf"some\.npz: .*{message}"):
        datasets.event_npz(path, (34, 34))

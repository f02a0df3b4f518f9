"""C9: archives and IDX files that were made to do harm: headers that lie, and little that stands for much."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataError, DataFileError, EventDataset
from spikecore.samples import Dataset

MOST, SLACK = 200_000, 1 << 20
cases = pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.slow)])

pytestmark = pytest.mark.filterwarnings("ignore:Reading .* as it was created on Python 2:UserWarning")  # NumPy's

SHAPES = (
    "(6,)", "(6, 2)", "(0,)", "()", "(-1,)", "(6, -2)", "(1000000000,)", "(10**30,)", "(99999999999999999999,)",
    "(6.0,)", "('6',)", "[6]", "6", "None", "(True,)", "(6, (2,))", "(" * 200 + ")" * 200, "(6,", "6)", "", "(1,) * 40",
    "{}", f"({'1, ' * 40}6)", "(65536, 65536)", "(9223372036854775807, 4)", "(4294967296, 4294967296)",
    "(0, 99999999999)", "(6L,)", "__import__('os')", "\x00", "é",
)  # fmt: skip
DESCRS = (
    "'<f8'", "'<f4'", "'|O'", "'<i8'", "'|u1'", "'|b1'", "'<U999999999'", "'<M8[s]'", "'<c16'", "'|V8'",
    "[('a', '<f8')]", "'x'", "''", "None", "5", "[]", "('<f8', (1000000,))", "('<f8', (9999999, 9999999))", "'<f8,<f8'",
    "'" + "f8," * 2000 + "f8'", "'<e'",
)  # fmt: skip


def header(rng, shape, descr):
    """A header of NumPy's format, mostly with one entry that it should not have."""
    order = rng.choice(["False"] * 5 + ["True", "'x'", "None"])
    kind = rng.randrange(6)
    if kind == 0:
        shape = rng.choice(SHAPES)
    elif kind == 1:
        descr = rng.choice(DESCRS)
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if kind == 2:
        at = rng.randrange(len(text))
        text = rng.choice(
            [text[:at], text[at:], text[:at] + chr(rng.randrange(1, 128)) + text[at:], "{'shape': (6,)}", text * 300]
        )
    data = text.encode("latin1", "replace") + b"\n"
    version = rng.choice([(1, 0)] * 8 + [(2, 0), (3, 0), (9, 9)])
    length = len(data) if rng.random() < 0.95 else rng.choice([0, 1, 2**16 - 1, 2**31])
    count = struct.pack("<H", min(length, 2**16 - 1)) if version == (1, 0) else struct.pack("<I", length)
    return (b"\x93NUMPY" if rng.random() < 0.97 else b"\x93numpy") + bytes(version) + count + data


def member(rng, array):
    body = np.ascontiguousarray(array).tobytes()
    kind = rng.randrange(8)
    if kind == 0:
        body = body[: rng.randrange(len(body) + 1)]
    elif kind == 1:
        body += b"\0" * rng.choice([1, 100, 3_000_000])  # compresses to next to nothing
    return header(rng, str(array.shape), repr(array.dtype.str)) + body


def archive(rng, arrays):
    """An archive in which some members, and sometimes its own tables, are not what they say."""
    target = io.BytesIO()
    packing = rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    with zipfile.ZipFile(target, "w", packing) as made:
        for name, array in arrays.items():
            if rng.random() > 0.05:
                made.writestr(f"{name}.npy", member(rng, array))
    data = bytearray(target.getvalue())
    if rng.random() < 0.2:  # sizes, methods and checksums in the archive's own tables
        for _ in range(rng.randrange(1, 4)):
            at = data.rfind(b"PK\x01\x02") + rng.randrange(46) if b"PK\x01\x02" in data else 0
            data[at] = rng.randrange(256)
    return bytes(data)


def outcomes(path, make, read, count):
    """(read, refused, the largest part of the permitted memory that was taken) of many files."""
    valid = refused = 0
    largest = 0.0
    tracemalloc.start()
    for case in range(count):
        path.write_bytes(make(random.Random(case)))
        tracemalloc.reset_peak()
        before, message = tracemalloc.get_traced_memory()[0], None
        try:
            found = read(path)
        except DataError as error:
            message = str(error)
        largest = max(largest, (tracemalloc.get_traced_memory()[1] - before) / (3 * MOST + SLACK))
        if message is None:
            assert isinstance(found, (Dataset, EventDataset, np.ndarray)), case
            valid += 1
        else:
            assert path.name in message, case
            refused += 1
    tracemalloc.stop()
    print(f"{valid} read, {refused} refused, memory {largest:.2f} of what is permitted")
    return valid, refused, largest


def check(found, count):
    valid, refused, largest = found
    assert valid > count // 50
    assert refused > count // 5
    assert largest < 1


@cases
def test_archives(tmp_path, count):
    """C9: errors name the file; nothing is allocated but what is permitted."""
    arrays = {"inputs": np.arange(12.0).reshape(6, 2), "targets": np.arange(6)}
    read = lambda path: datasets.read_npz(path, max_bytes=MOST)  # noqa: E731
    check(outcomes(tmp_path / "some.npz", lambda rng: archive(rng, arrays), read, count), count)


@cases
def test_archives_of_events(tmp_path, count):
    """C9: likewise, with six arrays that must fit each other."""
    arrays = {name: np.arange(6) for name in "txy"}
    arrays.update(p=np.arange(6) % 2 > 0, offset=np.array([0, 2, 6]), label=np.array([0, 1]))
    read = lambda path: datasets.event_npz(path, (34, 34), max_bytes=MOST)  # noqa: E731
    make = lambda rng: archive(rng, arrays) if rng.random() < 0.7 else gentle(rng, arrays)  # noqa: E731
    check(outcomes(tmp_path / "some.npz", make, read, count), count)


def gentle(rng, arrays):
    """An archive that is one, of arrays of which one may be another."""
    target, name = io.BytesIO(), rng.choice(sorted(arrays))
    others = [
        arrays[name][::-1],
        arrays[name] * 1000,
        arrays[name].astype(float),
        arrays[name][:1],
        np.zeros((2, 2)),
        arrays[name],
    ]
    np.savez_compressed(target, **{**arrays, name: rng.choice(others)})
    return target.getvalue()


@cases
def test_idx_files(tmp_path, count):
    """C9: any dtype, any extents, any amount of data, gzipped or not, cut or changed."""

    def make(rng):
        shape = [
            rng.choice([0, 1, 3, 4, 255, 65536, 2**32 - 1]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 70, 255]))
        ]
        if rng.random() < 0.4:
            shape = [3, 4]
        code, width = rng.choice([(0x08, 1), (0x09, 1), (0x0B, 2), (0x0C, 4), (0x0D, 4), (0x0E, 8), (0x0A, 1)])
        honest = int(np.prod([*shape, width], dtype=float)) if len(shape) < 4 else 0
        size = rng.choice([min(honest, 100_000)] * 4 + [0, 7, 3_000_000])
        data = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + b"\0" * size
        data = gzip.compress(data, 1) if rng.random() < 0.5 else data
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
            data = rng.choice([data[:at], data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]])
        return data

    check(outcomes(tmp_path / "some-idx", make, lambda path: datasets.read_idx(path, max_bytes=MOST), count), count)


# ---- bombs ---------------------------------------------------------------------------------------------------------


def bomb(path, shape):
    """An archive of zeros whose file is a thousandth of them."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape},), }}".ljust(117).encode() + b"\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("inputs.npy", "w") as member:
        member.write(head)
        for _ in range(shape // 1_000_000):
            member.write(bytes(1_000_000))


def peak_of(call):
    tracemalloc.start()
    try:
        call()
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


@pytest.mark.parametrize("most", [1_000_000, 10_000_000])
def test_a_bomb_is_refused_by_its_header(tmp_path, most):
    """C9: an honest one, whose header says how large it is; who trusts the file gives a larger max_bytes."""
    path = tmp_path / "bomb.npz"
    bomb(path, 30_000_000)
    assert path.stat().st_size < 100_000

    def refused():
        with pytest.raises(
            DataFileError, match=rf"bomb\.npz: its arrays take 30,000,000 bytes, more than max_bytes={most:,}"
        ):
            datasets.read_npz(path, targets="inputs", max_bytes=most)

    assert peak_of(refused) < SLACK
    assert len(datasets.read_npz(path, targets="inputs", max_bytes=60_000_000)) == 30_000_000


def test_a_header_is_read_no_further_than_it_may(tmp_path):
    """C9: it says how long it is, and zeros without end follow."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("inputs.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 30_000_000) + bytes(30_000_000))

    def refused():
        with pytest.raises(DataFileError, match=r"bomb\.npz: cannot be read"):
            datasets.read_npz(path, targets="inputs")

    assert peak_of(refused) < SLACK


@pytest.mark.parametrize("announced", [12, 30_000_000])
def test_a_gzip_bomb_is_read_no_further_than_it_may(tmp_path, announced):
    """C9: whether its header says how large it is or not."""
    path = tmp_path / "bomb-idx"
    path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, announced) + bytes(30_000_000)))

    def refused():
        with pytest.raises(
            DataFileError, match=r"longer than announced|take 30,000,000 bytes, more than max_bytes=1,000,000"
        ):
            datasets.read_idx(path, max_bytes=1_000_000)

    assert peak_of(refused) < 4 * SLACK
    if announced > 12:
        assert datasets.read_idx(path).shape == (announced,)

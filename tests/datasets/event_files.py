"""Minimal valid files of event data sets, and damage done to them, for the tests of their readers."""

from __future__ import annotations

import random
import struct

import numpy as np

from spikecore.datasets import Events
from spikecore.datasets.event_dataset import EventDataset, InMemory


def some_events(count=200, sensor=(34, 34), seed=0, duration=300_000, polarity=True):
    """Random events; a one-dimensional sensor has no y."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, duration, count))
    columns = [rng.integers(0, extent, count) for extent in sensor]
    return Events(t, *columns, p=rng.integers(0, 2, count) if polarity else None, sensor=sensor)


def dataset_of(*streams, targets=None, name="made up"):
    targets = np.arange(len(streams)) % 3 if targets is None else targets
    return EventDataset(InMemory(list(streams)), targets, name, ("a", "b", "c"))


def nmnist_bytes(events):
    """Five bytes for each event; times below 2²³ µs."""
    columns = zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist())
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in columns)


def write_nmnist(root, per_class=2, count=50):
    """Train and Test with `per_class` recordings of each digit; returns {path: Events}."""
    written = {}
    for part in ("Train", "Test"):
        for label in range(10):
            folder = root / part / str(label)
            folder.mkdir(parents=True)
            for n in range(per_class):
                number = 1 + n * 10 + label
                events = some_events(count, seed=number + 1000 * (part == "Test"))
                path = folder / f"{number:05d}.bin"
                path.write_bytes(nmnist_bytes(events))
                written[path] = events
    return written


def aedat2_bytes(events):
    """AEDAT 2.0 of a DVS128, whose columns and rows are exchanged and count from the far corner."""
    address = (127 - events.x.astype(np.uint32)) << 8 | (127 - events.y.astype(np.uint32)) << 1 | (1 - events.p)
    pairs = np.stack([address, events.t.astype(np.uint32)], 1).astype(">u4")
    return b"#!AER-DAT2.0\r\n# Timestamps tick is 1 us\r\n" + pairs.tobytes()


AEDAT_HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-01-01\r\n#!END-HEADER\r\n"


def aedat_packet(events, kind=1, overflows=0, valid=None):
    valid = np.ones(len(events), np.uint32) if valid is None else np.asarray(valid, np.uint32)
    word = (events.x.astype(np.uint32) << 17) | (events.y.astype(np.uint32) << 2)
    word |= (events.p.astype(np.uint32) << 1) | valid
    pairs = np.stack([word, events.t.astype(np.uint32)], 1).astype("<u4")
    count = len(events)
    return struct.pack("<hhiiiiii", kind, 1, 8, 4, overflows, count, count, int(valid.sum())) + pairs.tobytes()


def aedat_bytes(events, per_packet=64):
    packets = [aedat_packet(events[i : i + per_packet]) for i in range(0, len(events), per_packet)]
    return AEDAT_HEADER + b"".join(packets)


def write_gesture(root, subjects=3, trials=4):
    """Recordings of `trials` gestures of 50 ms each, the last subject for testing; returns {name: Events}."""
    root.mkdir(parents=True, exist_ok=True)
    written = {}
    for subject in range(subjects):
        name = f"user{subject + 1:02d}_led.aedat"
        events = some_events(600, (128, 128), seed=subject, duration=(trials + 1) * 60_000)
        (root / name).write_bytes(aedat_bytes(events))
        rows = [
            f"{1 + (trial + subject) % 11},{trial * 60_000 + 5000},{trial * 60_000 + 55_000}" for trial in range(trials)
        ]
        table = "\n".join(["class,startTime_usec,endTime_usec", *rows]) + "\n"
        (root / name.replace(".aedat", "_labels.csv")).write_text(table)
        written[name] = events
    names = list(written)
    (root / "trials_to_train.txt").write_text("\n".join(names[:-1]) + "\n\n")
    (root / "trials_to_test.txt").write_text(names[-1])
    return written


def write_spikes(path, samples=6, units=700, seed=0, classes=20, labels=None):
    """An HDF5 file with the layout of SHD; returns the spikes as (seconds, units), and the labels."""
    import h5py

    rng = np.random.default_rng(seed)
    spikes = []
    with h5py.File(path, "w") as file:
        group = file.create_group("spikes")
        times = group.create_dataset("times", (samples,), dtype=h5py.vlen_dtype(np.float16))
        fired = group.create_dataset("units", (samples,), dtype=h5py.vlen_dtype(np.uint16))
        for i in range(samples):
            count = int(rng.integers(5, 40))
            spikes.append((np.sort(rng.random(count)).astype(np.float16), rng.integers(0, units, count, np.uint16)))
            times[i], fired[i] = spikes[-1]
        labels = rng.integers(0, classes, samples).astype(np.uint16) if labels is None else labels
        file["labels"] = labels
        file["extra/keys"] = np.array([f"class {n}".encode() for n in range(classes)])
    return spikes, labels


def damaged(good, case):
    """A copy of a file's bytes with something wrong, the same for the same case: bytes changed, put in, or cut off."""
    rng, data = random.Random(case), bytearray(good)
    written = [i for i, byte in enumerate(good) if byte]  # where a format keeps its numbers
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = min(rng.choice(written) if rng.random() < 0.7 else rng.randrange(len(good)), len(data) - 1)
        kind = rng.random()
        if kind < 0.5:
            data[at] = rng.randrange(256)
        elif kind < 0.7:
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.9:
            data[at] = rng.choice((0, 255, 127, 128))
        elif kind < 0.97:
            data[at:at] = bytes([rng.randrange(256)])
        else:
            del data[at + 1 :]
    return bytes(data)

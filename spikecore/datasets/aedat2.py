"""AEDAT 2.0 of the camera DVS128, the format of CIFAR10-DVS and MNIST-DVS.

A file begins with text lines that start with "#". Events follow: an address and a time in µs, both of four bytes,
big-endian. Of an address, bit 0 is the polarity (0 is ON), bits 1–7 are the column and bits 8–14 the row, both counted
from the far corner of the picture; bit 15 marks signals that are no pixel's.
"""

from __future__ import annotations

import numpy as np

from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.events import Events
from spikecore.datasets.places import PathLike, content

FIRST, SENSOR, SIGNAL = b"#!AER-DAT2.0", (128, 128), 1 << 15
FAR = 127


@checked
def read_aedat2(path: PathLike) -> Events:
    """Read the events of an AEDAT 2.0 file of the camera DVS128, 128×128 pixels.

    Columns and rows are exchanged and count from the other corner, and polarities are swapped: the picture is upright,
    as it is in MATLAB's `dat2mat.m` of the data's authors, in tonic and in SpikingJelly. Signals that are no pixel's
    are left out.

    Args:
        path: the file.

    Raises:
        DataFileError: the file is absent, of another version, without events, cut off or damaged.
    """
    data = content(path)
    if not data.startswith(FIRST):
        raise DataFileError(f"{path}: not AEDAT 2.0: starts with {data[:12]!r}, not with {FIRST!r}")
    start = 0
    while data[start : start + 1] == b"#":
        end = data.find(b"\n", start)
        if end < 0:
            raise DataFileError(f"{path}: damaged: its header of text lines does not end")
        start = end + 1
    if start == len(data) or (len(data) - start) % 8:
        raise DataFileError(
            f"{path}: {len(data) - start} bytes after its header: there are 8 for each event, and at least one event"
        )
    address, t = np.frombuffer(data, ">u4", offset=start).reshape(-1, 2).T.astype(np.int64)
    if (address >> 16).any():
        row = int(np.flatnonzero(address >> 16)[0])
        raise DataFileError(f"{path}: damaged, or not of a DVS128: event {row} has the address {int(address[row]):#x}")
    pixel = (address & SIGNAL) == 0
    address, t = address[pixel], t[pixel]
    x, y = FAR - (address >> 8 & FAR), FAR - (address >> 1 & FAR)
    try:
        return Events.from_unsorted(t, x, y, 1 - (address & 1), sensor=SENSOR, origin="AEDAT 2.0")
    except DataError as error:
        raise DataFileError(f"{path}: {error}") from error

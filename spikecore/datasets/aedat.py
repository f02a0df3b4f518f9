"""AEDAT 3.1, the format of DVS-Gesture and of other recordings made with iniVation's cameras.

A file begins with text lines that start with "#"; the last one is "#!END-HEADER". Packets follow. A packet has a header
of 28 bytes and events of one type; all integers are little-endian. A polarity event has two words: data (bit 0 valid,
bit 1 polarity, bits 2–16 y, bits 17–31 x) and time in µs. The time's upper bits are in the packet's header, as the
number of overflows.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import BinaryIO, List, Tuple

import numpy as np

from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.events import Events
from spikecore.datasets.places import PathLike, content

FIRST, LAST = b"#!AER-DAT3.1", b"#!END-HEADER"
HEADER = struct.Struct("<hhiiiiii")  # type, source, event size, time offset, overflows, capacity, events, valid events
POLARITY, EVENT_BYTES, TIME_OFFSET = 1, 8, 4
MOST_HEADER = 1 << 20


@dataclass(frozen=True)
class Packets:
    """Positions and times of the polarity packets of a file.

    Args:
        offset, events: first byte and number of events of each packet; int64 (packets,).
        first, last: earliest and latest time of each packet in µs; int64 (packets,).
        overflows: the bits above the 31 bits of a packet's times; int64 (packets,).
        whole: False if the file ends within a packet, for example because the recording was cut off.
    """

    offset: np.ndarray
    events: np.ndarray
    first: np.ndarray
    last: np.ndarray
    overflows: np.ndarray
    whole: bool

    def during(self, start: int, stop: int) -> Packets:
        """The packets that may hold events with start ≤ t < stop."""
        overlaps = (self.first < stop) & (self.last >= start)
        columns = {name: getattr(self, name)[overlaps] for name in ("offset", "events", "first", "last", "overflows")}
        return replace(self, **columns)


@checked
def read_aedat(path: PathLike, sensor: Tuple[int, int] = (128, 128)) -> Events:
    """Read all valid polarity events of an AEDAT 3.1 file; other events are left out.

    Args:
        path: the file.
        sensor: (width, height) of the camera.

    Raises:
        DataFileError: the file is absent, of another version, cut off or damaged, or has events outside the sensor.
    """
    data = content(path)
    packets = find_packets(path, data)
    if not packets.whole:
        raise DataFileError(f"{path}: cut off within a packet, after {int(packets.events.sum())} events")
    return read_packets(path, io.BytesIO(data), packets, sensor)


def find_packets(path: PathLike, data: bytes) -> Packets:
    """Find the polarity packets in the bytes of a file; ``path`` is for messages."""
    position, whole = _header_end(path, data), True
    rows: List[Tuple[int, ...]] = []
    while position < len(data):
        if position + HEADER.size > len(data):
            whole = False
            break
        kind, _, size, offset, overflows, capacity, events, _ = HEADER.unpack_from(data, position)
        _check_header(path, position, kind, size, offset, overflows, capacity, events)
        start, position = position + HEADER.size, position + HEADER.size + size * events
        if position > len(data):
            whole = False
            break
        if kind == POLARITY and events:
            t = np.frombuffer(data, "<i4", 2 * events, start)[1::2].astype(np.int64)
            if t.min() < 0:
                raise DataFileError(f"{path}: an event of the packet at byte {start} has a negative time")
            base = overflows << 31
            rows.append((start, events, base + int(t.min()), base + int(t.max()), overflows))
    offset, events_, first, last, overflows_ = np.array(rows, np.int64).reshape(-1, 5).T
    return Packets(offset, events_, first, last, overflows_, whole)


def read_packets(path: PathLike, file: BinaryIO, packets: Packets, sensor: Tuple[int, int]) -> Events:
    """The valid events of these packets."""
    words, times = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for offset, events, overflows in zip(packets.offset, packets.events, packets.overflows):
        file.seek(int(offset))
        pairs = np.frombuffer(file.read(EVENT_BYTES * int(events)), "<u4")
        words.append(pairs[0::2])
        times.append(pairs[1::2].astype(np.int64) + (int(overflows) << 31))
    word, t = np.concatenate(words), np.concatenate(times)
    valid = (word & 1) == 1
    word, t = word[valid], t[valid]
    x, y, p = word >> np.uint32(17), (word >> np.uint32(2)) & np.uint32(0x7FFF), (word >> np.uint32(1)) & np.uint32(1)
    try:
        return Events.from_unsorted(t, x, y, p, sensor=sensor, origin="AEDAT")
    except DataError as error:
        raise DataFileError(f"{path}: {error}") from error


def _header_end(path: PathLike, data: bytes) -> int:
    """The position of the first byte after the text header."""
    start = data[:MOST_HEADER]
    if not start.startswith(FIRST):
        raise DataFileError(f"{path}: not AEDAT 3.1: starts with {start[:12]!r}, not with {FIRST!r}")
    position = 0
    while start[position : position + 1] == b"#":
        end = start.find(b"\n", position)
        if end < 0:
            break
        line, position = start[position:end].strip(), end + 1
        if line == LAST:
            return position
    raise DataFileError(f"{path}: damaged: its header of text lines does not end with {LAST!r}")


def _check_header(path: PathLike, at: int, kind: int, size: int, offset: int, over: int, room: int, count: int) -> None:
    fault = None
    if kind < 0 or size < 1 or count < 0 or room < count or over < 0:
        fault = f"type {kind}, event size {size}, {count} events of at most {room}, {over} overflows"
    elif kind == POLARITY and (size, offset) != (EVENT_BYTES, TIME_OFFSET):
        fault = f"polarity events of {size} bytes with the time at byte {offset}, not {EVENT_BYTES} and {TIME_OFFSET}"
    if fault:
        raise DataFileError(f"{path}: damaged: the packet at byte {at} has {fault}")

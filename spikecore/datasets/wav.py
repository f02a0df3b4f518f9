"""WAV files: chunks with a name and a size each, of which `fmt ` says how to read the samples in `data`."""

from __future__ import annotations

import struct
from typing import Dict, Tuple

import numpy as np

from spikecore.datasets.errors import DataFileError, checked
from spikecore.datasets.limits import MOST_BYTES, check_size
from spikecore.datasets.places import PathLike, content, stamp
from spikecore.datasets.sound import Sound

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
FORMATS = {2: "ADPCM", 6: "A-law", 7: "µ-law", 17: "IMA ADPCM", 49: "GSM", 85: "MP3"}
#: For each kind of samples and number of bits: the dtype, and the value that stands for 1.
KINDS: Dict[Tuple[int, int], Tuple[str, float]] = {
    (PCM, 8): ("u1", 128.0),
    (PCM, 16): ("<i2", 2.0**15),
    (PCM, 24): ("u1", 2.0**31),  # read byte by byte, as the upper three of four
    (PCM, 32): ("<i4", 2.0**31),
    (FLOAT, 32): ("<f4", 1.0),
    (FLOAT, 64): ("<f8", 1.0),
}


@checked
def read_wav(path: PathLike, *, max_bytes: int = MOST_BYTES) -> Sound:
    """Read one WAV file: integers of 8, 16, 24 or 32 bits, or floats of 32 or 64.

    Integers are scaled to [-1, 1). Several channels are averaged.

    Args:
        path: the file.
        max_bytes: most bytes of memory that the samples may take. Default: 4 GiB.

    Raises:
        DataFileError: the file is absent, not WAV, cut off, empty, compressed, or too large; or a sample is not finite.
    """
    check_size(path, stamp(path)[1], max_bytes)
    data = content(path)
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise DataFileError(f"{path}: not a WAV file: starts with {data[:12]!r}, not with RIFF, its size and WAVE")
    chunks = _chunks(path, data)
    for name in (b"fmt ", b"data"):
        if name not in chunks:
            raise DataFileError(f"{path}: has no chunk {name.decode()!r}: cut off, or damaged")
    kind, channels, rate, bits, frame = _format(path, chunks[b"fmt "])
    raw = chunks[b"data"]
    if not len(raw) or len(raw) % frame:
        raise DataFileError(
            f"{path}: {len(raw)} bytes of samples; need a multiple of {frame}, the bytes of {channels} channel(s) of "
            f"{bits} bits, and one at least"
        )
    check_size(path, 8 * len(raw) * 8 // bits, max_bytes)
    samples = _samples(raw, kind, bits).reshape(-1, channels)
    samples = samples[:, 0] if channels == 1 else samples.mean(axis=1)
    wrong = np.flatnonzero(~np.isfinite(samples))
    if len(wrong):
        raise DataFileError(f"{path}: sample {wrong[0]} is {samples[wrong[0]]}, which is no pressure")
    return Sound(samples, rate)


def _chunks(path: PathLike, data: bytes) -> Dict[bytes, memoryview]:
    """The first chunk of each name. A chunk begins at an even place."""
    found: Dict[bytes, memoryview] = {}
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if place + size > len(data):
            raise DataFileError(
                f"{path}: cut off: its chunk {name!r} has {size} bytes by its header, but the file ends after "
                f"{len(data) - place} of them"
            )
        found.setdefault(name, memoryview(data)[place : place + size])
        place += size + size % 2
    return found


def _format(path: PathLike, chunk: memoryview) -> Tuple[int, int, int, int, int]:
    """Kind of samples, number of channels, rate, bits of a sample, bytes of all channels."""
    if len(chunk) < 16:
        raise DataFileError(f"{path}: its chunk 'fmt ' has {len(chunk)} bytes; need at least 16")
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == EXTENSIBLE and len(chunk) >= 26:
        kind = struct.unpack_from("<H", chunk, 24)[0]  # the first bytes of the format's GUID
    if (kind, bits) not in KINDS:
        name = {PCM: f"integers of {bits} bits", FLOAT: f"floats of {bits} bits"}.get(kind)
        name = name or f"format {kind}{f', {FORMATS[kind]}' if kind in FORMATS else ''}"
        raise DataFileError(
            f"{path}: samples are {name}; can read integers of 8, 16, 24 and 32 bits and floats of 32 and 64: convert "
            "the file, for example by sox or ffmpeg"
        )
    if not channels or not rate or frame != channels * bits // 8:
        raise DataFileError(
            f"{path}: damaged header: {channels} channels of {bits} bits at {rate} Hz, {frame} bytes for all of them"
        )
    return kind, channels, rate, bits, frame


def _samples(raw: memoryview, kind: int, bits: int) -> np.ndarray:
    """The samples of all channels in turn, float64."""
    dtype, one = KINDS[kind, bits]
    values = np.frombuffer(raw, dtype)
    if (kind, bits) == (PCM, 24):
        upper = np.zeros((len(values) // 3, 4), np.uint8)
        upper[:, 1:] = values.reshape(-1, 3)
        values = upper.view("<i4")[:, 0]
    samples = values.astype(np.float64) / one
    return samples - 1.0 if bits == 8 else samples  # bytes have no sign: 128 is silence

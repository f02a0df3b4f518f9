"""Limits of the memory that a file may need. A small file can need much memory, by mistake or on purpose."""

from __future__ import annotations

from spikecore.datasets.errors import DataFileError
from spikecore.datasets.places import PathLike

MOST_BYTES = 4 << 30
DEFLATED = 1032  # most bytes of data per byte of zlib's format


def check_size(path: PathLike, needed: int, most: int, what: str = "its arrays") -> None:
    """Refuse arrays that need more bytes of memory than `most`.

    Raises:
        DataFileError: names the file and both numbers.
    """
    if needed > most:
        raise DataFileError(
            f"{path}: {what} take {needed:,} bytes, more than max_bytes={most:,}; if you trust the file, pass a "
            "larger max_bytes"
        )

"""How much memory a file may ask for: little of it can stand for much, by mistake or on purpose."""

from __future__ import annotations

from spikecore.datasets.errors import DataFileError
from spikecore.datasets.places import PathLike

MOST_BYTES = 4 << 30
DEFLATED = 1032  # bytes that one byte of zlib's format can stand for


def check_size(path: PathLike, needed: int, most: int) -> None:
    """Refuse arrays that take more memory than they may.

    Raises:
        DataFileError: names the file and both numbers.
    """
    if needed > most:
        raise DataFileError(
            f"{path}: its arrays take {needed:,} bytes, more than max_bytes={most:,}; for a file that you trust give a "
            "larger max_bytes"
        )

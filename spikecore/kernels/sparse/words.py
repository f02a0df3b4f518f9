"""Sizes that the kernels of this room share, and what their code depends on; nothing here needs Numba."""

from __future__ import annotations

import hashlib
import pathlib
from functools import lru_cache

WORD = 64  # bits of a word, elements of the longest vector
LINE = 64  # bytes of a cache line, where panels and their rows begin


@lru_cache(maxsize=None)
def digest() -> str:
    """A text that changes with the functions in ``vectors.py``, which compiled code depends on."""
    source = (pathlib.Path(__file__).parent / "vectors.py").read_bytes()
    return hashlib.blake2b(source, digest_size=8).hexdigest()

"""A short name for the way data were made. It changes when the way changes."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from spikecore.datasets.errors import DataError


def fingerprint(*parts: Any) -> str:
    """A digest of values: 20 hexadecimal digits. Equal values have equal digests, in every process.

    Args:
        parts: numbers, strings, None, arrays, tuples, lists and dicts of these, and dataclasses, by class and fields.

    Raises:
        DataError: a value's contents cannot be compared; it is, for example, a function.
    """
    return hashlib.blake2b(_spelled(parts).encode(), digest_size=10).hexdigest()


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).hexdigest()
        return f"array {value.dtype.str} {value.shape} {digest}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_spelled, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{_spelled(k)}: {_spelled(v)}' for k, v in value.items()))}}}"
    if is_dataclass(value) and not isinstance(value, type):
        parts = (f"{field.name}={_spelled(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__module__}.{type(value).__qualname__}({', '.join(parts)})"
    raise DataError(
        f"{value!r} cannot be told from another {type(value).__name__}, so a cache would not notice a change: "
        "write it as a frozen dataclass with __call__, or map it after the cache"
    )

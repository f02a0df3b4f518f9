"""The error for data that cannot be used, and the check of arguments that raises it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from spikecore import arguments


class DataError(ValueError):
    """Data, or an argument about data, cannot be used."""


checked = functools.partial(arguments.checked, refusal=DataError)


def integer(name: str, value: Any, *, at_least: int) -> int:
    """The value as an int; raises DataError if it is none, or less than `at_least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise DataError(f"{name}={value!r}: need an integer of at least {at_least}")
    return int(value)

"""What can be wrong with data: one family of errors, each message naming the thing and the remedy."""

from __future__ import annotations

import functools

from spikecore import arguments


class DataError(ValueError):
    """Data that cannot be used as asked."""


class DataFileError(DataError):
    """A data file that is absent, of another format, or damaged."""


checked = functools.partial(arguments.checked, refusal=DataError)


class MissingExtraError(DataError, ImportError):
    """A data set that needs a package which is not installed."""

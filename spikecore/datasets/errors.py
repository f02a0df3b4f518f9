"""Errors about data. Each message names the file or argument and the remedy."""

from __future__ import annotations

import functools

from spikecore import arguments


class DataError(ValueError):
    """Data, or an argument about data, cannot be used."""


class DataFileError(DataError):
    """A data file is absent, of another format, or damaged."""


checked = functools.partial(arguments.checked, refusal=DataError)


class MissingExtraError(DataError, ImportError):
    """A data set needs a package that is not installed."""

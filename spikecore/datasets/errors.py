"""Errors about data. Each message names the file or argument and the remedy."""

from __future__ import annotations

from spikecore.samples import DataError as DataError
from spikecore.samples import checked as checked


class DataFileError(DataError):
    """A data file is absent, of another format, or damaged."""


class MissingExtraError(DataError, ImportError):
    """A data set needs a package that is not installed."""

"""The error of what cannot be converted."""

from __future__ import annotations


class ConversionError(ValueError):
    """A network cannot be converted; the message names the layer by its path and says what to write instead."""

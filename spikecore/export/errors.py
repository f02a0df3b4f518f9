"""The error of what a target cannot express."""

from __future__ import annotations


class ExportError(ValueError):
    """A network cannot be exported; the message names the layer and says what to do. Nothing has been written."""

"""Errors and warnings, for ``except`` and for filters of warnings; what messages say to do is in the messages.

    try:
        model = sc.load("model.sc")
    except sc.errors.CheckpointError as error:
        print(error)

Errors of a room, such as ``datasets.DataError``, are in its module. All others are Python's own, mostly ``ValueError``.
"""

from __future__ import annotations

from spikecore.on_use import names_on_use

__getattr__, __dir__, __all__ = names_on_use(__name__)

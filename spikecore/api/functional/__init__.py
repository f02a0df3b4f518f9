"""Losses, metrics and distances, written once in vocabulary words."""

from spikecore.on_use import names_on_use

__getattr__, __dir__, __all__ = names_on_use(__name__, "loss or metric")

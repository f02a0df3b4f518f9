"""Spiking neurons: one file per family, one ``step`` each."""

from spikecore.on_use import names_on_use

__getattr__, __dir__, __all__ = names_on_use(__name__, "neuron")

"""Quantisation by snnTorch's name, ``state_quant``; see ``spikecore.compression`` for grids and whole networks."""

from spikecore.api.functional.quant import state_quant as state_quant

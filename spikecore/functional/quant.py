"""State quantisation; see ``spikecore.api.functional.quant``."""

from spikecore.api.functional.quant import state_quant as state_quant

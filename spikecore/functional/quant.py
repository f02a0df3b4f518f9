"""Quantisation; see ``spikecore.api.functional.quant`` and ``quantisers``."""

from spikecore.api.functional.quant import state_quant as state_quant
from spikecore.api.functional.quantisers import FixedPoint as FixedPoint
from spikecore.api.functional.quantisers import ScaledInteger as ScaledInteger

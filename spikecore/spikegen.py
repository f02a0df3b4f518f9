"""Encoders; see ``spikecore.api.spikegen``."""

from spikecore.api.spikegen import constant as constant
from spikecore.api.spikegen import latency as latency
from spikecore.api.spikegen import rate as rate

"""Metrics, in the module in which snnTorch has them; see ``spikecore.api.functional.accuracy``."""

from spikecore.api.functional import accuracy_membrane as accuracy_membrane
from spikecore.api.functional import accuracy_rate as accuracy_rate
from spikecore.api.functional import accuracy_temporal as accuracy_temporal

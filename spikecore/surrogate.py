"""Surrogate gradients; see ``spikecore.api.surrogate``."""

from spikecore.api.surrogate import Surrogate as Surrogate
from spikecore.api.surrogate import atan as atan
from spikecore.api.surrogate import fast_sigmoid as fast_sigmoid
from spikecore.api.surrogate import sigmoid as sigmoid
from spikecore.api.surrogate import straight_through_estimator as straight_through_estimator

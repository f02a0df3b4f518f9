"""Learning-rate schedules; see ``spikecore.api.training.schedules``."""

from spikecore.api.training.schedules import constant as constant
from spikecore.api.training.schedules import cosine as cosine
from spikecore.api.training.schedules import step as step

"""Learning-rate schedules; see ``spikecore.api.schedule``."""

from spikecore.api.schedule import constant as constant
from spikecore.api.schedule import cosine as cosine
from spikecore.api.schedule import step as step

"""Learning-rate schedules; see ``spikecore.api.training.schedules``."""

from spikecore.api.training.schedules import constant as constant
from spikecore.api.training.schedules import cosine as cosine
from spikecore.api.training.schedules import exponential as exponential
from spikecore.api.training.schedules import one_cycle as one_cycle
from spikecore.api.training.schedules import reduce_on_plateau as reduce_on_plateau
from spikecore.api.training.schedules import step as step

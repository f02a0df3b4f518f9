"""Losses and metrics; see ``spikecore.api.functional``."""

from spikecore.api.functional import Loss as Loss
from spikecore.api.functional import accuracy_rate as accuracy_rate
from spikecore.api.functional import ce_count_loss as ce_count_loss
from spikecore.api.functional import ce_rate_loss as ce_rate_loss
from spikecore.api.functional import mse_count_loss as mse_count_loss
from spikecore.api.functional import mse_membrane_loss as mse_membrane_loss

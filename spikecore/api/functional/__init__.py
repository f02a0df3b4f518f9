"""Losses and metrics, written once in vocabulary words."""

from spikecore.api.functional.accuracy import accuracy_rate as accuracy_rate
from spikecore.api.functional.loss import Loss as Loss
from spikecore.api.functional.loss import ce_count_loss as ce_count_loss
from spikecore.api.functional.loss import ce_rate_loss as ce_rate_loss
from spikecore.api.functional.loss import mse_count_loss as mse_count_loss
from spikecore.api.functional.loss import mse_membrane_loss as mse_membrane_loss

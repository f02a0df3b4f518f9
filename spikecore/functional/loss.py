"""Losses, in the module in which snnTorch has them; see ``spikecore.api.functional``."""

from spikecore.api.functional import Loss as LossFunctions  # noqa: F401
from spikecore.api.functional import SpikeTime as SpikeTime
from spikecore.api.functional import ce_count_loss as ce_count_loss
from spikecore.api.functional import ce_max_membrane_loss as ce_max_membrane_loss
from spikecore.api.functional import ce_membrane_loss as ce_membrane_loss
from spikecore.api.functional import ce_rate_loss as ce_rate_loss
from spikecore.api.functional import ce_temporal_loss as ce_temporal_loss
from spikecore.api.functional import mse_count_loss as mse_count_loss
from spikecore.api.functional import mse_membrane_loss as mse_membrane_loss
from spikecore.api.functional import mse_temporal_loss as mse_temporal_loss

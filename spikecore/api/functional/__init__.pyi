"""The names of ``spikecore.api.functional``, each imported on first use."""

from spikecore.api.functional.accuracy import accuracy_membrane as accuracy_membrane
from spikecore.api.functional.accuracy import accuracy_rate as accuracy_rate
from spikecore.api.functional.accuracy import accuracy_temporal as accuracy_temporal
from spikecore.api.functional.ctc import ctc_decode as ctc_decode
from spikecore.api.functional.ctc import ctc_loss as ctc_loss
from spikecore.api.functional.ctc import label_error_rate as label_error_rate
from spikecore.api.functional.distance import van_rossum_distance as van_rossum_distance
from spikecore.api.functional.distance import victor_purpura_distance as victor_purpura_distance
from spikecore.api.functional.loss import Loss as Loss
from spikecore.api.functional.loss import ce_count_loss as ce_count_loss
from spikecore.api.functional.loss import ce_max_membrane_loss as ce_max_membrane_loss
from spikecore.api.functional.loss import ce_membrane_loss as ce_membrane_loss
from spikecore.api.functional.loss import ce_rate_loss as ce_rate_loss
from spikecore.api.functional.loss import mse_count_loss as mse_count_loss
from spikecore.api.functional.loss import mse_membrane_loss as mse_membrane_loss
from spikecore.api.functional.loss import tet_loss as tet_loss
from spikecore.api.functional.regulariser import Regulariser as Regulariser
from spikecore.api.functional.regulariser import event_rate_loss as event_rate_loss
from spikecore.api.functional.regulariser import l1_rate_sparsity as l1_rate_sparsity
from spikecore.api.functional.regulariser import silence_loss as silence_loss
from spikecore.api.functional.regulariser import sparsity_loss as sparsity_loss
from spikecore.api.functional.similarity import spike_similarity_loss as spike_similarity_loss
from spikecore.api.functional.spike_time import SpikeTime as SpikeTime
from spikecore.api.functional.spikemax import spikemax_loss as spikemax_loss
from spikecore.api.functional.temporal import ce_temporal_loss as ce_temporal_loss
from spikecore.api.functional.temporal import mse_temporal_loss as mse_temporal_loss

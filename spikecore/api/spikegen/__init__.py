"""Encoders: they convert numbers to spike trains.

An encoder takes an array of any engine and returns one of the same engine, dtype and device, time first. Without a
``seed``, random encoders give other spikes at every call; ``np.random.seed`` (arrays) and ``torch.manual_seed``
(tensors) make them repeatable. With a ``seed`` (an int, or a tuple of ints and strings) they give bit-identical spikes
at every call and on every engine. With ``first``, the number of the first sample, a batch can be encoded in parts.
"""

from spikecore.api.spikegen.levels import burst as burst
from spikecore.api.spikegen.levels import constant as constant
from spikecore.api.spikegen.levels import phase as phase
from spikecore.api.spikegen.levels import population as population
from spikecore.api.spikegen.levels import receptive_fields as receptive_fields
from spikecore.api.spikegen.onehot import from_one_hot as from_one_hot
from spikecore.api.spikegen.onehot import to_one_hot as to_one_hot
from spikecore.api.spikegen.onehot import to_one_hot_inverse as to_one_hot_inverse
from spikecore.api.spikegen.rate import poisson as poisson
from spikecore.api.spikegen.rate import rate as rate
from spikecore.api.spikegen.rate import rate_conv as rate_conv
from spikecore.api.spikegen.series import delta as delta
from spikecore.api.spikegen.series import level_crossing as level_crossing
from spikecore.api.spikegen.series import on_off as on_off
from spikecore.api.spikegen.series import threshold_crossing as threshold_crossing
from spikecore.api.spikegen.targets import targets_convert as targets_convert
from spikecore.api.spikegen.targets import targets_latency as targets_latency
from spikecore.api.spikegen.targets import targets_rate as targets_rate
from spikecore.api.spikegen.timing import latency as latency
from spikecore.api.spikegen.timing import latency_code as latency_code
from spikecore.api.spikegen.timing import latency_code_linear as latency_code_linear
from spikecore.api.spikegen.timing import latency_code_log as latency_code_log
from spikecore.api.spikegen.timing import latency_interpolate as latency_interpolate
from spikecore.api.spikegen.trains import rate_interpolate as rate_interpolate
from spikecore.api.spikegen.trains import target_rate_code as target_rate_code

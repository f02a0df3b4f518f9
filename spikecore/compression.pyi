"""The names of ``spikecore.compression``: what ``compression.py`` resolves on first use, and what type checkers see."""

from spikecore.api.functional.quantisers import FixedPoint as FixedPoint
from spikecore.api.functional.quantisers import ScaledInteger as ScaledInteger
from spikecore.api.training.fold import fold_batch_norm as fold_batch_norm
from spikecore.api.training.mismatch import mismatch as mismatch
from spikecore.api.training.pruning import Pruning as Pruning
from spikecore.api.training.pruning import prune as prune
from spikecore.api.training.quantization_report import integers as integers
from spikecore.api.training.quantization_report import quantization_report as quantization_report
from spikecore.api.training.quantize import quantize as quantize
from spikecore.api.training.rewiring import Rewiring as Rewiring
from spikecore.api.training.rewiring import rewire as rewire
from spikecore.api.training.round_delays import round_delays as round_delays
from spikecore.api.training.sparsity import sparsity as sparsity

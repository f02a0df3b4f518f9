"""Regularisers, in the module in which snnTorch has them; see ``spikecore.api.functional.regulariser``."""

from spikecore.api.functional import l1_rate_sparsity as l1_rate_sparsity

"""Encoders; see ``spikecore.api.spikegen``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecore.api.core.messages import no_such as _no_such
from spikecore.api.spikegen import burst as burst
from spikecore.api.spikegen import constant as constant
from spikecore.api.spikegen import delta as delta
from spikecore.api.spikegen import from_one_hot as from_one_hot
from spikecore.api.spikegen import latency as latency
from spikecore.api.spikegen import latency_code as latency_code
from spikecore.api.spikegen import latency_code_linear as latency_code_linear
from spikecore.api.spikegen import latency_code_log as latency_code_log
from spikecore.api.spikegen import latency_interpolate as latency_interpolate
from spikecore.api.spikegen import level_crossing as level_crossing
from spikecore.api.spikegen import on_off as on_off
from spikecore.api.spikegen import phase as phase
from spikecore.api.spikegen import poisson as poisson
from spikecore.api.spikegen import population as population
from spikecore.api.spikegen import rate as rate
from spikecore.api.spikegen import rate_conv as rate_conv
from spikecore.api.spikegen import rate_interpolate as rate_interpolate
from spikecore.api.spikegen import receptive_fields as receptive_fields
from spikecore.api.spikegen import target_rate_code as target_rate_code
from spikecore.api.spikegen import targets_convert as targets_convert
from spikecore.api.spikegen import targets_latency as targets_latency
from spikecore.api.spikegen import targets_rate as targets_rate
from spikecore.api.spikegen import threshold_crossing as threshold_crossing
from spikecore.api.spikegen import to_one_hot as to_one_hot
from spikecore.api.spikegen import to_one_hot_inverse as to_one_hot_inverse

if not TYPE_CHECKING:  # a type checker that saw it would take any name

    def __getattr__(name: str) -> Any:
        raise _no_such("encoder", name, globals())

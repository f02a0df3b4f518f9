"""Losses, metrics, distances and reports; see ``spikecore.api.functional`` and ``spikecore.api.training.activity``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spikecore.api.core.messages import no_such as _no_such
from spikecore.api.functional import ClassReport as ClassReport
from spikecore.api.functional import Loss as Loss
from spikecore.api.functional import Regulariser as Regulariser
from spikecore.api.functional import SpikeTime as SpikeTime
from spikecore.api.functional import accuracy_membrane as accuracy_membrane
from spikecore.api.functional import accuracy_rate as accuracy_rate
from spikecore.api.functional import accuracy_step as accuracy_step
from spikecore.api.functional import accuracy_temporal as accuracy_temporal
from spikecore.api.functional import bce_value_loss as bce_value_loss
from spikecore.api.functional import ce_count_loss as ce_count_loss
from spikecore.api.functional import ce_max_membrane_loss as ce_max_membrane_loss
from spikecore.api.functional import ce_membrane_loss as ce_membrane_loss
from spikecore.api.functional import ce_rate_loss as ce_rate_loss
from spikecore.api.functional import ce_step_loss as ce_step_loss
from spikecore.api.functional import ce_temporal_loss as ce_temporal_loss
from spikecore.api.functional import class_report as class_report
from spikecore.api.functional import ctc_decode as ctc_decode
from spikecore.api.functional import ctc_loss as ctc_loss
from spikecore.api.functional import event_rate_loss as event_rate_loss
from spikecore.api.functional import huber_value_loss as huber_value_loss
from spikecore.api.functional import l1_rate_sparsity as l1_rate_sparsity
from spikecore.api.functional import label_error_rate as label_error_rate
from spikecore.api.functional import mse_count_loss as mse_count_loss
from spikecore.api.functional import mse_membrane_loss as mse_membrane_loss
from spikecore.api.functional import mse_temporal_loss as mse_temporal_loss
from spikecore.api.functional import mse_value_loss as mse_value_loss
from spikecore.api.functional import quantile_value_loss as quantile_value_loss
from spikecore.api.functional import silence_loss as silence_loss
from spikecore.api.functional import sparsity_loss as sparsity_loss
from spikecore.api.functional import spike_similarity_loss as spike_similarity_loss
from spikecore.api.functional import spikemax_loss as spikemax_loss
from spikecore.api.functional import tet_loss as tet_loss
from spikecore.api.functional import van_rossum_distance as van_rossum_distance
from spikecore.api.functional import victor_purpura_distance as victor_purpura_distance
from spikecore.api.training.activity import Activity as Activity
from spikecore.api.training.activity import Energy as Energy
from spikecore.api.training.activity import activity as activity

if TYPE_CHECKING:
    from spikecore.functional import acc as acc
    from spikecore.functional import loss as loss
    from spikecore.functional import probe as probe
    from spikecore.functional import quant as quant
    from spikecore.functional import reg as reg
    from spikecore.functional import stdp_learner as stdp_learner
    from spikecore.functional.probe import AttributeMonitor as AttributeMonitor
    from spikecore.functional.probe import BaseMonitor as BaseMonitor
    from spikecore.functional.probe import GradInputMonitor as GradInputMonitor
    from spikecore.functional.probe import GradOutputMonitor as GradOutputMonitor
    from spikecore.functional.probe import InputMonitor as InputMonitor
    from spikecore.functional.probe import OutputMonitor as OutputMonitor
    from spikecore.functional.probe import unpack_len1_tuple as unpack_len1_tuple

# monitors of torch networks, which need torch: imported at their first use
MONITORS = (
    "AttributeMonitor BaseMonitor GradInputMonitor GradOutputMonitor InputMonitor OutputMonitor unpack_len1_tuple"
).split()
MODULES = ("acc", "loss", "probe", "quant", "reg", "stdp_learner")  # snnTorch's modules, imported at their first use
LossFunctions = Loss  # snnTorch's name of the base class


if not TYPE_CHECKING:  # a type checker that saw it would take any name

    def __getattr__(name: str) -> Any:
        if name in MONITORS:
            from spikecore.functional import probe

            return getattr(probe, name)
        if name in MODULES:
            return importlib.import_module(f"spikecore.functional.{name}")
        raise _no_such("loss or metric", name, globals(), (*MONITORS, *MODULES))

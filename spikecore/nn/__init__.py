"""Spiking neurons as PyTorch modules, at home in ``torch.nn``; see docs/nn.md.

    import spikecore.nn as snn

It has snnTorch's modules, too: ``snn.utils`` and ``import spikecore.nn.functional as SF`` give those of ``spikecore``
itself, imported at their first use. Needs the extra ``torch``.
"""

from __future__ import annotations

import importlib
from typing import Any, List

from spikecore import __version__ as __version__
from spikecore import surrogate as surrogate  # snnTorch users write snn.surrogate.atan()
from spikecore.api import neurons as _neurons
from spikecore.api.core.messages import unknown as _unknown
from spikecore.engines.torch.nn import LIF as LIF
from spikecore.engines.torch.nn import SLSTM as SLSTM
from spikecore.engines.torch.nn import Alpha as Alpha
from spikecore.engines.torch.nn import AssociativeLeaky as AssociativeLeaky
from spikecore.engines.torch.nn import BatchNormTT1d as BatchNormTT1d
from spikecore.engines.torch.nn import BatchNormTT2d as BatchNormTT2d
from spikecore.engines.torch.nn import DeltaLeaky as DeltaLeaky
from spikecore.engines.torch.nn import GlobalAvgPool as GlobalAvgPool
from spikecore.engines.torch.nn import GradedSpikes as GradedSpikes
from spikecore.engines.torch.nn import Lapicque as Lapicque
from spikecore.engines.torch.nn import Leaky as Leaky
from spikecore.engines.torch.nn import LeakyParallel as LeakyParallel
from spikecore.engines.torch.nn import LinearLeaky as LinearLeaky
from spikecore.engines.torch.nn import RecurrentOneToOne as RecurrentOneToOne
from spikecore.engines.torch.nn import Residual as Residual
from spikecore.engines.torch.nn import RLeaky as RLeaky
from spikecore.engines.torch.nn import RSynaptic as RSynaptic
from spikecore.engines.torch.nn import SConv2dLSTM as SConv2dLSTM
from spikecore.engines.torch.nn import SpikingNeuron as SpikingNeuron
from spikecore.engines.torch.nn import StateLeaky as StateLeaky
from spikecore.engines.torch.nn import Synaptic as Synaptic
from spikecore.engines.torch.nn import from_torch as from_torch
from spikecore.engines.torch.nn import module as module
from spikecore.engines.torch.nn import run as run
from spikecore.engines.torch.nn import to_torch as to_torch

_MODULES = ("backprop", "export_nir", "functional", "import_nir", "spikegen", "spikeplot", "utils")  # files beside this


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if hasattr(_neurons, name):
        raise AttributeError(f"module {__name__} has no {name} of its own: write snn.module(sc.{name}(...))")
    raise AttributeError(f"module {__name__}: {_unknown('name', name, __dir__())}")


def __dir__() -> List[str]:
    homes = {name: getattr(thing, "__module__", "") for name, thing in globals().items() if name[0] != "_"}
    return sorted({"__version__", "surrogate", *(n for n in homes if homes[n].startswith("spikecore")), *_MODULES})

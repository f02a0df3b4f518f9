"""spikecore: spiking neural networks, described once, trained on any engine, with gradients that can be verified.

Importing this package imports no array library and no matplotlib; names are resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

__version__ = "0.1.0"

_HOME = {
    "spikecore.api.engine": "Engine EngineUnavailable Executor engine_of get_engine",
    "spikecore.api.layer": "Layer ShapeError Stateless",
    "spikecore.api.layers": "Dropout Flatten GradedSpikes Linear",
    "spikecore.api.spatial": "AvgPool1d AvgPool2d Conv1d Conv2d MaxPool1d MaxPool2d",
    "spikecore.api.normalisation": "BatchNorm1d BatchNorm2d BatchNormTT1d BatchNormTT2d LayerNorm",
    "spikecore.api.containers": "Concat Residual Sequential",
    "spikecore.api.neurons.base": "Param cast clamp01",
    "spikecore.api.neurons": (
        "ALIF Alpha AssociativeLeaky DeltaLeaky IF Izhikevich LI Lapicque Leaky LeakyParallel LinearLeaky Membrane "
        "Neuron OneToOne RLeaky RSynaptic Recurrent Refractory SConv2dLSTM SLSTM StateLeaky Synaptic"
    ),
    "spikecore.api.parameters": "decay learn learn_tau",
    "spikecore.api.optim": "SGD Adam AdamW RMSprop",
    "spikecore.api.model": "Model",
    "spikecore.api.network": "Output",
    "spikecore.api.training": "DivergedError EarlyStopping",
    "spikecore.api.tree": "State",
    "spikecore.api.checkpoint": "CheckpointError load",
    "spikecore.api.verify": "verify",
    "spikecore.engines.torch.layer": "Torch",
}
_MODULES = tuple("backprop datasets engines functional nir nn schedule spikegen spikeplot surrogate utils".split())
_NAMES = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"spikecore.{name}")
    else:
        raise AttributeError(f"module 'spikecore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from spikecore import backprop as backprop
    from spikecore import datasets as datasets
    from spikecore import functional as functional
    from spikecore import nir as nir
    from spikecore import nn as nn
    from spikecore import schedule as schedule
    from spikecore import spikegen as spikegen
    from spikecore import spikeplot as spikeplot
    from spikecore import surrogate as surrogate
    from spikecore import utils as utils
    from spikecore.api.checkpoint import CheckpointError as CheckpointError
    from spikecore.api.checkpoint import load as load
    from spikecore.api.containers import Concat as Concat
    from spikecore.api.containers import Residual as Residual
    from spikecore.api.containers import Sequential as Sequential
    from spikecore.api.engine import Engine as Engine
    from spikecore.api.engine import EngineUnavailable as EngineUnavailable
    from spikecore.api.engine import Executor as Executor
    from spikecore.api.engine import engine_of as engine_of
    from spikecore.api.engine import engines as engines
    from spikecore.api.engine import get_engine as get_engine
    from spikecore.api.layer import Layer as Layer
    from spikecore.api.layer import ShapeError as ShapeError
    from spikecore.api.layer import Stateless as Stateless
    from spikecore.api.layers import Dropout as Dropout
    from spikecore.api.layers import Flatten as Flatten
    from spikecore.api.layers import GradedSpikes as GradedSpikes
    from spikecore.api.layers import Linear as Linear
    from spikecore.api.model import Model as Model
    from spikecore.api.network import Output as Output
    from spikecore.api.neurons import ALIF as ALIF
    from spikecore.api.neurons import IF as IF
    from spikecore.api.neurons import LI as LI
    from spikecore.api.neurons import SLSTM as SLSTM
    from spikecore.api.neurons import Alpha as Alpha
    from spikecore.api.neurons import AssociativeLeaky as AssociativeLeaky
    from spikecore.api.neurons import DeltaLeaky as DeltaLeaky
    from spikecore.api.neurons import Izhikevich as Izhikevich
    from spikecore.api.neurons import Lapicque as Lapicque
    from spikecore.api.neurons import Leaky as Leaky
    from spikecore.api.neurons import LeakyParallel as LeakyParallel
    from spikecore.api.neurons import LinearLeaky as LinearLeaky
    from spikecore.api.neurons import Membrane as Membrane
    from spikecore.api.neurons import Neuron as Neuron
    from spikecore.api.neurons import OneToOne as OneToOne
    from spikecore.api.neurons import Recurrent as Recurrent
    from spikecore.api.neurons import Refractory as Refractory
    from spikecore.api.neurons import RLeaky as RLeaky
    from spikecore.api.neurons import RSynaptic as RSynaptic
    from spikecore.api.neurons import SConv2dLSTM as SConv2dLSTM
    from spikecore.api.neurons import StateLeaky as StateLeaky
    from spikecore.api.neurons import Synaptic as Synaptic
    from spikecore.api.neurons.base import Param as Param
    from spikecore.api.neurons.base import cast as cast
    from spikecore.api.neurons.base import clamp01 as clamp01
    from spikecore.api.normalisation import BatchNorm1d as BatchNorm1d
    from spikecore.api.normalisation import BatchNorm2d as BatchNorm2d
    from spikecore.api.normalisation import BatchNormTT1d as BatchNormTT1d
    from spikecore.api.normalisation import BatchNormTT2d as BatchNormTT2d
    from spikecore.api.normalisation import LayerNorm as LayerNorm
    from spikecore.api.optim import SGD as SGD
    from spikecore.api.optim import Adam as Adam
    from spikecore.api.optim import AdamW as AdamW
    from spikecore.api.optim import RMSprop as RMSprop
    from spikecore.api.parameters import decay as decay
    from spikecore.api.parameters import learn as learn
    from spikecore.api.parameters import learn_tau as learn_tau
    from spikecore.api.spatial import AvgPool1d as AvgPool1d
    from spikecore.api.spatial import AvgPool2d as AvgPool2d
    from spikecore.api.spatial import Conv1d as Conv1d
    from spikecore.api.spatial import Conv2d as Conv2d
    from spikecore.api.spatial import MaxPool1d as MaxPool1d
    from spikecore.api.spatial import MaxPool2d as MaxPool2d
    from spikecore.api.training import DivergedError as DivergedError
    from spikecore.api.training import EarlyStopping as EarlyStopping
    from spikecore.api.tree import State as State
    from spikecore.api.verify import verify as verify
    from spikecore.engines.torch.layer import Torch as Torch

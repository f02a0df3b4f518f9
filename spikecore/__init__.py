"""spikecore: spiking neural networks, described once, trained on any engine, with gradients that can be verified.

Importing this package imports neither torch nor matplotlib nor any other array library; names are resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

__version__ = "0.1.0"

_HOME = {
    "spikecore.api.engine": "Engine EngineUnavailable Executor engine_of engines get_engine",
    "spikecore.api.layer": "Layer ShapeError Stateless",
    "spikecore.api.layers": "AvgPool2d Conv2d Dropout Flatten Linear MaxPool2d",
    "spikecore.api.normalisation": "BatchNorm1d BatchNorm2d",
    "spikecore.api.containers": "Residual Sequential",
    "spikecore.api.neurons": "Leaky Neuron",
    "spikecore.api.parameters": "learn",
    "spikecore.api.optim": "SGD Adam AdamW",
    "spikecore.api.model": "Model",
    "spikecore.api.network": "Output",
    "spikecore.api.training": "EarlyStopping",
    "spikecore.api.tree": "State",
    "spikecore.api.checkpoint": "CheckpointError load",
    "spikecore.api.verify": "verify",
}
_MODULES = ("datasets", "functional", "schedule", "spikegen", "spikeplot", "surrogate")
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
    from spikecore import datasets, functional, schedule, spikegen, spikeplot, surrogate
    from spikecore.api.checkpoint import CheckpointError, load
    from spikecore.api.containers import Residual, Sequential
    from spikecore.api.engine import Engine, EngineUnavailable, Executor, engine_of, engines, get_engine
    from spikecore.api.layer import Layer, ShapeError, Stateless
    from spikecore.api.layers import AvgPool2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d
    from spikecore.api.model import Model
    from spikecore.api.network import Output
    from spikecore.api.neurons import Leaky, Neuron
    from spikecore.api.normalisation import BatchNorm1d, BatchNorm2d
    from spikecore.api.optim import SGD, Adam, AdamW
    from spikecore.api.parameters import learn
    from spikecore.api.training import EarlyStopping
    from spikecore.api.tree import State
    from spikecore.api.verify import verify

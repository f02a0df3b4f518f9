"""Spiking neurons as PyTorch modules, at home in ``torch.nn``; see docs/nn.md.

    import spikecore.nn as snn

It has snnTorch's modules, too: ``snn.utils`` and ``import spikecore.nn.functional as SF`` give those of ``spikecore``
itself. All names are imported at their first use. Needs the extra ``torch``.
"""

from __future__ import annotations

from typing import Any, List

from spikecore import __version__ as __version__
from spikecore.engines import torch as _torch  # noqa: F401  (says how to install it, here and not at the first name)
from spikecore.on_use import imported as _imported

_FILES = {  # of engines/torch/nn, and the names that are public here
    "convert": "from_torch to_torch",
    "delay": "SynapticDelay",
    "lapicque": "Lapicque",
    "layers": "BatchNormTT1d BatchNormTT2d GlobalAvgPool GradedSpikes Residual",
    "leaky": "Alpha DeltaLeaky Leaky Synaptic",
    "lstm": "SConv2dLSTM SLSTM",
    "module": "module",
    "neuron": "LIF SpikingNeuron",
    "parallel": "AssociativeLeaky LeakyParallel",
    "recurrent": "RLeaky RSynaptic RecurrentOneToOne",
    "run": "run",
    "stateleaky": "LinearLeaky StateLeaky",
}
_HOMES = {name: f"spikecore.engines.torch.nn.{file}" for file, names in _FILES.items() for name in names.split()}
_MODULES = "backprop export_nir functional import_nir spikegen spikeplot surrogate utils".split()  # files beside this


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return _imported(f"{__name__}.{name}")
    if name in _HOMES:
        value = globals()[name] = getattr(_imported(_HOMES[name]), name)
        return value
    from spikecore.api import neurons
    from spikecore.api.core.messages import unknown

    if hasattr(neurons, name):
        raise AttributeError(f"module {__name__} has no {name} of its own: write snn.module(sc.{name}(...))")
    raise AttributeError(f"module {__name__}: {unknown('name', name, __dir__())}")


def __dir__() -> List[str]:
    return sorted(["__version__", *_HOMES, *_MODULES])

"""A model as NeuroBench's benchmarks take it: ``to_neurobench``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, List, Union

from spikecore import Model
from spikecore.arguments import shown

if TYPE_CHECKING:
    from neurobench.models import NeuroBenchModel
    from torch import nn


def to_neurobench(model: Union[Model, nn.Module]) -> NeuroBenchModel:
    """The model that ``neurobench.benchmarks.Benchmark`` takes, for results that can be submitted.

    It is called with (batch, time, *features) and returns the output (batch, time, *outputs), one step after the other
    from rest. NeuroBench's metrics read its weights, the inputs of its connections and the outputs and membranes of
    its neurons through hooks, at every step. ``NeuronOperations`` knows Leaky, Synaptic, Lapicque and Alpha.

    Args:
        model: a ``Model``, which becomes the module that ``to_torch`` makes of it; or a module of ``spikecore.nn`` for
            one step, whose neurons have ``init_hidden=True``.

    Returns:
        A ``neurobench.models.NeuroBenchModel`` in evaluation mode.

    Raises:
        ImportError: NeuroBench or torch is not installed.
        ValueError: torch has no counterpart of a layer.

    Warns:
        UserWarning: NeuroBench does not see the weights of some layers: it counts those of ``nn.Linear`` and of
            convolutions.
    """
    try:
        from neurobench.models import NeuroBenchModel
    except ImportError as error:
        raise ImportError(f"to_neurobench needs NeuroBench: pip install neurobench ({error})") from error
    from torch import nn

    from spikecore.nn import to_torch

    if not isinstance(model, (Model, nn.Module)):
        raise TypeError(f"model={shown(model)} must be a spikecore.Model, or a module of spikecore.nn")
    net = model if isinstance(model, nn.Module) else to_torch(model)
    unseen = _unseen(net)
    if unseen:
        warnings.warn(
            f"NeuroBench does not count the operations and the zeros of {', '.join(unseen)}: it knows nn.Linear and "
            "convolutions",
            stacklevel=3,
        )
    return _class_of(NeuroBenchModel)(net)


def _unseen(net: nn.Module) -> List[str]:
    """The parameters that are matrices and no weights of layers that NeuroBench knows, nor factors of a LayerNorm."""
    from neurobench.blocks.layer import SUPPORTED_LAYERS
    from torch import nn

    owners = {name: part for name, part in net.named_modules()}
    names = [name for name, value in net.named_parameters() if value.ndim > 1]
    known = (*SUPPORTED_LAYERS, nn.LayerNorm)
    return [name for name in names if not isinstance(owners[name.rpartition(".")[0]], known)]


def _class_of(base: Any) -> Any:
    """The class of wrapped models; it is made when it is needed, since its base lies in NeuroBench."""
    import torch
    from neurobench.hooks.layer import LayerHook
    from neurobench.hooks.neuron import NeuronHook

    from spikecore.nn import SpikingNeuron

    class SpikecoreModel(base):
        """A module of ``spikecore.nn`` for one time step, run over time from rest."""

        def __init__(self, net: Any) -> None:
            super().__init__()
            self.net = net.eval()
            self.add_activation_module(SpikingNeuron)

        def __net__(self) -> Any:
            return self.net

        def __call__(self, data: Any) -> Any:
            from spikecore.utils import reset

            reset(self.net)
            with torch.no_grad():
                steps = [self.net(data[:, step]) for step in range(data.shape[1])]
            return torch.stack([y[0] if isinstance(y, tuple) else y for y in steps], dim=1)

        def register_hooks(self) -> None:
            for found in self.activation_layers():
                hook = NeuronHook(found["layer"], found["layer_name"])
                # it looks for snnTorch's class to tell whether there is a membrane
                hook.spiking = isinstance(found["layer"], SpikingNeuron)
                self.activation_hooks.append(hook)
            self.connection_hooks.extend(LayerHook(layer) for layer in self.connection_layers())

    return SpikecoreModel

"""Modules of torch inside of a neuron, which hold its weights: they may be replaced, changed and listened to."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch

from spikecore.engines.torch.nn.hooks import heard
from spikecore.engines.torch.nn.neuron import SpikingNeuron


class Inner(SpikingNeuron):
    """A neuron whose weights are those of a layer inside of it.

    As long as that layer is what the options describe, its weights are all there is to know. Else, and where somebody
    listens to it, it is called at every step.
    """

    inner: ClassVar[str]  # the attribute that is the layer
    words: ClassVar[str]  # what it is
    _looked_at: Any = (None, None, False)  # a layer, its class, and whether it is of the kind and sizes described

    def _described_inner(self) -> Tuple[Any, Dict[str, Any], Tuple[str, ...]]:
        """Class, options and names of the weights that the layer has as long as it is what the options describe."""
        raise NotImplementedError

    def overridden(self) -> str:
        return super().overridden() or ("" if self._as_described() else f"{self.words} of its own as {self.inner}")

    def by_protocol(self) -> str:
        return super().by_protocol() or (f"hooks on {self.inner}" if heard(getattr(self, self.inner)) else "")

    def _as_described(self) -> bool:
        layer: Any = self._modules[self.inner]
        kind, options, names = self._described_inner()
        seen, seen_as, same = self._looked_at
        if layer is not seen or type(layer) is not seen_as:
            same = type(layer) is kind and all(getattr(layer, name, value) == value for name, value in options.items())
            self.__dict__["_looked_at"] = layer, type(layer), same
        if not same or "forward" in layer.__dict__:
            return False
        weights = [name for name, value in layer._parameters.items() if value is not None]
        return len(weights) == len(names) and all(name in weights for name in names)

    def _weights(self) -> Dict[str, torch.Tensor]:
        return dict(getattr(self, self.inner).named_parameters())

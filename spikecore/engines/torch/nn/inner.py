"""Modules of torch inside of a neuron, which hold its weights: they may be replaced, changed and listened to."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch

from spikecore.api.core.layer import Params
from spikecore.engines.torch.nn.hooks import heard
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.parts import with_weights


class Inner(SpikingNeuron):
    """A neuron whose weights are those of a layer inside of it.

    As long as that layer is the one that the options describe, without hooks, only its weights are read. Otherwise it
    is called at every step.
    """

    inner: ClassVar[str]  # the attribute that is the layer
    words: ClassVar[str]  # what it is
    _looked_at: Any = (None, None, None)  # a layer, its class, and the weights it has if it is as described

    def _described_inner(self) -> Tuple[Any, Dict[str, Any], Tuple[str, ...]]:
        """Class, options and names of the weights of the layer that the options describe; no names: it may have any."""
        raise NotImplementedError

    def overridden(self) -> str:
        return super().overridden() or ("" if self._as_described() else f"{self.words} of its own as {self.inner}")

    def by_protocol(self) -> str:
        return super().by_protocol() or (f"hooks on {self.inner}" if heard(getattr(self, self.inner)) else "")

    def _as_described(self) -> bool:
        layer: Any = self._modules[self.inner]
        seen, seen_as, names = self._looked_at
        if layer is not seen or type(layer) is not seen_as:
            kind, options, names = self._described_inner()
            same = type(layer) is kind and all(getattr(layer, name, value) == value for name, value in options.items())
            self.__dict__["_looked_at"] = layer, type(layer), names if same else None
        if self._looked_at[2] is None or "forward" in layer.__dict__:
            return False
        weights = layer._parameters
        known = all(weights.get(name) is not None for name in names)
        return not names or (known and sum(value is not None for value in weights.values()) == len(names))

    def _weights(self) -> Dict[str, torch.Tensor]:
        return dict(self._modules[self.inner].named_parameters())  # type: ignore[union-attr]

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        return with_weights(super()._tensors(engine, host), self._weights(), engine)

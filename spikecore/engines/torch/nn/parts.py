"""snnTorch's parts of a step, for neurons of your own that build on ``SpikingNeuron``."""

from __future__ import annotations

from typing import Any

import torch

from spikecore.engines.torch.nn.engine import engine_for, working
from spikecore.engines.torch.nn.options import Described


class Parts(Described):
    """Firing and resetting; the library's own neurons do not need these."""

    def fire(self, mem: Any) -> Any:
        """Graded spikes of a membrane potential."""
        u = working(mem)
        u = u if self._quantiser is None else self._quantiser.apply(engine_for(u.device, u.dtype), u)
        fired = engine_for(u.device, u.dtype).spike(u - self.threshold, self._surrogate)
        return (fired * self.graded_spikes_factor).to(mem.dtype)

    def fire_inhibition(self, batch_size: int, mem: Any) -> Any:
        """Graded spikes of the feature with the highest potential of each sample; the others are silent."""
        best = (mem - self.threshold).argmax(dim=1, keepdim=True)
        return self.fire(mem) * torch.zeros_like(mem).scatter(1, best, 1.0)

    def mem_reset(self, mem: Any) -> Any:
        """Where the membrane exceeds the threshold, as zeros and ones without gradient."""
        return (mem > self.threshold).to(mem.dtype)

    @staticmethod
    def detach(*args: Any) -> None:
        """Detach tensors in place."""
        for state in args:
            state.detach_()

    @staticmethod
    def zeros(*args: Any) -> None:
        """Fill tensors with zeros, in place."""
        for state in args:
            state.detach_().zero_()

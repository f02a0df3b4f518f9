"""The torch engine without products by lists, to compare it with."""

from __future__ import annotations

from typing import Any, Optional

from spikecore.engines.torch.engine import TorchEngine
from spikecore.engines.torch.namespace import words
from spikecore.kernels.readout import MOST


class DenseProducts(TorchEngine):
    """The torch engine with its kernels for neurons, but every product with spikes is dense.

    Its words do not look at the values of operands, and a neuron gives its spikes to the Linear behind it as an array
    and not as bits. A Linear of a few outputs still runs inside the neuron's kernels.
    """

    def __init__(self, device: str = "cpu", dtype: str = "float32", **options: Any) -> None:
        super().__init__(device, dtype, **options)
        self.xp = words(self.device, dtype, lean=True, look=False)

    def readout_scan(
        self,
        stepper: Any,
        params: Any,
        state: Any,
        inputs: Any,
        weight: Any,
        bias: Optional[Any] = None,
        **options: Any,
    ) -> Any:
        """See ``Scans.readout_scan``."""
        if weight.shape[0] > MOST:
            return None
        return super().readout_scan(stepper, params, state, inputs, weight, bias, **options)

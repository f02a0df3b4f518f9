"""Samples that are on an accelerator already, as a tensor of torch: batches are taken there, and none is copied."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np

from spikecore.samples.source import Arrays, pair


class DeviceArrays(Arrays):
    """Samples along axis 0 of a tensor on an accelerator.

    Targets are on the host, where each batch of them is checked: reading them from the device would make it wait.

    Args:
        inputs: the tensor.
        targets: one for each sample, an array or a tensor on any device; or None.
    """

    def __init__(self, inputs: Any, targets: Any):
        on_host = targets.detach().cpu() if hasattr(targets, "detach") else targets
        stand_in = np.broadcast_to(np.float32(0.0), tuple(inputs.shape))  # of the same shape, for the checks
        super().__init__(*pair(stand_in, on_host))
        self.inputs: Any = inputs.detach()

    def filled(self, rows: np.ndarray, epoch: int, steps: Optional[int]) -> Tuple[Any, Optional[np.ndarray]]:
        whole_numbers = self.inputs.new_empty(0, device="cpu").long().dtype  # torch's int64, without importing torch
        pinned = bool(self.inputs.is_cuda)  # which the device fetches while the program goes on
        index = self.inputs.new_empty(len(rows), dtype=whole_numbers, device="cpu", pin_memory=pinned)
        index.numpy()[...] = rows
        inputs = self.inputs[index.to(self.inputs.device, non_blocking=pinned)]
        return inputs if steps is None else inputs[:, :steps], None

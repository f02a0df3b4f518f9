"""A module for what ``spikecore.nn`` has none of its own: scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


class Scale(nn.Module):
    """y = scale * x.

    Args:
        scale: an array that broadcasts to one sample.
        learned: make ``scale`` a Parameter instead of a buffer.
    """

    def __init__(self, scale: Any, learned: bool = False) -> None:
        super().__init__()
        value = torch.as_tensor(np.array(scale), dtype=torch.float32)
        if learned:
            self.scale = nn.Parameter(value)
        else:
            self.register_buffer("scale", value)

    def forward(self, x: Any) -> Any:
        return x * self.scale

"""Tensors in the memory that kernels keep (``kernels/memory.py``)."""

from __future__ import annotations

from typing import Any, Tuple

import torch

from spikecore.engines.torch.modes import compiling, has_data
from spikecore.kernels import memory

KEPT = (torch.float32, torch.float64)


def fresh(shape: Tuple[int, ...], dtype: Any) -> Any:
    """A tensor on the CPU with undefined values; ``dtype`` is one that NumPy has, too."""
    return torch.from_numpy(memory.empty(tuple(shape), str(dtype).rsplit(".", 1)[-1]))


def zeros_like(x: Any) -> Any:
    """Zeros in shape, type and place of a tensor."""
    if compiling() or not has_data(x) or x.device.type != "cpu" or x.dtype not in KEPT or not x.is_contiguous():
        return torch.zeros_like(x)
    return fresh(x.shape, x.dtype).zero_()

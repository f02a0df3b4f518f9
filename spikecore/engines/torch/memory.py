"""Tensors in memory that is used again (``kernels/runtime/allocator.py``)."""

from __future__ import annotations

from typing import Any, Tuple

import torch

from spikecore.engines.torch.modes import compiling, has_data
from spikecore.kernels.runtime import allocator

LARGE = 1 << 16  # elements from which on it matters what is kept of a tensor for the way back
KEPT = (torch.float32, torch.float64)


def fresh(shape: Tuple[int, ...], dtype: Any) -> Any:
    """A tensor on the CPU with undefined values; NumPy must have the ``dtype``, too."""
    return torch.from_numpy(allocator.empty(tuple(shape), str(dtype).rsplit(".", 1)[-1]))


def at_rest(x: Any, shape: Tuple[int, ...]) -> Any:
    """Zeros as a first state. On the CPU they are one expanded zero, so nothing may write to them."""
    if x.is_cpu and has_data(x) and not compiling():
        return x.new_zeros(()).expand(shape)
    return x.new_zeros(shape)


def zeros_like(x: Any) -> Any:
    """Zeros with the shape, dtype and device of a tensor."""
    if compiling() or not has_data(x) or x.device.type != "cpu" or x.dtype not in KEPT or not x.is_contiguous():
        return torch.zeros_like(x)
    return fresh(x.shape, x.dtype).zero_()

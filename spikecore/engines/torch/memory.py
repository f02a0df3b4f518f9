"""Tensors in memory that is used again (``kernels/runtime/allocator.py``), and small whole numbers in little of it."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import torch

from spikecore.engines.torch.modes import compiling, has_data
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.small_numbers import to_bytes

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


def packed(x: Any) -> Optional[Tuple[Any, List[int]]]:
    """A tensor on the CPU as bytes in the order of its memory, and its axes in this order; None where it has gaps, or
    other values than whole numbers from 0 to 255.
    """
    order = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    dense = x.detach().permute(order)
    if x.is_neg() or not dense.is_contiguous():
        return None
    use_threads(torch.get_num_threads())
    found = to_bytes(dense.numpy())
    return None if found is None else (torch.from_numpy(found).view(dense.shape), order)


def unpacked(kept: Any, order: List[int], dtype: Any) -> Any:
    """The tensor that ``packed`` has taken, in the same order of memory."""
    return fresh(kept.shape, dtype).copy_(kept).permute([order.index(axis) for axis in range(len(order))])

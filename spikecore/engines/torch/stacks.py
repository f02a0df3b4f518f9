"""Products of stacks of matrices, such as those of attention, that keep a byte of each small whole number."""

from __future__ import annotations

from typing import Any, List, Tuple

import torch

from spikecore.engines.torch.memory import KEPT, LARGE, fresh
from spikecore.engines.torch.modes import casting, has_data
from spikecore.engines.torch.once import Once
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sizes import has_numba
from spikecore.kernels.small_numbers import to_bytes


def fits(a: Any, b: Any) -> bool:
    """Whether ``ByteProduct`` takes these factors, of which both are differentiated."""
    if not (a.ndim == b.ndim > 2 and a.shape[:-2] == b.shape[:-2] and max(a.numel(), b.numel()) >= LARGE):
        return False
    differentiated = torch.is_grad_enabled() and a.requires_grad and b.requires_grad
    plain = all(x.is_cpu and x.dtype in KEPT and x.layout is torch.strided and has_data(x) for x in (a, b))
    return differentiated and plain and a.dtype == b.dtype and has_numba() and not casting("cpu")


class ByteProduct(torch.autograd.Function):
    """The product of two stacks; each is kept as bytes if it can be."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        use_threads(torch.get_num_threads())
        (first, ctx.first), (second, ctx.second) = _packed(a), _packed(b)
        ctx.save_for_backward(first, second)
        ctx.lost = bool(ctx.first or ctx.second)
        return torch.matmul(a, b)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        first, second = ctx.saved_tensors
        a, b = _restored(first, ctx.first, g.dtype), _restored(second, ctx.second, g.dtype)
        by_a = torch.matmul(g, b.transpose(-1, -2)) if ctx.needs_input_grad[0] else None
        by_b = torch.matmul(a.transpose(-1, -2), g) if ctx.needs_input_grad[1] else None
        if ctx.lost and torch.is_grad_enabled():  # the factors themselves are not there any more
            return tuple(
                None if x is None else Once.apply(x, torch.empty(0, requires_grad=True))[0] for x in (by_a, by_b)
            )
        return by_a, by_b


def _packed(x: Any) -> Tuple[Any, List[int]]:
    """A tensor as bytes in the order of its memory, and its axes in this order; itself, and none, where it has gaps or
    other numbers.
    """
    order = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    dense = x.detach().permute(order)
    found = to_bytes(dense.numpy()) if dense.is_contiguous() and not x.is_neg() else None
    return (x, []) if found is None else (torch.from_numpy(found).view(dense.shape), order)


def _restored(kept: Any, order: List[int], dtype: Any) -> Any:
    if not order:
        return kept
    return fresh(kept.shape, dtype).copy_(kept).permute([order.index(axis) for axis in range(len(order))])

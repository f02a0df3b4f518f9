"""Products of stacks of matrices, such as those of attention, that keep a byte of each small whole number."""

from __future__ import annotations

from typing import Any

import torch

from spikecore.engines.torch.memory import KEPT, LARGE, packed, unpacked
from spikecore.engines.torch.modes import casting, has_data
from spikecore.engines.torch.once import first_order, way_to
from spikecore.kernels.sizes import has_numba


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
        found = [packed(x) or (x, None) for x in (a, b)]
        ctx.save_for_backward(*(kept for kept, _ in found))
        ctx.orders = [order for _, order in found]
        ctx.ways = [None if order is None else way_to(x) for x, order in zip((a, b), ctx.orders)]
        return torch.matmul(a, b)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        saved = zip(ctx.saved_tensors, ctx.orders)
        a, b = (kept if order is None else unpacked(kept, order, g.dtype) for kept, order in saved)
        by_a = torch.matmul(g, b.transpose(-1, -2)) if ctx.needs_input_grad[0] else None
        by_b = torch.matmul(a.transpose(-1, -2), g) if ctx.needs_input_grad[1] else None
        if not torch.is_grad_enabled():
            return by_a, by_b
        others = zip((by_a, by_b), reversed(ctx.ways))  # a factor that was packed is not there any more
        return tuple(x if x is None or way is None else first_order(x, way) for x, way in others)

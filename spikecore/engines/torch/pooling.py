"""Maximum pooling that keeps where the maxima are, and not the maps, which are several times larger.

torch's node keeps its input, of which the way back reads the shape alone, and places in eight bytes each.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from spikecore.engines.torch.convolution import are_last, like
from spikecore.engines.torch.memory import KEPT, LARGE, fresh
from spikecore.engines.torch.modes import has_data, in_batches
from spikecore.engines.torch.product import in_our_hands

PIECE = 1 << 20  # elements of maps whose gradient is made at once


def max_pool2d(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """The maxima of maps (batch, channels, height, width) under a kernel; arguments as torch's."""
    own = torch.is_grad_enabled() and x.requires_grad and x.numel() >= LARGE and in_our_hands()
    if own and x.is_cpu and x.dtype in KEPT and has_data(x) and x.layout is torch.strided:
        return MaxPool.apply(x, kernel, stride, padding)
    return F.max_pool2d(x, kernel, stride, padding)


class MaxPool(torch.autograd.Function):
    """Maxima, and their places in four bytes each. On the way back, torch's eight bytes are those of a few samples."""

    @staticmethod
    def forward(ctx: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
        y, places = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
        ctx.save_for_backward(places.to(torch.int32))
        ctx.shape, ctx.last, ctx.options = x.shape, are_last(x), (kernel, stride, padding, (1, 1), False)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (places,) = ctx.saved_tensors
        back = torch.ops.aten.max_pool2d_with_indices_backward
        if torch.is_grad_enabled() or in_batches(g):
            return back(g, like(ctx.shape, g, ctx.last), *ctx.options, places.long()), None, None, None
        (samples, channels, *space), order = ctx.shape, (0, 3, 1, 2)
        x = fresh((samples, *space, channels), g.dtype).permute(order) if ctx.last else fresh(ctx.shape, g.dtype)
        count = max(1, PIECE // x[0].numel())
        for begin in range(0, samples, count):
            part = slice(begin, begin + count)
            back.grad_input(g[part], x[part], *ctx.options, places[part].long(), grad_input=x[part])
        return x, None, None, None

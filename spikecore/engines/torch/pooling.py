"""Maximum pooling that keeps where the maxima are, and not the maps, which are several times larger.

torch's node keeps its input, of which the way back reads the shape alone, and places in eight bytes each. Windows side
by side have kernels of their own where channels are last, which keep a byte.
"""

from __future__ import annotations

from operator import index
from typing import Any, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F

from spikecore.engines.torch.convolution import are_last, like
from spikecore.engines.torch.memory import KEPT, LARGE, fresh
from spikecore.engines.torch.modes import has_data, in_batches
from spikecore.engines.torch.product import in_our_hands
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sizes import has_numba

PIECE = 1 << 20  # elements of maps whose gradient is made at once


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maxima of maps (batch, channels, height, width) under a kernel; arguments as torch's."""
    size, step, pad, apart = map(_both, (kernel_size, () if stride is None else stride, padding, dilation))
    step = size if step == () else step
    if size and step and pad and apart == (1, 1) and ceil_mode is False and return_indices is False and _is_ours(x):
        if size == step and pad == (0, 0) and _has_kernels(x, size):
            return MaxWindows.apply(x, size)
        if torch.is_grad_enabled() and x.requires_grad:
            return MaxPool.apply(x, size, step, pad)
    pool: Any = F.max_pool2d
    return pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _both(value: Any) -> Optional[Tuple[int, ...]]:
    """The numbers for height and width, as torch reads them; None where it may refuse them."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(given) > 2 or any(isinstance(n, bool) or not hasattr(n, "__index__") for n in given):
        return None
    return tuple(map(index, given)) * (3 - len(given))


def _is_ours(x: Any) -> bool:
    """Whether maps are large plain tensors on the CPU, of which torch records nothing but gradients."""
    if not (in_our_hands() and has_data(x) and x.is_cpu and x.dtype in KEPT and x.layout is torch.strided):
        return False
    return x.ndim == 4 and x.numel() >= LARGE


def _has_kernels(x: Any, size: Tuple[int, ...]) -> bool:
    """Whether windows of this size, side by side, have kernels."""
    down, across = size
    whole = 0 < down <= x.shape[2] and 0 < across <= x.shape[3]
    if not (whole and are_last(x) and has_numba()) or x.is_neg():
        return False
    from spikecore.kernels.pooling import fits

    return fits(x.shape[1], (down, across), str(x.dtype)[6:])


class MaxWindows(torch.autograd.Function):
    """Maxima in windows side by side, and the place of each in one byte."""

    @staticmethod
    def forward(ctx: Any, x: Any, kernel: Any) -> Any:
        from spikecore.kernels.pooling import maxima

        use_threads(torch.get_num_threads())
        y, places = maxima(x.detach().permute(0, 2, 3, 1).numpy(), kernel)
        ctx.save_for_backward(torch.from_numpy(places))
        ctx.shape, ctx.kernel = x.shape, kernel
        return torch.from_numpy(np.moveaxis(y, -1, 1))  # no view of torch's: it may be edited

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (places,), (samples, channels, *space) = ctx.saved_tensors, ctx.shape
        if torch.is_grad_enabled() or in_batches(g):
            x = like(ctx.shape, g, True)
            found = torch.ops.aten.max_pool2d_with_indices_backward
            options = ctx.kernel, ctx.kernel, (0, 0), (1, 1), False
            return found(g, x, *options, _indices(places, ctx.kernel, space[1])), None
        from spikecore.kernels.pooling import back

        use_threads(torch.get_num_threads())
        rows = np.ascontiguousarray(np.moveaxis(g.resolve_neg().numpy(), 1, -1))
        made = back(rows, places.numpy(), (samples, *space, channels), ctx.kernel)
        return torch.from_numpy(np.moveaxis(made, -1, 1)), None


def _indices(places: Any, kernel: Tuple[int, int], width: int) -> Any:
    """The index of each maximum in its map, as torch has it, from its place in the window."""
    (down, across), (tall, wide) = kernel, places.shape[1:3]
    places, i, j = places.to(torch.int64), torch.arange(tall)[:, None, None], torch.arange(wide)[:, None]
    return ((i * down + places // across) * width + j * across + places % across).permute(0, 3, 1, 2)


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
            return back(g, like(ctx.shape, g, ctx.last), *ctx.options, places.to(torch.int64)), None, None, None
        (samples, channels, *space), order = ctx.shape, (0, 3, 1, 2)
        x = fresh((samples, *space, channels), g.dtype).permute(order) if ctx.last else fresh(ctx.shape, g.dtype)
        count = max(1, PIECE // x[0].numel())
        for begin in range(0, samples, count):
            part = slice(begin, begin + count)
            back.grad_input(g[part], x[part], *ctx.options, places[part].to(torch.int64), grad_input=x[part])
        return x, None, None, None

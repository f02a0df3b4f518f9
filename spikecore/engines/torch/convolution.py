"""Convolutions that are fast with spikes, and that keep little of them for the way back.

By lists they keep one bit of each spike; where torch convolves, one byte of each small whole number: spikes, and sums
of them behind the shortcuts of residual networks.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as F

from spikecore.engines.torch.layout import channels_last
from spikecore.engines.torch.memory import KEPT, LARGE, fresh, packed, unpacked
from spikecore.engines.torch.modes import casting, has_data, in_batches, transformed
from spikecore.engines.torch.once import first_order, way_to
from spikecore.engines.torch.product import in_our_hands
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sizes import has_numba
from spikecore.kernels.sparse import maps as sparse
from spikecore.kernels.sparse import taps
from spikecore.kernels.sparse.product import GUESSED, keeping, keeps_zeros, kept_weights

VECTOR = 16  # float32 in the widest vector of a processor
CONV: Dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def conv(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    last: bool = True,
    look: bool = True,
) -> Any:
    """The convolution of x (batch, channels, *space), in one to three dimensions, with torch's arguments.

    Args:
        x, weight, bias, stride, padding, dilation, groups: as in ``torch.nn.functional.conv2d``.
        last: whether maps may be put in the order "channels last".
        look: whether x may be spikes, which are then taken as lists.
    """
    options = (stride, padding, dilation, groups)
    spread: Any = _spread(x, weight, bias, options) if look else None
    if spread is not None:
        made = _by_spikes(x, weight, bias, spread, groups, last)
        if made is None:
            made = _by_entries(x, weight, bias, spread, groups)
        if made is not None:
            return made
    if _overruns(weight, stride):
        x = x.contiguous()
    elif last:
        x = channels_last(x)
    found = packed(x) if spread is not None and _is_kept(x, weight) else None
    if found is not None:
        return ByteConv.apply(x, weight, bias, *found, [*spread, groups])
    return CONV[weight.ndim - 2](x, weight, bias, *options)


def _overruns(weight: Any, stride: Any) -> bool:
    """Whether maps must be in plain order for a convolution's gradient by its weight.

    If channels are last, oneDNN writes past the end of its memory for 1 x 1 filters that take steps and have fewer
    channels than a vector: torch 2.13 with 3 to 7 channels, on processors with AVX2.
    """
    if weight.ndim != 4 or stride in (1, (1, 1), [1, 1]):
        return False
    if torch.jit.is_tracing():
        return True  # sizes are tensors there, and plain order is right for all
    return bool(weight.shape[1] < VECTOR and weight.shape[2] == weight.shape[3] == 1)


def _spread(x: Any, weight: Any, bias: Any, options: Tuple[Any, ...]) -> Any:
    """Stride, padding and dilation of a convolution whose maps can be looked at, as lists; None where torch shall
    convolve, or refuse.
    """
    parts, groups = (x, weight) if bias is None else (x, weight, bias), options[3]
    if not in_our_hands() or casting("cpu"):
        return None
    if not (all(map(has_data, parts)) and x.ndim == weight.ndim in (3, 4) and x.is_cpu and x.dtype in KEPT):
        return None
    if any(not a.is_cpu or a.dtype != x.dtype or a.layout is not torch.strided or a.is_neg() for a in parts):
        return None
    spread = [(n,) * (x.ndim - 2) if isinstance(n, int) else n for n in options[:3]]
    fits = [isinstance(n, (tuple, list)) and len(n) == x.ndim - 2 and all(type(k) is int for k in n) for n in spread]
    if not all(fits) or type(groups) is not int or min(map(min, spread)) < 0 or 0 in (*spread[0], *spread[2]):
        return None
    return None if bias is not None and bias.shape != weight.shape[:1] else [list(n) for n in spread]


def _by_spikes(x: Any, weight: Any, bias: Any, spread: Any, groups: int, last: bool) -> Any:
    """The convolution by lists; None where it is to be dense."""
    stride, padding, dilation = map(tuple, spread)
    threads = torch.get_num_threads()
    maps = sparse.spike_maps_of(x.detach().numpy(), weight.shape, stride, padding, dilation, groups, threads)
    if maps is None:
        return None
    out_last = x.ndim == 4 and ((last and x.dtype == torch.float32) or are_last(x) or are_last(weight))
    return SpikeConvFunction.apply(x, weight, bias, maps, spread, out_last)


def _by_entries(x: Any, weight: Any, bias: Any, spread: Any, groups: int) -> Any:
    """The convolution by the entries of a pruned weight; None where it is to be dense."""
    if not taps.are_fewer(x.shape, weight.detach().numpy(), (*spread, groups)):
        return None
    return PrunedConv.apply(x, weight, bias, spread, packed(x) if _is_kept(x, weight) else None)


def _is_kept(x: Any, weight: Any) -> bool:
    """Whether the backward pass of a convolution needs large maps that no other operation keeps in memory."""
    differentiated = torch.is_grad_enabled() and x.requires_grad and weight.requires_grad
    return differentiated and x.numel() >= LARGE and has_numba()


def are_last(x: Any) -> bool:
    """Whether maps are in the order "channels last", and in no other: then a convolution's result is, too."""
    return bool(not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last))


class SpikeConvFunction(torch.autograd.Function):
    """A convolution of spikes. Where all of them are one, it keeps a bit each for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, maps: Any, options: Any, last: bool) -> Any:
        filters, start = weight.detach().numpy(), None if bias is None else bias.detach().numpy()
        most = min(GUESSED, maps.relative_time)
        if taps.are_fewer(x.shape, filters, (*options, maps.geometry.groups), most):
            out = taps.convolved(x.detach().numpy(), filters, start, options[1], options[2], True)
        else:
            out = maps.convolved(filters, start)
        ctx.save_for_backward(weight, *([] if maps.values is None else [x]))
        ctx.maps, ctx.options, ctx.kept = maps.with_values(None), options, kept_weights()
        ctx.way = way_to(x) if maps.values is None else None
        made = torch.from_numpy(out)  # no view of torch's: it may be edited
        return made if last else fresh(out.shape, x.dtype).copy_(made)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        weight, *saved = ctx.saved_tensors
        by_x, by_weight, by_bias, *_ = ctx.needs_input_grad
        x = saved[0] if saved else None
        maps, found = ctx.maps if x is None else ctx.maps.with_values(x.detach().numpy()), None
        lists = not (torch.is_grad_enabled() or transformed() or in_batches(g))
        if by_weight and lists:
            use_threads(torch.get_num_threads())
            filters = weight.detach().numpy()
            with keeping(ctx.kept):
                if keeps_zeros(filters):
                    from spikecore.kernels.sparse.kept_taps import by_kept_taps

                    found = by_kept_taps(maps, filters, g.numpy(force=True))
            found = maps.by_weight(g.numpy(force=True)) if found is None else found
        sizes = (maps.shape, maps.geometry.last)
        of_x = _by_input(g, *sizes, weight, ctx.options, maps.geometry.groups) if by_x and lists else None
        wanted, dense = (by_x and of_x is None, by_weight and found is None, False), (None,) * 3
        if x is None and any(wanted):
            x = (
                like(maps.shape, g, are_last(g))
                if lists and not wanted[1]
                else torch.from_numpy(maps.dense(str(g.dtype)[6:]))
            )
        if any(wanted):
            rest = (*ctx.options, False, [0] * (g.ndim - 2), maps.geometry.groups, wanted)
            dense = torch.ops.aten.convolution_backward(g, x, weight, None, *rest)
        of_weight = dense[1] if found is None else torch.from_numpy(found)
        if of_weight is not None and by_x and not saved and torch.is_grad_enabled():
            of_weight = first_order(of_weight, ctx.way)  # x itself is not there any more
        of_x = dense[0] if of_x is None else of_x
        return of_x, of_weight, g.sum((0, *range(2, g.ndim))) if by_bias else None, None, None, None


class PrunedConv(torch.autograd.Function):
    """A convolution with a weight that is mostly zeros, by the others. Of small whole numbers it keeps a byte."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, spread: Any, found: Any) -> Any:
        kept, ctx.order = (x, None) if found is None else found
        ctx.save_for_backward(weight, kept)
        ctx.spread, ctx.shape, ctx.last = spread, x.shape, are_last(x)
        ctx.way = None if found is None else way_to(x)
        use_threads(torch.get_num_threads())
        start = None if bias is None else bias.detach().numpy()
        made = taps.convolved(x.detach().numpy(), weight.detach().numpy(), start, spread[1], spread[2], ctx.last)
        return torch.from_numpy(made)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        weight, kept = ctx.saved_tensors
        by_x, by_weight, by_bias, *_ = ctx.needs_input_grad
        lists = by_x and not (torch.is_grad_enabled() or transformed() or in_batches(g))
        of_x = _by_input(g, ctx.shape, ctx.last, weight, ctx.spread, 1) if lists else None
        wanted, dense = (by_x and of_x is None, by_weight, False), (None, None)
        if any(wanted):
            x = kept if ctx.order is None else unpacked(kept, ctx.order, g.dtype)
            dense = torch.ops.aten.convolution_backward(
                g, x, weight, None, *ctx.spread, False, [0] * (g.ndim - 2), 1, wanted
            )
        of_x, of_weight = dense[0] if of_x is None else of_x, dense[1]
        if by_weight and ctx.order is not None and torch.is_grad_enabled():
            of_weight = first_order(of_weight, ctx.way)  # x itself is not there any more
        return of_x, of_weight, g.sum((0, *range(2, g.ndim))) if by_bias else None, None, None


def _by_input(g: Any, shape: Any, last: bool, weight: Any, spread: Any, groups: int) -> Any:
    """The gradient by the input by the entries of a pruned weight; None where a dense one is faster."""
    filters = weight.detach().numpy()
    if not taps.are_fewer(shape, filters, (*spread, groups)):
        return None
    use_threads(torch.get_num_threads())
    return torch.from_numpy(taps.by_input(g.numpy(force=True), filters, spread[1], spread[2], last))


class ByteConv(torch.autograd.Function):
    """A dense convolution of small whole numbers, of which it keeps a byte each."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, kept: Any, order: Any, options: Any) -> Any:
        ctx.save_for_backward(weight, kept)
        ctx.order, ctx.options, ctx.way = order, options, way_to(x)
        return CONV[weight.ndim - 2](x, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        weight, kept = ctx.saved_tensors
        by_x, by_weight, by_bias, *_ = ctx.needs_input_grad
        x, (*spread, groups) = unpacked(kept, ctx.order, g.dtype), ctx.options
        rest = (*spread, False, [0] * (g.ndim - 2), groups, (by_x, by_weight, False))
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(g, x, weight, None, *rest)
        if by_weight and torch.is_grad_enabled():
            of_weight = first_order(of_weight, ctx.way)  # x itself is not there any more
        return of_x, of_weight, g.sum((0, *range(2, g.ndim))) if by_bias else None, None, None, None


def like(shape: Any, g: Any, last: bool) -> Any:
    """A tensor of the dtype of a gradient, for its shape and its memory order alone."""
    order = torch.channels_last if len(shape) == 4 and last else torch.contiguous_format
    return torch.empty(shape, dtype=g.dtype, memory_format=order)

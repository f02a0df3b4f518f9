"""Memory layout: convolutions and neurons keep maps in the order "channels last", once they are in this order.

In this order the channels of a pixel are next to each other in memory. On the CPU torch's float32 convolutions are
faster with it, forward and backward. A neuron treats all elements alike, so it can take them in any order.
"""

from __future__ import annotations

from typing import Any, Callable

import torch

from spikecore.engines.torch.modes import compiling, has_data, transformed

FEW_BYTES = 8 << 20  # upper limit of the data between two layers: so much stays in the cache


def channels_last(x: Any) -> Any:
    """The input of a two-dimensional convolution, in the memory order in which the CPU computes fastest."""
    if x.ndim != 4 or x.device.type != "cpu" or x.dtype != torch.float32:
        return x
    if x.shape[1] == 1:  # with one channel both orders are the same; these strides give the output channels last
        return from_last(x.reshape(x.shape[0], *x.shape[2:], 1), 1)
    return x.contiguous(memory_format=torch.channels_last)


def pooled(pool: Callable[[Any], Any], x: Any) -> Any:
    """The pooling of maps. Its gradient is put into the memory order of ``x``: if it comes in another one, as
    from behind a Flatten, torch's backward pass copies the whole map twice, which is larger.
    """
    y = pool(x)
    last = torch.channels_last
    plain = y.requires_grad and y.ndim == 4 and x.is_cpu and has_data(x) and not (compiling() or transformed())
    if plain and x.is_contiguous(memory_format=last) and not x.is_contiguous():
        y.register_hook(lambda g: g.contiguous(memory_format=last))
    return y


def canonical(x: Any) -> Any:
    """The tensor with the strides of its order along axes of one element, too: torch's batch norm reads them."""
    if x.ndim not in (4, 5) or x.is_contiguous():
        return x
    if not x.is_contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d):
        return x
    last = x.movedim(1, -1)
    return last.reshape(-1).reshape(last.shape).movedim(-1, 1)


def are_last(x: Any) -> bool:
    """Whether maps (time, batch, channels, height, width) are in memory with channels last."""
    return x.ndim == 5 and not x.is_contiguous() and x.permute(0, 1, 3, 4, 2).is_contiguous()


def to_last(x: Any, leading: int) -> Any:
    """A view (..., height, width, channels) of (..., channels, height, width)."""
    return x.permute(*range(leading), leading + 1, leading + 2, leading)


def from_last(x: Any, leading: int) -> Any:
    """The inverse of ``to_last``."""
    return x.permute(*range(leading), leading + 2, leading, leading + 1)


def param_to_last(x: Any) -> Any:
    """Change a parameter that broadcasts to (channels, height, width) so that it does to (height, width, channels)."""
    return to_last(x.reshape((1,) * (3 - x.ndim) + tuple(x.shape)), 0) if x.ndim else x

"""Memory layout: maps whose channels lie next to each other in memory stay that way through convolutions and neurons.

On the CPU torch's float32 convolutions are faster in this order ("channels last") in both directions. A neuron does the
same to every element, so it can take them in the order in which they lie.
"""

from __future__ import annotations

from typing import Any

import torch

FEW_BYTES = (
    1 << 24
)  # what lies between two layers should not be larger: it stays in the cache, its memory is used again


def channels_last(x: Any) -> Any:
    """The input of a two-dimensional convolution in the order in which the CPU computes fastest."""
    if x.ndim != 4 or x.device.type != "cpu" or x.dtype != torch.float32:
        return x
    if x.shape[1] == 1:  # lies in both orders; strides that say so make the output lie in this one
        return from_last(x.reshape(x.shape[0], *x.shape[2:], 1), 1)
    return x.contiguous(memory_format=torch.channels_last)


def canonical(x: Any) -> Any:
    """The tensor with strides that fit its order along axes of one element too: torch's batch norm goes by them."""
    if x.ndim not in (4, 5) or x.is_contiguous():
        return x
    if not x.is_contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d):
        return x
    last = x.movedim(1, -1)
    return last.reshape(-1).reshape(last.shape).movedim(-1, 1)


def in_order(x: Any) -> bool:
    """Whether maps (batch, channels, height, width) lie in the order of their axes; True for all but maps."""
    return x.ndim != 4 or x.stride()[1:] == (x.shape[2] * x.shape[3], x.shape[3], 1)


def are_last(x: Any) -> bool:
    """Whether the channels of (time, batch, channels, height, width) lie next to each other."""
    return x.ndim == 5 and not x.is_contiguous() and x.permute(0, 1, 3, 4, 2).is_contiguous()


def to_last(x: Any, leading: int) -> Any:
    """(..., channels, height, width) as (..., height, width, channels): a view."""
    return x.permute(*range(leading), leading + 1, leading + 2, leading)


def from_last(x: Any, leading: int) -> Any:
    """The inverse of ``to_last``."""
    return x.permute(*range(leading), leading + 2, leading, leading + 1)


def param_to_last(x: Any) -> Any:
    """A parameter that broadcasts to (channels, height, width), for (height, width, channels)."""
    return to_last(x.reshape((1,) * (3 - x.ndim) + tuple(x.shape)), 0) if x.ndim else x

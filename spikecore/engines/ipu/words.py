"""The words of ``api/core/words.py`` as plain torch ops, which is all that PopTorch differentiates.

PopTorch records the ops of one forward pass and PopART differentiates them. A ``torch.autograd.Function`` compiles, but
its backward is silently dropped; so the spike is written in detach form, which needs nothing but the gradients of a
difference and a product::

    S = Theta(u)                                   a comparison and a cast: no gradient
    S + h(u).detach() * (u - u.detach())           value S exactly (h * 0 is 0), derivative h(u), for any surrogate h

At ties PopART gives every extreme the whole gradient, and over spikes ties are the rule. Extremes are therefore written
with ``where``, whose gradient has one way: one winner of a pooling window, shares elsewhere, as
``api/core/rules.py`` says.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any, Optional

import torch
import torch.nn.functional as F

from spikecore.api.core.windows import window_slices
from spikecore.api.core.words import Vocabulary
from spikecore.engines.torch.namespace import words as torch_words


def words(device: Any, dtype: str) -> Vocabulary:
    """Every word; new tensors lie on ``device`` and have ``dtype``."""
    xp = torch_words(device, dtype)
    xp.spike = lambda u, surrogate: detached_spike(u, surrogate.derivative(xp, u))
    xp.unpatches = _unpatches
    xp.maximum = lambda a, b: _larger(a > b, b > a, a, b)
    xp.minimum = lambda a, b: _larger(a < b, b < a, a, b)
    xp.max, xp.min = partial(_extreme, torch.amax), partial(_extreme, torch.amin)
    xp.max_pool = partial(_max_pool, xp)
    xp.avg_pool = partial(_avg_pool, xp, xp.avg_pool)
    return xp


def detached_spike(u: Any, slope: Any) -> Any:
    """Theta(u), strictly ``u > 0``, whose derivative is ``slope``: finite values of both are needed."""
    return (u > 0).to(u.dtype) + slope.detach() * (u - u.detach())


def _larger(first: Any, second: Any, a: Any, b: Any) -> Any:
    """Of a and b the one that comes first; at a tie half of each, which is both."""
    return torch.where(first, a, torch.where(second, b, (0.5 * a + 0.5 * b).to(a.dtype)))


def _extreme(best: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The extreme along an axis, its gradient in even shares for those that reach it."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    found = best(x.detach(), dim=axes, keepdim=True)
    if x.is_floating_point():
        reach = x == found
        share = reach.to(x.dtype) / reach.to(x.dtype).sum(dim=axes, keepdim=True)
        live = torch.where(reach, x - x.detach(), torch.zeros_like(x))  # zeros with a derivative
        found = found + (live * share).sum(dim=axes, keepdim=True)
    return found if keepdims else found.squeeze(axes)


def _max_pool(xp: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """The maximum of each window: its first in reading order, which a later one has to exceed."""
    padded = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), -math.inf) if any(padding) else x
    best: Optional[Any] = None
    for place in window_slices(x.shape[2:], kernel, stride, padding, (1,) * len(kernel)):
        taken = padded[place]
        best = taken if best is None else torch.where(taken > best, taken, best)
    return best


def _avg_pool(xp: Any, pool: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """Padded by a word of its own: PopTorch mixes up the axes if they are padded differently, as in one dimension."""
    padded = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding))) if any(padding) else x
    return pool(padded, kernel, stride, (0,) * len(kernel))


def _unpatches(windows: Any, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The sum of all windows at their places. Written without assignment to strided slices, which PopTorch refuses."""
    extents = [n + 2 * p for n, p in zip(shape[2:], padding)]
    total = None
    for i, window in enumerate(window_slices(shape[2:], kernel, stride, padding, dilation)):
        part = windows[:, :, i]
        for axis, (step, taken, extent) in enumerate(zip(stride, window[2:], extents), start=2):
            part = _spread(part, axis, step, taken.start, extent)
        total = part if total is None else total + part
    assert total is not None, "a kernel has at least one place"
    return total[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, shape[2:])))]


def _spread(x: Any, axis: int, step: int, first: int, extent: int) -> Any:
    """The entries of ``x`` along an axis at first, first + step, ... of ``extent`` places, zeros between them."""
    count = x.shape[axis]
    if step > 1:
        x = torch.stack([x, *itertools.repeat(torch.zeros_like(x), step - 1)], dim=axis + 1)
        x = x.reshape(*x.shape[:axis], count * step, *x.shape[axis + 2 :])
        x = x.narrow(axis, 0, (count - 1) * step + 1)
    after = extent - first - x.shape[axis]
    return F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [first, after])

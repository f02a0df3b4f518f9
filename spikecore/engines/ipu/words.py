"""The words of ``api/core/words.py`` as plain torch ops, because PopTorch differentiates nothing else.

PopTorch records the ops of one forward pass and PopART differentiates them. A ``torch.autograd.Function`` compiles, but
its backward is silently dropped. So the spike is written in detach form, which needs only the gradients of a
difference and a product::

    S = Theta(u)                                   a comparison and a cast: no gradient
    S + h(u).detach() * (u - u.detach())           value S exactly (h * 0 is 0), derivative h(u), for any surrogate h

At a tie PopART gives every extreme value the whole gradient, and spikes tie almost always. Maxima and minima are
therefore written with ``where``, which divides the gradient as ``api/core/rules.py`` says: in a pooling window one
value gets all of it, elsewhere equal values get equal shares.
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
    """All words; new tensors are on ``device`` and have ``dtype``."""
    xp = torch_words(device, dtype)
    xp.spike = lambda u, surrogate: detached_spike(u, surrogate.backward(xp, u, xp.ones_like(u)))
    xp.unpatches = _unpatches
    xp.maximum = lambda a, b: _larger(a > b, b > a, a, b)
    xp.minimum = lambda a, b: _larger(a < b, b < a, a, b)
    xp.max, xp.min = partial(_extreme, torch.amax), partial(_extreme, torch.amin)
    xp.max_pool = partial(_max_pool, xp)
    xp.avg_pool = partial(_avg_pool, xp, xp.avg_pool)
    return xp


def detached_spike(u: Any, slope: Any) -> Any:
    """Theta(u), which is 1 where u > 0, with the derivative ``slope``. Both u and ``slope`` must be finite."""
    return (u > 0).to(u.dtype) + slope.detach() * (u - u.detach())


def _larger(first: Any, second: Any, a: Any, b: Any) -> Any:
    """Give a where ``first``, b where ``second``, else their mean, so that at a tie each gets half of the gradient."""
    return torch.where(first, a, torch.where(second, b, (0.5 * a + 0.5 * b).to(a.dtype)))


def _extreme(best: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The extreme along an axis; all entries that reach it get equal shares of the gradient."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    extreme = best(x.detach(), dim=axes, keepdim=True)
    if x.is_floating_point():
        reaches = x == extreme
        share = reaches.to(x.dtype) / reaches.to(x.dtype).sum(dim=axes, keepdim=True)
        live = torch.where(reaches, x - x.detach(), torch.zeros_like(x))  # zeros with a derivative
        extreme = extreme + (live * share).sum(dim=axes, keepdim=True)
    return extreme if keepdims else extreme.squeeze(axes)


def _max_pool(xp: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """The maximum of each window; at ties the first entry in reading order gets the gradient."""
    padded = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), -math.inf) if any(padding) else x
    best: Optional[Any] = None
    for place in window_slices(x.shape[2:], kernel, stride, padding, (1,) * len(kernel)):
        candidate = padded[place]
        best = candidate if best is None else torch.where(candidate > best, candidate, best)
    return best


def _avg_pool(xp: Any, pool: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """Pad first, then average: PopTorch confuses the axes if their padding differs, as it does in one dimension."""
    padded = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding))) if any(padding) else x
    return pool(padded, kernel, stride, (0,) * len(kernel))


def _unpatches(windows: Any, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Add all windows at their places, without assignment to strided slices, which PopTorch refuses."""
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
    """Put the entries of ``x`` along an axis at first, first + step, ... of ``extent`` places, with zeros elsewhere."""
    count = x.shape[axis]
    if step > 1:
        x = torch.stack([x, *itertools.repeat(torch.zeros_like(x), step - 1)], dim=axis + 1)
        x = x.reshape(*x.shape[:axis], count * step, *x.shape[axis + 2 :])
        x = x.narrow(axis, 0, (count - 1) * step + 1)
    after = extent - first - x.shape[axis]
    return F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [first, after])

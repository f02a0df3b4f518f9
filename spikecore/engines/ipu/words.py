"""The words of ``api/words.py`` as plain torch ops, which is all that PopTorch differentiates.

PopTorch records the ops of one forward pass and PopART differentiates them. A ``torch.autograd.Function`` compiles, but
its backward is silently dropped; so the spike is written in detach form, which needs nothing but the gradients of a
difference and a product::

    S = Theta(u)                                   a comparison and a cast: no gradient
    S + h(u).detach() * (u - u.detach())           value S exactly (h * 0 is 0), derivative h(u), for any surrogate h
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F

from spikecore.api.windows import window_slices
from spikecore.api.words import Vocabulary
from spikecore.engines.torch.namespace import words as torch_words


def words(device: Any, dtype: str) -> Vocabulary:
    """Every word; new tensors lie on ``device`` and have ``dtype``."""
    xp = torch_words(device, dtype)
    xp.spike = lambda u, surrogate: detached_spike(u, surrogate.derivative(xp, u))
    xp.unpatches = _unpatches
    return xp


def detached_spike(u: Any, slope: Any) -> Any:
    """Theta(u), strictly ``u > 0``, whose derivative is ``slope``: finite values of both are needed."""
    return (u > 0).to(u.dtype) + slope.detach() * (u - u.detach())


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

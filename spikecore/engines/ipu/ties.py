"""Ties: maxima that several values share. On an IPU each of these values gets the whole gradient."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import torch
import torch.nn.functional as F

POOLS = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3}


def tied(name: str, given: Dict[str, Any], found: Any) -> Optional[float]:
    """The share of an operator's results that several equal values reach; None if it takes no maximum or minimum."""
    x: Any = given.get("self")
    if name in POOLS:
        at_maximum = _windows(x, POOLS[name], given, found[0].shape) == found[0].unsqueeze(-1)
    elif name in ("amax", "amin"):
        axes = given.get("dim") or list(range(x.ndim))
        best = found if given.get("keepdim") else _unsqueezed(found, axes, x.ndim)
        return _share(torch.sum(x == best, dim=axes) > 1)
    elif name in ("max", "min") and isinstance(found, torch.Tensor) and "dim" not in given:
        at_maximum = (x == found).reshape(1, -1)
    elif name in ("maximum", "minimum"):
        return _share(x == given["other"])
    else:
        return None
    return _share(at_maximum.sum(-1) > 1)


def _share(chosen: Any) -> float:
    return float(chosen.to(torch.float64).mean())


def _unsqueezed(x: Any, axes: Sequence[int], ndim: int) -> Any:
    for axis in sorted(axis % ndim for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _windows(x: Any, ndim: int, given: Dict[str, Any], shape: Any) -> Any:
    """The values in each window of a pooling, (..., *places, values of a window)."""
    sizes = _each(given["kernel_size"], ndim)
    strides = _each(given.get("stride") or sizes, ndim)
    paddings, dilations = (_each(given.get(name, default), ndim) for name, default in (("padding", 0), ("dilation", 1)))
    extents = [dilation * (size - 1) + 1 for size, dilation in zip(sizes, dilations)]
    widths: List[int] = []
    for padding, extent, stride in reversed(list(zip(paddings, extents, strides))):
        widths += [padding, padding + extent + stride]  # more than ceil_mode can ask for; cut to the places below
    windows = F.pad(x.detach(), widths, value=-float("inf"))
    for i, (extent, stride, dilation) in enumerate(zip(extents, strides, dilations)):
        axis = x.ndim - ndim + i
        windows = windows.unfold(axis, extent, stride).narrow(axis, 0, shape[axis])[..., ::dilation]
    return windows.flatten(x.ndim)


def _each(value: Any, ndim: int) -> List[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * ndim if len(values) == 1 else values

"""Convolution and pooling by hand, in functions of the array-API standard.

Everything is built on ``patches``, which lists the windows of a map, and on its adjoint ``unpatches``, which adds every
window back at its place. A convolution is then a matrix product, and so are its adjoint, the transposed convolution,
and its gradient by the weight (``api/core/rules.py``).
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional, Tuple

from spikecore.api.core.windows import is_whole_map, placed_size, window_slices
from spikecore.engines.numpy.product import shifted

Sizes = Tuple[int, ...]


def space_words(
    xp: Any, matmul: Callable[[Any, Any], Any], listed: Optional[Callable[..., Any]] = None
) -> Dict[str, Callable[..., Any]]:
    """The words conv, conv_transpose, avg_pool, max_pool, patches and unpatches for the array-API namespace ``xp``;
    ``matmul`` and, if there is one, ``listed`` are its own ``matmul`` and ``patches``.
    """

    def stacked(x: Any, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, fill: float = 0.0) -> Any:
        maps = padded(xp, x, padding, fill)
        pieces = [maps[window] for window in window_slices(x.shape[2:], kernel, stride, padding, dilation)]
        return xp.stack(pieces, axis=2)

    patches = listed or stacked

    def unpatches(windows: Any, shape: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Any:
        space = tuple(n + 2 * p for n, p in zip(shape[2:], padding))
        maps = xp.zeros((*shape[:2], *space), dtype=windows.dtype)
        for i, window in enumerate(window_slices(shape[2:], kernel, stride, padding, dilation)):
            maps[window] += windows[:, :, i, ...]
        inner = tuple(slice(p, p + n) for p, n in zip(padding, shape[2:]))
        return maps[(slice(None), slice(None), *inner)]

    def conv(x: Any, weight: Any, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Any:
        windows = patches(x, weight.shape[2:], stride, padding, dilation)
        batch, filters, space = x.shape[0], weight.shape[0], windows.shape[3:]
        columns = xp.reshape(windows, (batch, groups, weight.shape[1] * windows.shape[2], math.prod(space)))
        matrix = xp.reshape(weight, (groups, filters // groups, columns.shape[2]))
        y = xp.reshape(matrix @ columns, (batch, filters, *space))
        return shifted(y, None if bias is None else xp.reshape(bias, (-1,) + (1,) * len(space)))

    def conv_transpose(
        x: Any, weight: Any, bias: Any, stride: Sizes, padding: Sizes, output_padding: Sizes, dilation: Sizes,
        groups: int,
    ) -> Any:  # fmt: skip
        kernel, space = weight.shape[2:], x.shape[2:]
        rows, filters = weight.shape[0] // groups, groups * weight.shape[1]
        matrix = xp.permute_dims(xp.reshape(weight, (groups, rows, -1)), (0, 2, 1))
        columns = matmul(matrix, xp.reshape(x, (x.shape[0], groups, rows, math.prod(space))))
        windows = xp.reshape(columns, (x.shape[0], filters, math.prod(kernel), *space))
        size = placed_size(space, kernel, stride, padding, output_padding, dilation)
        y = unpatches(windows, (x.shape[0], filters, *size), kernel, stride, padding, dilation)
        return shifted(y, None if bias is None else xp.reshape(bias, (-1,) + (1,) * len(space)))

    def avg_pool(x: Any, kernel: Sizes, stride: Sizes, padding: Sizes) -> Any:
        if is_whole_map(x.shape[2:], kernel, padding):  # nothing to list
            return xp.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)
        return xp.mean(patches(x, kernel, stride, padding, (1,) * len(kernel)), axis=2)

    def max_pool(x: Any, kernel: Sizes, stride: Sizes, padding: Sizes) -> Any:
        return xp.max(patches(x, kernel, stride, padding, (1,) * len(kernel), -math.inf), axis=2)

    return {
        "patches": patches, "unpatches": unpatches, "conv": conv, "conv_transpose": conv_transpose,
        "avg_pool": avg_pool, "max_pool": max_pool,
    }  # fmt: skip


def padded(xp: Any, x: Any, padding: Sizes, fill: float) -> Any:
    """Maps with a border of ``fill``."""
    if not any(padding):
        return x
    space = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding))
    larger = xp.full((*x.shape[:2], *space), fill, dtype=x.dtype)
    larger[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, x.shape[2:])))] = x
    return larger

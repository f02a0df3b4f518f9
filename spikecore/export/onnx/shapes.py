"""Words that move numbers, and those over maps, as operators of ONNX.

``patches`` and ``unpatches``, which opset 17 lacks, are convolutions with filters that each pick one number.

A ``MaxPool2d(2)`` and a Flatten::

    "2/max_pool" = MaxPool <kernel_shape: ints = [2, 2], pads: ints = [0, 0, 0, 0], strides: ints = [2, 2]>
    "7/reshape" = Reshape ("5/avg_pool", "7/reshape.ints")
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from spikecore.export.onnx.body import Axes, Call, Operand, Sizes, axes_of

END = np.iinfo(np.int64).max  # "to the end" of a slice; its negative is before the first number

# ---- shapes --------------------------------------------------------------------------------------------------------


def _reshape(c: Call, x: Operand, *_: Any, **__: Any) -> str:
    """Any word that keeps the order of the numbers, as one Reshape."""
    return c.reshape(c.read(x))


def _permute_dims(c: Call, x: Operand, axes: Sizes) -> str:
    return c.op("Transpose", c.read(x), perm=axes_of(axes, len(axes)))


def _broadcast_to(c: Call, x: Operand, shape: Sizes) -> str:
    """Axes that are there already are written as 1, which leaves them as they are: they may be the batch's."""
    same_axes = (*(1,) * (len(shape) - len(c.shape_of(x))), *c.shape_of(x))
    return c.op("Expand", c.read(x), c.ints([1 if n == m else m for n, m in zip(same_axes, shape)]))


def _concat(c: Call, *arrays: Operand, axis: int = 0) -> str:
    return c.op("Concat", *(c.read(a, c.dtype) for a in arrays), axis=axis % len(c.shape))


def _stack(c: Call, *arrays: Operand, axis: int = 0) -> str:
    axis = axis % len(c.shape)
    row = (*c.shape[:axis], 1, *c.shape[axis + 1 :])
    return c.op("Concat", *(c.reshaped(c.read(a, c.dtype), row) for a in arrays), axis=axis)


def _slice(c: Call, name: str, ranges: Dict[int, Tuple[int, int, int]]) -> Tuple[str, ...]:
    """An operator and inputs that cut ``{axis: (start, stop, step)}`` out of a value."""
    if not ranges:
        return "Identity", name
    starts, stops, steps = zip(*ranges.values())
    return "Slice", name, c.ints(starts), c.ints(stops), c.ints(tuple(ranges)), c.ints(steps)


def _flip(c: Call, x: Operand, axis: Axes = None) -> str:
    ranges = {a: (-1, -END, -1) for a in axes_of(axis, len(c.shape))}
    return c.op(*_slice(c, c.read(x), ranges))


def _take_slice(c: Call, x: Operand, key: Any) -> str:
    """The word ``take_slice``; a key is an integer, a slice, ``...``, None, or a tuple of them."""
    shape = c.shape_of(x)
    keys = key if isinstance(key, tuple) else (key,)
    if not all(k is None or k is Ellipsis or isinstance(k, (int, np.integer, slice)) for k in keys):
        raise c.refused(f"the key {key!r} is no integer, slice, None or ...; select by a mask and where instead")
    taken = [k for k in keys if k is not None and k is not Ellipsis]
    rest = [slice(None)] * (len(shape) - len(taken))
    if Ellipsis in keys:
        place = len([k for k in keys[: keys.index(Ellipsis)] if k is not None])
        taken = [*taken[:place], *rest, *taken[place:]]
    else:
        taken = [*taken, *rest]
    ranges = {}
    for axis, (k, n) in enumerate(zip(taken, shape)):
        start, stop, step = (k if isinstance(k, slice) else slice(k % n, k % n + 1)).indices(n)
        if (start, stop, step) != (0, n, 1):
            ranges[axis] = start, -END if step < 0 and stop < 0 else stop, step
    cut = _slice(c, c.read(x), ranges)
    plain = all(isinstance(k, slice) or k is Ellipsis for k in keys)
    return c.op(*cut) if plain else c.reshape(c.part(*cut))


def _pad(c: Call, x: Operand, widths: Any, value: float = 0.0) -> str:
    lows, highs = zip(*widths)
    return c.op("Pad", c.read(x, c.dtype), c.ints((*lows, *highs)), c.read(value, c.dtype))


def _astype(c: Call, x: Operand, dtype: str) -> str:
    return c.cast(c.read(x))


# ---- space ---------------------------------------------------------------------------------------------------------


def _window(stride: Sizes, padding: Sizes, dilation: Sizes) -> Dict[str, Any]:
    return {"strides": tuple(stride), "pads": (*padding, *padding), "dilations": tuple(dilation)}


def _conv(
    c: Call,
    x: Operand,
    weight: Operand,
    bias: Optional[Operand],
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> str:
    operands = [c.read(a, c.dtype) for a in (x, weight, bias) if a is not None]
    return c.op("Conv", *operands, group=groups, **_window(stride, padding, dilation))


def _conv_transpose(
    c: Call,
    x: Operand,
    weight: Operand,
    bias: Optional[Operand],
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> str:
    operands = [c.read(a, c.dtype) for a in (x, weight, bias) if a is not None]
    window = _window(stride, padding, dilation)
    return c.op("ConvTranspose", *operands, group=groups, output_padding=tuple(output_padding), **window)


def _avg_pool(c: Call, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes) -> str:
    """The word ``avg_pool``. The border counts: an average is over as many numbers as the window has."""
    options: Dict[str, Any] = {"strides": tuple(stride), "pads": (*padding, *padding), "count_include_pad": 1}
    return c.op("AveragePool", c.read(x, c.dtype), kernel_shape=tuple(kernel), **options)


def _max_pool(c: Call, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes) -> str:
    return c.op("MaxPool", c.read(x), kernel_shape=tuple(kernel), strides=tuple(stride), pads=(*padding, *padding))


def _places(kernel: Sizes) -> np.ndarray:
    """Filters that each pick one number of a window."""
    count = math.prod(kernel)
    return np.eye(count, dtype=np.float32).reshape(count, 1, *kernel)


def _patches(
    c: Call, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, fill: float = 0.0
) -> str:
    """A convolution of each map, whose filters each pick one number."""
    if fill and any(padding):
        raise c.refused(f"windows over a border of {fill}; pad first, then list windows without padding")
    batch, channels, *space = c.shape_of(x)
    maps = c.reshaped(c.read(x, np.float32), (batch * channels, 1, *space))
    picked = c.part("Conv", maps, c.read(_places(kernel)), **_window(stride, padding, dilation))
    return c.cast(c.reshaped(picked, c.shape))


def _unpatches(
    c: Call, windows: Operand, shape: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> str:
    """The adjoint of ``patches``: a transposed convolution with the same filters."""
    batch, channels, count, *space = c.shape_of(windows)
    maps = c.reshaped(c.read(windows, np.float32), (batch * channels, count, *space))
    smallest = (
        (n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(space, stride, padding, dilation, kernel)
    )
    more = tuple(n - m for n, m in zip(shape[2:], smallest))
    window = _window(stride, padding, dilation)
    placed = c.part("ConvTranspose", maps, c.read(_places(kernel)), output_padding=more, **window)
    return c.cast(c.reshaped(placed, c.shape))


SHAPES: Dict[str, Callable[..., str]] = {
    "constant": lambda c, array: c.op("Identity", c.read(array, c.dtype)),
    "reshape": _reshape,
    "expand_dims": _reshape,
    "squeeze": _reshape,
    "permute_dims": _permute_dims,
    "broadcast_to": _broadcast_to,
    "concat": _concat,
    "stack": _stack,
    "flip": _flip,
    "take_slice": _take_slice,
    "pad": _pad,
    "astype": _astype,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "patches": _patches,
    "unpatches": _unpatches,
}  # fmt: skip

"""The words of ``api/core/words.py`` on torch tensors; autograd differentiates them.

array-api-compat supplies the functions that it has in differentiable form. The others are torch's own: with torch 2.0,
``clip`` and ``sum`` of array-api-compat detach.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict

import array_api_compat.torch as compat
import torch
import torch.nn.functional as F

from spikecore.api.core.windows import window_slices
from spikecore.api.core.words import WORDS, Vocabulary
from spikecore.engines.torch.batch_norm import batch_norm, in_words, moments
from spikecore.engines.torch.convolution import CONV, conv
from spikecore.engines.torch.layout import pooled
from spikecore.engines.torch.memory import zeros_like
from spikecore.engines.torch.pooling import max_pool2d
from spikecore.engines.torch.product import linear, matmul
from spikecore.engines.torch.spike import spike

SHORT, MANY = 16, 1 << 10  # rows shorter than the CPU's vectors; arrays so large that transposing them pays
_COMPAT = (
    "maximum minimum where exp log sqrt sin cos tanh atan reshape permute_dims expand_dims squeeze "
    "broadcast_to flip concat stack mean max min argmax argmin "
    "sign floor ceil round isfinite any all ones_like"
).split()


def words(device: Any, dtype: str, lean: bool = False, look: bool = False) -> Vocabulary:
    """All words; new tensors are on ``device`` and have ``dtype``.

    With ``lean``, as the torch engine has them, words save time and memory: convolutions choose the memory order,
    products free memory early. Without, each is one call of torch, which tracers and exports can follow. With ``look``
    as well as ``lean``, products and convolutions look whether an operand is spikes.
    """

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, dtype=dtype: function(*args, dtype=getattr(torch, dtype), device=device)

    written_here: Dict[str, Callable[..., Any]] = {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
        "negative": torch.neg,
        "pow": lambda x, n: x**n,
        "abs": torch.abs,
        "clip": lambda x, low, high: torch.clamp(x, low, high),
        "erf": torch.erf,
        "sum": _sum,
        "log_softmax": _log_softmax,
        "astype": lambda x, dtype: x.to(getattr(torch, dtype)),
        "pad": _pad,
        "take_slice": lambda x, index: x[index],
        "greater": lambda a, b: a > b,
        "greater_equal": lambda a, b: a >= b,
        "less": lambda a, b: a < b,
        "less_equal": lambda a, b: a <= b,
        "equal": lambda a, b: a == b,
        "not_equal": lambda a, b: a != b,
        "logical_and": lambda a, b: a & b,
        "logical_or": lambda a, b: a | b,
        "logical_not": lambda a: ~a,
        "arange": lambda stop: torch.arange(stop, device=device),
        "zeros": make(torch.zeros),
        "ones": make(torch.ones),
        "full": make(torch.full),
        "matmul": partial(matmul, look=look) if lean else torch.matmul,
        "linear": partial(linear, look=look) if lean else F.linear,
        "zeros_like": zeros_like if lean else torch.zeros_like,
        "conv": partial(conv, look=look) if lean else _conv,
        "conv_transpose": _conv_transpose,
        "moments": moments if lean else _moments,
        "batch_norm": batch_norm if lean else lambda x, moments, *rest, **options: in_words(x, *rest, **options),
        "avg_pool": _in_maps_order(_avg_pool) if lean else _avg_pool,
        "max_pool": _in_maps_order(_lean_max_pool) if lean else _max_pool,
        "patches": _patches,
        "unpatches": _unpatches,
        "spike": lambda u, surrogate: spike(u, surrogate, xp),  # ``xp`` is assigned below, before any call
        "stop_gradient": lambda x: x.detach(),
    }
    functions = {**{name: getattr(compat, name) for name in _COMPAT}, **written_here}
    xp = Vocabulary(**{name: functions[name] for name in WORDS})
    return xp


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Torch's sum: the one of array-api-compat calls ``torch.asarray``, which detaches with torch 2.0."""
    return torch.sum(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)


def _log_softmax(x: Any, axis: int) -> Any:
    """The word ``log_softmax``. Short rows on the CPU are transposed first, which is four times as fast."""
    if x.ndim > 1 and axis in (-1, x.ndim - 1) and x.shape[-1] < SHORT and x.is_cpu and x.numel() >= MANY:
        return F.log_softmax(x.transpose(-1, -2), dim=-2).transpose(-1, -2)
    return F.log_softmax(x, dim=axis)


def _moments(x: Any, axis: Any) -> Any:
    centred = x - x.mean(dim=axis, keepdim=True)
    return torch.stack((x.mean(dim=axis), (centred * centred).mean(dim=axis)))


def _pad(x: Any, widths: Any, value: float = 0.0) -> Any:
    flat = [n for low_high in reversed(tuple(widths)) for n in low_high]  # torch counts axes from the last
    return F.pad(x, flat, value=value)


_AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV_TRANSPOSE: Dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _conv(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return CONV[x.ndim - 2](x, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> Any:
    return _CONV_TRANSPOSE[x.ndim - 2](x, weight, bias, stride, padding, output_padding, groups, dilation)


def _avg_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    return _AVG[x.ndim - 2](x, kernel, stride, padding)


def _max_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    return _MAX[x.ndim - 2](x, kernel, stride, padding)


def _lean_max_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    return (max_pool2d if x.ndim == 4 else _max_pool)(x, kernel, stride, padding)


def _in_maps_order(pool: Callable[..., Any]) -> Callable[..., Any]:
    """A pooling whose gradient has the memory order of its maps, see ``layout.py``."""
    return lambda x, *options: pooled(lambda maps: pool(maps, *options), x)


def _patches(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float = 0.0) -> Any:
    padded = _pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), fill)
    slices = window_slices(x.shape[2:], kernel, stride, padding, dilation)
    return torch.stack([padded[window] for window in slices], dim=2)


def _unpatches(windows: Any, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    padded = windows.new_zeros(*shape[:2], *(n + 2 * p for n, p in zip(shape[2:], padding)))
    for i, window in enumerate(window_slices(shape[2:], kernel, stride, padding, dilation)):
        padded[window] = padded[window] + windows[:, :, i]
    return padded[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, shape[2:])))]

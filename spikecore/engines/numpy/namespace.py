"""The words of ``api/core/words.py`` on an array-API namespace.

Each word is a plain function of arrays. If an argument is a ``Var``, the call is recorded on its tape.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from spikecore.api.core.rules import along
from spikecore.api.core.words import OPERATORS, VARIADIC, WORDS, Vocabulary
from spikecore.engines.numpy.convolution import space_words
from spikecore.engines.numpy.product import shifted
from spikecore.engines.numpy.tape import Var

SHORT = 16  # NumPy is slow for rows with fewer numbers, because it works row by row

_OPERATORS = {word: getattr(operator, name) for name, word in OPERATORS.items()}

_STANDARD = (  # words that are functions of the array-API standard as they are
    "abs maximum minimum where exp log sqrt sin cos tanh atan reshape permute_dims squeeze broadcast_to flip "
    "sign floor ceil round argmax argmin isfinite any all zeros_like ones_like"
).split()


def raw_words(
    xp: Any, dtype: str, matmul: Callable[[Any, Any], Any], patches: Optional[Callable[..., Any]] = None
) -> Dict[str, Callable[..., Any]]:
    """All words as functions of plain arrays.

    Args:
        xp: the array-API namespace.
        dtype: dtype of new arrays.
        matmul: the matrix product for arrays of this namespace.
        patches: the word ``patches``, if this namespace has a faster way than slices.
    """
    written_here = {
        "clip": lambda x, low, high: xp.clip(x, low, high),
        "concat": lambda *arrays, axis=0: xp.concat(list(arrays), axis=axis),
        "stack": lambda *arrays, axis=0: xp.stack(list(arrays), axis=axis),
        "astype": lambda x, dtype: xp.astype(x, getattr(xp, dtype), copy=False),
        "sum": lambda x, axis=None, keepdims=False: xp.sum(x, axis=axis, dtype=_sum_dtype(x), keepdims=keepdims),
        "mean": lambda x, axis=None, keepdims=False: xp.mean(x, axis=axis, keepdims=keepdims),
        "max": lambda x, axis=None, keepdims=False: xp.max(x, axis=axis, keepdims=keepdims),
        "min": lambda x, axis=None, keepdims=False: xp.min(x, axis=axis, keepdims=keepdims),
        "expand_dims": lambda x, axis: _expand_dims(xp, x, axis),
        "erf": lambda x: _erf(xp, x),
        "matmul": matmul,
        "moments": lambda x, axis: _moments(xp, x, axis),
        "batch_norm": lambda *arguments, **options: _batch_norm(xp, *arguments, **options),
        "linear": lambda x, weight, bias=None: shifted(matmul(x, xp.permute_dims(weight, (1, 0))), bias),
        "log_softmax": lambda x, axis: _log_softmax(xp, x, axis),
        "pad": lambda x, widths, value=0.0: _pad(xp, x, widths, value),
        "spike": lambda u, surrogate: xp.astype(u > 0, u.dtype),
        "stop_gradient": lambda x: x,
        "arange": lambda stop: xp.arange(stop),
        "zeros": lambda shape, dtype=dtype: xp.zeros(shape, dtype=getattr(xp, dtype)),
        "ones": lambda shape, dtype=dtype: xp.ones(shape, dtype=getattr(xp, dtype)),
        "full": lambda shape, value, dtype=dtype: xp.full(shape, value, dtype=getattr(xp, dtype)),
    }
    standard = {name: getattr(xp, name) for name in _STANDARD}
    return {**_OPERATORS, **standard, **written_here, **space_words(xp, matmul, patches)}


def recording(raw: Dict[str, Callable[..., Any]]) -> Vocabulary:
    """The words, each of which records its call if an argument is a ``Var``."""
    return Vocabulary(**{name: _recorded(name, raw[name]) for name in WORDS})


def _recorded(name: str, raw: Callable[..., Any]) -> Callable[..., Any]:
    def word(*arguments: Any, **options: Any) -> Any:
        for argument in arguments:
            if type(argument) is Var:
                return argument.tape.apply(name, raw, arguments, options)
        return raw(*arguments, **options)

    def variadic(arrays: Any, **options: Any) -> Any:
        return word(*arrays, **options)

    chosen = variadic if name in VARIADIC else word
    chosen.__name__ = name
    return chosen


def _sum_dtype(x: Any) -> Any:
    """The dtype in which a sum is computed: that of a floating-point array; None (the library's default) for others."""
    return x.dtype if getattr(x.dtype, "kind", "f") == "f" else None


def _log_softmax(xp: Any, x: Any, axis: int) -> Any:
    if type(x) is np.ndarray and x.ndim > 1 and axis in (-1, x.ndim - 1) and x.shape[-1] < SHORT:
        columns = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)  # five times as fast: NumPy works row by row
        return _log_softmax(xp, columns, 0).T.reshape(x.shape)
    below = x - xp.max(x, axis=axis, keepdims=True)  # the largest exponent is 0, so nothing overflows
    return below - xp.log(xp.sum(xp.exp(below), axis=axis, dtype=x.dtype, keepdims=True))


def _moments(xp: Any, x: Any, axis: Tuple[int, ...]) -> Any:
    mean = xp.mean(x, axis=axis)
    centred = x - along(xp, mean, axis)
    centred *= centred
    return xp.stack([mean, xp.mean(centred, axis=axis)])


def _batch_norm(xp: Any, x: Any, moments: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float) -> Any:
    moments = _moments(xp, x, axis) if moments is None else moments
    scale = 1.0 / xp.sqrt(moments[1, ...] + eps)
    scale = scale if weight is None else scale * weight
    shift = -moments[0, ...] * scale
    return shifted(x * along(xp, scale, axis), along(xp, shift if bias is None else shift + bias, axis))


def _pad(xp: Any, x: Any, widths: Any, value: float) -> Any:
    shape = tuple(low + n + high for (low, high), n in zip(widths, x.shape))
    padded = xp.full(shape, value, dtype=x.dtype)
    padded[tuple(slice(low, low + n) for (low, _), n in zip(widths, x.shape))] = x
    return padded


def _expand_dims(xp: Any, x: Any, axis: Any) -> Any:
    if axis == -1 and hasattr(x, "ndim"):  # NumPy's own takes 2 us
        return x[..., None]
    return x[None, ...] if axis == 0 and hasattr(x, "ndim") else xp.expand_dims(x, axis=axis)


def _erf(xp: Any, x: Any) -> Any:
    """The error function, value by value: exact to the last digit, but slow. Of this package only the smooth engine
    (``smooth.py``), which ``verify`` uses for finite differences, calls it.
    """
    host = np.asarray(x.get() if hasattr(x, "get") else x)
    values = np.fromiter((math.erf(v) for v in host.ravel().tolist()), dtype=host.dtype, count=host.size)
    return xp.asarray(values.reshape(host.shape), dtype=x.dtype)

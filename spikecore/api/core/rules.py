"""The derivative of every word, written by hand as vector-Jacobian products, which are written in words, too.

For a word ``out = f(a, b, ...)`` and the cotangent ``g = dL/d out`` a rule gives ``dL/da``, ``dL/db``, ...: one
function per array argument::

    multiply      out = a b       dL/da = g b      dL/db = g a

Every function has the signature ``(xp, g, out, *arguments, **options)``. Rules ignore broadcasting: the code that
applies a rule sums the result over the broadcast axes. A word without a rule raises; a derivative is never silently
zero. The NumPy engine applies these rules to arrays in its backward pass; the kernel generator applies them to symbols.

Conventions at kinks, equal to torch's: |x|' = 0 at 0; ``clip`` has derivative one on its borders; ``maximum`` and
``minimum`` give each side half at a tie; ``max`` and ``min`` share ties evenly; ``max_pool`` takes the first maximum.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Tuple

from spikecore.api.core.windows import is_whole_map, placed_size
from spikecore.api.core.words import PIECEWISE_CONSTANT

RULES: Dict[str, Tuple[Callable[..., Any], ...]] = {}


def rule(word: str, *products: Callable[..., Any]) -> None:
    """Register the derivative of ``word``: one vector-Jacobian product per array argument."""
    RULES[word] = products


def rule_of(word: str) -> Tuple[Callable[..., Any], ...]:
    """The vector-Jacobian products of a word; empty if its derivative is zero by definition.

    Raises:
        NotImplementedError: the word has no rule.
    """
    if word in RULES:
        return RULES[word]
    if word in PIECEWISE_CONSTANT:
        return ()
    raise NotImplementedError(f"no derivative rule for {word!r}: add one line to spikecore/api/core/rules.py")


# ---- arithmetic ----------------------------------------------------------------------------------------------------

rule("add", lambda xp, g, out, a, b: g, lambda xp, g, out, a, b: g)
rule("subtract", lambda xp, g, out, a, b: g, lambda xp, g, out, a, b: -g)
rule("multiply", lambda xp, g, out, a, b: g * b, lambda xp, g, out, a, b: g * a)
rule("divide", lambda xp, g, out, a, b: g / b, lambda xp, g, out, a, b: -g * (out / b))
rule("negative", lambda xp, g, out, a: -g)
rule("pow", lambda xp, g, out, a, n: g * (n * a ** (n - 1)))
rule("abs", lambda xp, g, out, a: g * xp.sign(a))
rule("exp", lambda xp, g, out, a: g * out)
rule("log", lambda xp, g, out, a: g / a)
rule("sqrt", lambda xp, g, out, a: g / (2.0 * out))
rule("sin", lambda xp, g, out, a: g * xp.cos(a))
rule("cos", lambda xp, g, out, a: -g * xp.sin(a))
rule("tanh", lambda xp, g, out, a: g * (1.0 - out * out))
rule("atan", lambda xp, g, out, a: g / (1.0 + a * a))
rule("erf", lambda xp, g, out, a: g * (2.0 / math.sqrt(math.pi)) * xp.exp(-a * a))


def _kept(xp: Any, g: Any, mask: Any) -> Any:
    """``g`` where the mask is true, else zero."""
    return xp.where(mask, g, xp.zeros_like(g))


def _winner(xp: Any, g: Any, a: Any, b: Any) -> Any:
    """``g`` where a > b, half of it where a = b, else zero. With sign(a - b) it would be NaN for two infinities."""
    return g * (0.5 * xp.astype(a > b, str_dtype(g)) + 0.5 * xp.astype(a >= b, str_dtype(g)))


def str_dtype(x: Any) -> str:
    """The name of an array's dtype, "float32" for torch.float32 and for numpy.dtype("float32")."""
    return str(x.dtype).rsplit(".", 1)[-1]


rule("maximum", lambda xp, g, out, a, b: _winner(xp, g, a, b), lambda xp, g, out, a, b: _winner(xp, g, b, a))
rule("minimum", lambda xp, g, out, a, b: _winner(xp, g, b, a), lambda xp, g, out, a, b: _winner(xp, g, a, b))
rule("clip", lambda xp, g, out, a, low, high: _kept(xp, g, (a >= low) & (a <= high)))
rule(
    "where",
    lambda xp, g, out, mask, a, b: None,
    lambda xp, g, out, mask, a, b: _kept(xp, g, mask),
    lambda xp, g, out, mask, a, b: _kept(xp, g, xp.logical_not(mask)),
)


def _swapped(xp: Any, x: Any) -> Any:
    """``x`` with its last two axes exchanged."""
    return xp.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


rule(  # out = a @ b for matrices (or stacks of them)
    "matmul",
    lambda xp, g, out, a, b: xp.matmul(g, _swapped(xp, b)),
    lambda xp, g, out, a, b: xp.matmul(_swapped(xp, a), g),
)


def _bias_product(xp: Any, g: Any, *_: Any, **__: Any) -> Any:
    """The cotangent of a bias, one value per feature or channel: ``g`` summed over samples and positions."""
    return xp.sum(g, axis=(0, *range(2, g.ndim)))


rule(  # out = x W^T + b
    "linear",
    lambda xp, g, out, x, weight, bias=None: xp.matmul(g, weight),
    lambda xp, g, out, x, weight, bias=None: xp.matmul(_swapped(xp, g), x),
    _bias_product,
)

# ---- reductions ----------------------------------------------------------------------------------------------------


def _axes(a: Any, axis: Any) -> Tuple[int, ...]:
    if axis is None:
        return tuple(range(a.ndim))
    return tuple(i % a.ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def _restored(xp: Any, g: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """The cotangent of a reduction, with the reduced axes back as axes of length 1."""
    if keepdims:
        return g
    reduced = _axes(a, axis)
    return xp.reshape(g, tuple(1 if i in reduced else n for i, n in enumerate(a.shape)))


def _sum(xp: Any, g: Any, out: Any, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return xp.broadcast_to(_restored(xp, g, a, axis, keepdims), a.shape)


def _mean(xp: Any, g: Any, out: Any, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    count = math.prod(a.shape[i] for i in _axes(a, axis))
    return xp.broadcast_to(_restored(xp, g, a, axis, keepdims) / count, a.shape)


def _extremum(xp: Any, g: Any, out: Any, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    hit = xp.astype(a == _restored(xp, out, a, axis, keepdims), str_dtype(g))
    return hit * (_restored(xp, g, a, axis, keepdims) / xp.sum(hit, axis=axis, keepdims=True))


rule("sum", _sum)
rule("mean", _mean)
rule("max", _extremum)
rule("min", _extremum)
rule("log_softmax", lambda xp, g, out, a, axis: g - xp.exp(out) * xp.sum(g, axis=axis, keepdims=True))


def along(xp: Any, values: Any, axis: Tuple[int, ...]) -> Any:
    """``values``, which lack the axes ``axis`` of another array, in a shape that broadcasts to it."""
    extents = iter(values.shape)
    return xp.reshape(values, tuple(1 if i in axis else next(extents) for i in range(values.ndim + len(axis))))


def _moments(xp: Any, g: Any, out: Any, x: Any, axis: Tuple[int, ...]) -> Any:
    """With n values per mean, dmean/dx = 1 / n and dvar/dx = 2 (x - mean) / n; here as slope x + constant."""
    count = math.prod(x.shape[i] for i in axis)
    slope = g[1, ...] * (2.0 / count)
    return x * along(xp, slope, axis) + along(xp, g[0, ...] / count - slope * out[0, ...], axis)


def _norm_weight(
    xp: Any, g: Any, out: Any, x: Any, moments: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float
) -> Any:
    """The sums of g times the normalised x, which are also the cotangent of the weight."""
    moments = xp.moments(x, axis) if moments is None else moments
    centred = xp.sum(g * x, axis=axis) - moments[0, ...] * xp.sum(g, axis=axis)
    return centred / xp.sqrt(moments[1, ...] + eps)


def _norm_input(
    xp: Any, g: Any, out: Any, x: Any, moments: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float
) -> Any:
    """The cotangent of x, with n for x normalised: weight / sqrt(var + eps) (g - mean(g) - n mean(g n))."""
    moments = xp.moments(x, axis) if moments is None else moments
    count, inverse = math.prod(x.shape[i] for i in axis), 1.0 / xp.sqrt(moments[1, ...] + eps)
    scale = inverse if weight is None else inverse * weight
    slope = -scale * inverse * _norm_weight(xp, g, out, x, moments, weight, bias, axis, eps) / count
    constant = -scale * xp.sum(g, axis=axis) / count - moments[0, ...] * slope
    return g * along(xp, scale, axis) + x * along(xp, slope, axis) + along(xp, constant, axis)


rule("moments", _moments)
rule(
    "batch_norm",
    _norm_input,
    lambda *_, **__: None,
    _norm_weight,
    lambda xp, g, out, x, moments, weight, bias, axis, eps: xp.sum(g, axis=axis),
)

# ---- shapes --------------------------------------------------------------------------------------------------------


def _inverse(axes: Tuple[int, ...]) -> Tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _slice_product(xp: Any, g: Any, out: Any, a: Any, index: Any) -> Any:
    """An array like ``a`` with ``g`` at ``index`` and zeros elsewhere (basic indexing takes no entry twice)."""
    full = xp.zeros_like(a)
    full[index] = g  # assigning is no word: only arrays can do it, and only arrays come here
    return full


def _pieces(xp: Any, g: Any, out: Any, *arrays: Any, axis: int = 0) -> Any:
    """The parts of ``g`` that belong to the arrays of a ``concat``."""
    start, parts = 0, []
    before = (slice(None),) * (axis % g.ndim)
    for array in arrays:
        stop = start + array.shape[axis]
        parts.append(g[(*before, slice(start, stop), ...)])
        start = stop
    return parts


def _unstacked(xp: Any, g: Any, out: Any, *arrays: Any, axis: int = 0) -> Any:
    """The slices of ``g`` that belong to the arrays of a ``stack``."""
    before = (slice(None),) * (axis % g.ndim)
    return [g[(*before, i, ...)] for i in range(len(arrays))]


def _unpadded(xp: Any, g: Any, out: Any, a: Any, widths: Any, value: float = 0.0) -> Any:
    return g[tuple(slice(low, low + n) for (low, _), n in zip(widths, a.shape))]


rule("reshape", lambda xp, g, out, a, shape: xp.reshape(g, a.shape))
rule("permute_dims", lambda xp, g, out, a, axes: xp.permute_dims(g, _inverse(axes)))
rule("expand_dims", lambda xp, g, out, a, axis: xp.reshape(g, a.shape))
rule("squeeze", lambda xp, g, out, a, axis: xp.reshape(g, a.shape))
rule("broadcast_to", lambda xp, g, out, a, shape: g)
rule("flip", lambda xp, g, out, a, axis: xp.flip(g, axis=axis))
rule("take_slice", _slice_product)
rule("concat", _pieces)  # variadic: one function for all arguments
rule("stack", _unstacked)
rule("pad", _unpadded)
rule("astype", lambda xp, g, out, a, dtype: xp.astype(g, str_dtype(a)))

# ---- space ---------------------------------------------------------------------------------------------------------
# With patches, which list the windows of x, a convolution is a matrix product; unpatches is the adjoint of patches.


def _grouped(xp: Any, x: Any, groups: int, rows: int) -> Any:
    """(batch, channels, ..) -> (batch, groups, rows, columns)."""
    return xp.reshape(x, (x.shape[0], groups, rows, -1))


def _conv_input(
    xp: Any, g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    zeros = (0,) * len(stride)
    least = placed_size(g.shape[2:], weight.shape[2:], stride, padding, zeros, dilation)
    extra = tuple(n - m for n, m in zip(x.shape[2:], least))  # positions at the end that no window reaches
    return xp.conv_transpose(g, weight, None, stride, padding, extra, dilation, groups)


def _conv_weight(
    xp: Any, g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    filters, kernel = weight.shape[0], weight.shape[2:]
    windows = xp.patches(x, kernel, stride, padding, dilation)
    columns = _grouped(xp, windows, groups, weight.shape[1] * math.prod(kernel))
    product = xp.matmul(_grouped(xp, g, groups, filters // groups), _swapped(xp, columns))  # (.., filters, columns)
    return xp.reshape(xp.sum(product, axis=0), weight.shape)


def _transposed_input(
    xp: Any, g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
    dilation: Any, groups: int,
) -> Any:  # fmt: skip
    return xp.conv(g, weight, None, stride, padding, dilation, groups)


def _transposed_weight(
    xp: Any, g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
    dilation: Any, groups: int,
) -> Any:  # fmt: skip
    """As for the ``conv`` that maps the result's shape to x's, whose adjoint this word is: g is the input of that
    ``conv``, x the cotangent of its result.
    """
    return _conv_weight(xp, x, None, g, weight, None, stride, padding, dilation, groups)


def _avg_pool(xp: Any, g: Any, out: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    size = math.prod(kernel)
    if is_whole_map(x.shape[2:], kernel, padding):
        return xp.broadcast_to(g / size, x.shape)
    share = xp.expand_dims(g / size, axis=2)
    windows = xp.broadcast_to(share, (*g.shape[:2], size, *g.shape[2:]))
    return xp.unpatches(windows, x.shape, kernel, stride, padding, (1,) * len(kernel))


def _max_pool(xp: Any, g: Any, out: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """Each window's gradient goes to the first of its values that equals its maximum."""
    ones = (1,) * len(kernel)
    windows = xp.patches(x, kernel, stride, padding, ones, -math.inf)
    shares, unclaimed = [], None  # whether no value so far was the maximum; None: there was no value yet
    for i in range(windows.shape[2]):
        is_maximum = windows[:, :, i, ...] == out
        shares.append(g * xp.astype(is_maximum if unclaimed is None else is_maximum & unclaimed, str_dtype(g)))
        no_maximum = xp.logical_not(is_maximum)
        unclaimed = no_maximum if unclaimed is None else unclaimed & no_maximum
    return xp.unpatches(xp.stack(shares, axis=2), x.shape, kernel, stride, padding, ones)


rule("conv", _conv_input, _conv_weight, _bias_product)
rule("conv_transpose", _transposed_input, _transposed_weight, _bias_product)
rule("avg_pool", _avg_pool)
rule("max_pool", _max_pool)
rule(
    "patches",
    lambda xp, g, out, x, kernel, stride, padding, dilation, fill=0.0: xp.unpatches(
        g, x.shape, kernel, stride, padding, dilation
    ),
)
rule(
    "unpatches",
    lambda xp, g, out, windows, shape, kernel, stride, padding, dilation: xp.patches(
        g, kernel, stride, padding, dilation
    ),
)

# ---- spikes --------------------------------------------------------------------------------------------------------

rule("spike", lambda xp, g, out, u, surrogate: surrogate.backward(xp, u, g))
rule("stop_gradient")

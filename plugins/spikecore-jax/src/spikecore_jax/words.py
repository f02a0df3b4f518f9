"""The words of spikecore on ``jax.numpy``; JAX differentiates them.

Three derivatives are written here, because JAX's differ from the conventions: that of ``abs`` at 0 is 0, that of
``clip`` on its borders is one, and a spike has that of its surrogate. All hold in forward and in reverse mode.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Callable

import jax
import jax.numpy as jnp
from jax import lax

from spikecore.api.core.rules import along
from spikecore.api.core.windows import placed_size, window_slices
from spikecore.api.core.words import OPERATORS, WORDS, Vocabulary
from spikecore.api.surrogate import Surrogate

_OPERATORS = {word: getattr(operator, name) for name, word in OPERATORS.items()}

_STANDARD = (
    "maximum minimum where exp log sqrt sin cos tanh atan matmul reshape permute_dims expand_dims squeeze "
    "broadcast_to flip concat stack sum mean max min argmax argmin sign floor ceil round isfinite any all "
    "zeros_like ones_like"
).split()


def words(dtype: str) -> Vocabulary:
    """All words; new arrays have ``dtype``. They are meant for use inside ``JaxEngine.isolated``."""
    own: dict[str, Callable[..., Any]] = {
        "abs": lambda x: x * jnp.sign(x),
        "clip": _clip,
        "erf": lax.erf,
        "linear": _linear,
        "log_softmax": lambda x, axis: jax.nn.log_softmax(x, axis=axis),
        "moments": _moments,
        "batch_norm": _batch_norm,
        "pad": lambda x, widths, value=0.0: jnp.pad(x, tuple(widths), constant_values=value),
        "astype": lambda x, dtype: x.astype(held(dtype)),
        "conv": _conv,
        "conv_transpose": _conv_transpose,
        "avg_pool": _avg_pool,
        "max_pool": _max_pool,
        "patches": _patches,
        "unpatches": _unpatches,
        "spike": lambda u, surrogate: _spike(u, surrogate, xp),
        "stop_gradient": lax.stop_gradient,
        "arange": jnp.arange,
        "zeros": lambda shape, dtype=dtype: jnp.zeros(shape, held(dtype)),
        "ones": lambda shape, dtype=dtype: jnp.ones(shape, held(dtype)),
        "full": lambda shape, value, dtype=dtype: jnp.full(shape, value, held(dtype)),
    }
    table = {**_OPERATORS, **{name: getattr(jnp, name) for name in _STANDARD}, **own}
    if dtype == "float64":
        table = {name: _in_double(name, word) for name, word in table.items()}
    xp = Vocabulary(**{name: table[name] for name in WORDS})
    return xp


def held(dtype: str) -> Any:
    """The dtype of a name. Outside ``isolated`` integers may have 32 bits, as JAX has them; float64 is refused."""
    if dtype == "float64":
        check_switched_on(f"dtype={dtype!r}")
    return jax.dtypes.canonicalize_dtype(dtype)


def check_switched_on(what: str) -> None:
    """Refuse to compute in float64 where JAX would cut it to 32 bits.

    Raises:
        RuntimeError: says how to switch 64 bits on.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError(
            f"{what}: JAX computes in float64 only where it is switched on: compute inside `with engine.isolated():`, "
            "or begin the program with jax.config.update('jax_enable_x64', True)"
        )


def _in_double(name: str, word: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arguments: Any, **options: Any) -> Any:
        check_switched_on(name)
        return word(*arguments, **options)

    checked.__name__ = name
    return checked


def _spike(u: Any, surrogate: Any, xp: Vocabulary) -> Any:
    def fire(u: Any) -> Any:
        return (u > 0).astype(u.dtype)

    def pushed(primals: Any, tangents: Any) -> Any:
        return fire(*primals), surrogate.derivative(xp, primals[0]) * tangents[0]

    def pulled(u: Any, grad: Any) -> Any:
        return (surrogate.backward(xp, u, grad),)

    if type(surrogate).backward is Surrogate.backward:
        spike = jax.custom_jvp(fire)
        spike.defjvp(pushed)
        return spike(u)
    spike = jax.custom_vjp(fire)  # a function of its own of the gradient; there is no forward mode
    spike.defvjp(lambda u: (fire(u), u), pulled)
    return spike(u)


def _clip(x: Any, low: float, high: float) -> Any:
    return jnp.where((x >= low) & (x <= high), x, lax.stop_gradient(jnp.clip(x, low, high)))


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    product = lax.dot_general(x, weight, (((1,), (1,)), ((), ())))
    return product if bias is None else product + bias


def _moments(x: Any, axis: Any) -> Any:
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    return jnp.stack((jnp.mean(x, axis=axis), jnp.mean(centred * centred, axis=axis)))


def _batch_norm(x: Any, moments: Any, weight: Any, bias: Any, axis: Any, eps: float) -> Any:
    # The moments are computed from x again, so that they are differentiated by it; the compiler computes them once.
    mean, variance = _moments(x, axis)
    scale = 1.0 / jnp.sqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return x * along(jnp, scale, axis) + along(jnp, shift if bias is None else shift + bias, axis)


# ---- maps (batch, channels, *space) --------------------------------------------------------------------------------


def _conv(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    y = lax.conv_general_dilated(
        x, weight, stride, [(p, p) for p in padding], rhs_dilation=dilation, feature_group_count=groups
    )
    return y if bias is None else y + _per_channel(bias, y)


def _conv_transpose(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> Any:
    kernel = weight.shape[2:]
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    turned = jnp.swapaxes(grouped, 1, 2).reshape(groups * weight.shape[1], -1, *kernel)
    reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding)]
    y = lax.conv_general_dilated(
        x,
        jnp.flip(turned, axis=tuple(range(2, turned.ndim))),
        (1,) * len(kernel),
        [(n, n + extra) for n, extra in zip(reach, output_padding)],
        lhs_dilation=stride,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )
    assert y.shape[2:] == placed_size(x.shape[2:], kernel, stride, padding, output_padding, dilation)
    return y if bias is None else y + _per_channel(bias, y)


def _per_channel(bias: Any, maps: Any) -> Any:
    return bias.reshape(-1, *(1,) * (maps.ndim - 2))


def _pooled(x: Any, start: float, join: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    borders = ((0, 0), (0, 0), *((p, p) for p in padding))
    return lax.reduce_window(x, start, join, (1, 1, *kernel), (1, 1, *stride), borders)


def _avg_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    return _pooled(x, 0.0, lax.add, kernel, stride, padding) / math.prod(kernel)


def _max_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    return _pooled(x, -math.inf, lax.max, kernel, stride, padding)


def _patches(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float = 0.0) -> Any:
    padded = jnp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=fill)
    return jnp.stack([padded[i] for i in window_slices(x.shape[2:], kernel, stride, padding, dilation)], axis=2)


def _unpatches(windows: Any, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    maps = jnp.zeros((*shape[:2], *(n + 2 * p for n, p in zip(shape[2:], padding))), windows.dtype)
    for i, window in enumerate(window_slices(shape[2:], kernel, stride, padding, dilation)):
        maps = maps.at[window].add(windows[:, :, i])
    return maps[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, shape[2:])))]

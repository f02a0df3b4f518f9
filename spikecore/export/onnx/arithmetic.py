"""Words of arithmetic, comparisons and reductions as operators of ONNX.

A threshold, compared and cast from a flag to a number::

    "1/greater" = Greater ("1.mem", "1/greater.constant")
    "1/astype" = Cast <to: int = 1> ("1/greater")

Operators compute in the type in which NumPy would. What opset 17 lacks is composed: ``moments``, ``batch_norm``,
``isfinite``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.onnx.body import Axes, Call, Operand, Sizes, axes_of, element

# ---- arithmetic ----------------------------------------------------------------------------------------------------


def _binary(kind: str, of_flags: Optional[str], c: Call, a: Operand, b: Operand) -> str:
    """Arithmetic on numbers; of two flags, ``of_flags``."""
    if c.dtype.kind == "b":
        if of_flags is None:
            raise c.refused(f"{c.node.word} of two flags; cast them to numbers first")
        kind = of_flags
    return c.op(kind, c.read(a, c.dtype), c.read(b, c.dtype))


def _compare(kind: str, c: Call, a: Operand, b: Operand) -> str:
    dtype = c.dtype_of(a, b)
    dtype = np.dtype(np.int32) if dtype.kind == "b" and kind != "Equal" else dtype
    return c.op(kind, c.read(a, dtype), c.read(b, dtype))


def _not_equal(c: Call, a: Operand, b: Operand) -> str:
    dtype = c.dtype_of(a, b)
    return c.op("Not", c.part("Equal", c.read(a, dtype), c.read(b, dtype)))


def _logical(kind: str, c: Call, *operands: Operand) -> str:
    if c.dtype.kind != "b":
        raise c.refused(f"{c.node.word} works on the bits of numbers; compare them first, which gives flags")
    return c.op(kind, *(c.read(a) for a in operands))


def _unary(kind: str, c: Call, x: Operand) -> str:
    return c.op(kind, c.read(x, c.dtype))


def _rounded(kind: str, c: Call, x: Operand) -> str:
    """A word such as floor, which leaves whole numbers unchanged."""
    return c.op(kind if c.dtype.kind == "f" else "Identity", c.read(x, c.dtype))


def _pow(c: Call, x: Operand, n: Operand) -> str:
    """The word ``pow``; the exponents 2 and 1/2 by the operations that NumPy takes for them."""
    base = c.read(x, c.dtype)
    if isinstance(n, (int, float)) and n in (2, 0.5):
        return c.op("Mul", base, base) if n == 2 else c.op("Sqrt", base)
    return c.op("Pow", base, c.read(n, c.dtype))


def _clip(c: Call, x: Operand, low: Operand, high: Operand) -> str:
    if any(type(bound) is Value or np.ndim(bound) for bound in (low, high)):  # Clip takes single numbers alone
        return c.op("Min", c.part("Max", c.read(x, c.dtype), c.read(low, c.dtype)), c.read(high, c.dtype))
    return c.op("Clip", c.read(x, c.dtype), c.read(low, c.dtype), c.read(high, c.dtype))


def _where(c: Call, condition: Operand, a: Operand, b: Operand) -> str:
    if c.dtype.kind != "b":
        return c.op("Where", c.read(condition, bool), c.read(a, c.dtype), c.read(b, c.dtype))
    chosen = c.part("Where", c.read(condition, bool), c.read(a, np.int32), c.read(b, np.int32))  # runtimes lack flags
    return c.cast(chosen)


def _linear(c: Call, x: Operand, weight: Operand, bias: Optional[Operand] = None) -> str:
    added = [] if bias is None else [c.read(bias, c.dtype)]
    return c.op("Gemm", c.read(x, c.dtype), c.read(weight, c.dtype), *added, transB=1)


def _spike(c: Call, u: Operand, surrogate: Any = None) -> str:
    return c.cast(c.part("Greater", c.read(u), c.read(0.0, c.dtype)))


def _isfinite(c: Call, x: Operand) -> str:
    name = c.read(x, c.dtype_of(x, 0.0))
    return c.op("Not", c.part("Or", c.part("IsNaN", name), c.part("IsInf", name)))


# ---- reductions ----------------------------------------------------------------------------------------------------


def _reduce(kind: str, c: Call, x: Operand, axis: Axes = None, keepdims: bool = False) -> str:
    """A reduction. In opset 17 the axes of a sum are an input, those of the others an attribute."""
    axes, dtype = axes_of(axis, len(c.shape_of(x))), c.dtype
    if not axes:
        return c.op("Identity", c.read(x, dtype))
    flags = dtype.kind == "b"
    name = c.read(x, np.int32 if flags else dtype)
    final: Any = partial(c.part if flags else c.op, kind)
    if kind == "ReduceSum":
        return str(final(name, c.ints(axes), keepdims=int(keepdims)))
    reduced = str(final(name, axes=axes, keepdims=int(keepdims)))
    return c.cast(reduced) if flags else reduced


def _any_all(kind: str, c: Call, x: Operand, axis: Axes = None, keepdims: bool = False) -> str:
    axes = axes_of(axis, len(c.shape_of(x)))
    flags = c.part("Cast", c.read(x, bool), to=element(np.int32))
    return c.cast(c.part(kind, flags, axes=axes, keepdims=int(keepdims)) if axes else flags)


def _arg(kind: str, c: Call, x: Operand, axis: Optional[int] = None, keepdims: bool = False) -> str:
    """The first extreme value, as in NumPy."""
    name = c.read(x, c.dtype_of(x, 0.0))
    if axis is None:
        return c.reshape(c.part(kind, c.reshaped(name, (-1,)), axis=0, keepdims=0))
    return c.op(kind, name, axis=axis, keepdims=int(keepdims))


def _log_softmax(c: Call, x: Operand, axis: int) -> str:
    return c.op("LogSoftmax", c.read(x), axis=axis)


def _mean_and_variance(c: Call, name: str, axis: Sizes) -> Tuple[str, str]:
    """The names of mean and variance, with axes of length 1 in place of ``axis``."""
    mean = c.part("ReduceMean", name, axes=axis, keepdims=1)
    centred = c.part("Sub", name, mean)
    return mean, c.part("ReduceMean", c.part("Mul", centred, centred), axes=axis, keepdims=1)


def _moments(c: Call, x: Operand, axis: Sizes) -> str:
    both = (c.reshaped(part, (1, *c.shape[1:])) for part in _mean_and_variance(c, c.read(x), axis))
    return c.op("Concat", *both, axis=0)


def _batch_norm(
    c: Call,
    x: Operand,
    moments: Optional[Operand],
    weight: Optional[Operand],
    bias: Optional[Operand],
    axis: Sizes,
    eps: float,
) -> str:
    """As the NumPy engine computes it: x times a scale plus a shift, so that rounding is the same."""
    shape = c.shape_of(x)
    axis = axes_of(axis, len(shape))
    kept_axes = tuple(1 if i in axis else n for i, n in enumerate(shape))
    name = c.read(x, c.dtype)
    if moments is None:
        mean, variance = _mean_and_variance(c, name, axis)
    else:
        known = c.read(moments, c.dtype)
        mean, variance = (c.reshaped(c.part("Gather", known, c.ints((i,)), axis=0), kept_axes) for i in (0, 1))
    scale = c.part("Sqrt", c.part("Add", variance, c.read(eps, c.dtype)))
    scale = c.part("Div", c.read(1.0, c.dtype), scale)
    if weight is not None:
        scale = c.part("Mul", scale, _along(c, weight, axis, kept_axes))
    shift = c.part("Mul", c.part("Neg", mean), scale)
    if bias is not None:
        shift = c.part("Add", shift, _along(c, bias, axis, kept_axes))
    return c.op("Add", c.part("Mul", name, scale), shift)


def _along(c: Call, values: Operand, axis: Sizes, wide: Sizes) -> str:
    """Weights, which lack the axes ``axis``, in a shape that broadcasts with x."""
    kept = iter((*(1,) * (len(wide) - len(axis) - len(c.shape_of(values))), *c.shape_of(values)))
    shape = tuple(1 if i in axis else next(kept) for i in range(len(wide)))
    if isinstance(values, np.ndarray):
        return c.read(values.reshape(shape), c.dtype)
    return c.reshaped(c.read(values, c.dtype), shape)


ARITHMETIC: Dict[str, Callable[..., str]] = {
    "add": partial(_binary, "Add", "Or"),
    "subtract": partial(_binary, "Sub", None),
    "multiply": partial(_binary, "Mul", "And"),
    "divide": partial(_binary, "Div", None),
    "maximum": partial(_binary, "Max", "Or"),
    "minimum": partial(_binary, "Min", "And"),
    "matmul": partial(_binary, "MatMul", None),
    "greater": partial(_compare, "Greater"),
    "greater_equal": partial(_compare, "GreaterOrEqual"),
    "less": partial(_compare, "Less"),
    "less_equal": partial(_compare, "LessOrEqual"),
    "equal": partial(_compare, "Equal"),
    "not_equal": _not_equal,
    "logical_and": partial(_logical, "And"),
    "logical_or": partial(_logical, "Or"),
    "logical_not": partial(_logical, "Not"),
    **{
        word: partial(_unary, kind)
        for word, kind in (
            ("negative", "Neg"), ("abs", "Abs"), ("exp", "Exp"), ("log", "Log"), ("sqrt", "Sqrt"), ("sin", "Sin"),
            ("cos", "Cos"), ("tanh", "Tanh"), ("atan", "Atan"), ("erf", "Erf"), ("sign", "Sign"),
            ("stop_gradient", "Identity"),
        )
    },
    "floor": partial(_rounded, "Floor"),
    "ceil": partial(_rounded, "Ceil"),
    "round": partial(_rounded, "Round"),  # half to even, like NumPy's
    "pow": _pow,
    "clip": _clip,
    "where": _where,
    "linear": _linear,
    "spike": _spike,
    "isfinite": _isfinite,
    "sum": partial(_reduce, "ReduceSum"),
    "mean": partial(_reduce, "ReduceMean"),
    "max": partial(_reduce, "ReduceMax"),
    "min": partial(_reduce, "ReduceMin"),
    "any": partial(_any_all, "ReduceMax"),
    "all": partial(_any_all, "ReduceMin"),
    "argmax": partial(_arg, "ArgMax"),
    "argmin": partial(_arg, "ArgMin"),
    "log_softmax": _log_softmax,
    "moments": _moments,
    "batch_norm": _batch_norm,
}  # fmt: skip

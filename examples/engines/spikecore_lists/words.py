"""Arrays on plain Python lists, and every word of the vocabulary in a few lines."""

from __future__ import annotations

import math
import operator
from array import array
from functools import reduce
from itertools import zip_longest

from spikecore.api.core.windows import placed_size, window_counts
from spikecore.api.core.words import OPERATORS, REFLECTED, Vocabulary

RANKS = ("bool", "int64", "float32", "float64")  # of two dtypes the later one wins
CASTS = {
    "bool": lambda numbers: [bool(x) for x in numbers],
    "int64": lambda numbers: [int(x) for x in numbers],
    "float32": lambda numbers: array("f", numbers).tolist(),  # rounded to float32, held as Python's floats
    "float64": lambda numbers: [float(x) for x in numbers],
}


class Array:
    """Numbers in row-major order, a shape, and the name of a dtype."""

    def __init__(self, data, shape, dtype):
        self.data, self.shape, self.dtype = CASTS[dtype](data), tuple(shape), dtype
        self.ndim = len(self.shape)

    def __bool__(self):  # without it, Python takes each array for true
        raise TypeError("an array is neither true nor false: engine.to_numpy(x) gives what Python can ask")


# ---- shapes


def strides(shape):
    """By how much the place in the list grows along each axis."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def view(x, shape, steps, start=0):
    """The numbers that lie ``steps`` apart along each axis of ``shape``."""
    places = [start]
    for n, step in zip(shape, steps):
        places = [place + i * step for place in places for i in range(n)]
    return Array([x.data[place] for place in places], shape, x.dtype)


def axes_of(x, axis):
    """An axis, a tuple of axes or None for all, as a tuple of numbers >= 0."""
    every = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(one % x.ndim for one in every)


def reshape(x, shape):
    known = math.prod(n for n in shape if n != -1)  # -1 stands for what is left
    return Array(x.data, (len(x.data) // known if n == -1 else n for n in shape), x.dtype)


def permute_dims(x, axes):
    steps = strides(x.shape)
    return view(x, [x.shape[axis] for axis in axes], [steps[axis] for axis in axes])


def expand_dims(x, axis):
    axis %= x.ndim + 1
    return Array(x.data, (*x.shape[:axis], 1, *x.shape[axis:]), x.dtype)


def squeeze(x, axis):
    gone = axes_of(x, axis)
    return Array(x.data, (n for i, n in enumerate(x.shape) if i not in gone), x.dtype)


def broadcast_to(x, shape):
    inner = (1,) * (len(shape) - x.ndim) + x.shape
    if any(n not in (1, wanted) for n, wanted in zip(inner, shape)):
        raise ValueError(f"an array of shape {x.shape} does not broadcast to {shape}")
    return view(x, shape, [step if n > 1 else 0 for n, step in zip(inner, strides(inner))])


def flip(x, axis):
    turned, steps = axes_of(x, axis), strides(x.shape)
    start = sum((x.shape[i] - 1) * steps[i] for i in turned)
    return view(x, x.shape, [-step if i in turned else step for i, step in enumerate(steps)], start)


def take_slice(x, index):
    index = index if isinstance(index, tuple) else (index,)
    dots = index.index(...) if any(one is ... for one in index) else len(index)
    missing = x.ndim - sum(one is not ... for one in index)
    index = (*index[:dots], *(slice(None),) * missing, *index[dots + 1 :])
    shape, steps, start = [], [], 0
    for one, n, step in zip(index, x.shape, strides(x.shape)):
        places = range(n)[one]  # Python's own rules for slices and negative numbers
        if isinstance(one, slice):
            shape, steps = [*shape, len(places)], [*steps, places.step * step]
            start += places.start * step
        else:
            start += places * step
    return view(x, shape, steps, start)


def concat(arrays, axis=0):
    axis %= arrays[0].ndim
    outer = math.prod(arrays[0].shape[:axis])
    rows = [(x.data, len(x.data) // max(outer, 1)) for x in arrays]
    data = [number for i in range(outer) for numbers, n in rows for number in numbers[i * n : (i + 1) * n]]
    shape = list(arrays[0].shape)
    shape[axis] = sum(x.shape[axis] for x in arrays)
    return Array(data, shape, max((x.dtype for x in arrays), key=RANKS.index))


def stack(arrays, axis=0):
    return concat([expand_dims(x, axis) for x in arrays], axis % (arrays[0].ndim + 1))


def pad(x, widths, value=0.0):
    for axis, both in enumerate(widths):
        shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in both]
        before, after = (Array([value] * math.prod(shape), shape, x.dtype) for shape in shapes)
        x = concat([before, x, after], axis)
    return x


# ---- number by number


def each(function, dtype=None):
    """The word that applies a function of numbers to arrays that broadcast, and to Python's numbers."""

    def word(*operands):
        arrays = [x for x in operands if isinstance(x, Array)]
        kept = dtype or max((x.dtype for x in arrays), key=RANKS.index)
        if not dtype and kept in ("bool", "int64") and any(isinstance(x, float) for x in operands):
            raise TypeError(f"an array of {kept} and a float: convert the array with xp.astype")
        shape = together(*(x.shape for x in arrays))
        operands = (x if isinstance(x, Array) else Array([x], (), "float64") for x in operands)
        return Array(map(function, *(broadcast_to(x, shape).data for x in operands)), shape, kept)

    return word


def together(*shapes):
    """The shape to which several shapes broadcast."""
    sizes = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return tuple(next((n for n in ns if n != 1), 1) for ns in sizes)[::-1]


def ieee(function, holds=lambda *_: False, value=lambda *_: math.inf):
    """What IEEE 754 says where Python raises an error: ``value`` if ``holds``, else NaN."""

    def safe(*numbers):
        try:
            return function(*numbers)
        except (ArithmeticError, ValueError):
            return value(*numbers) if holds(*numbers) else math.nan

    return safe


def greater(a, b):
    return a if a > b or a != a else b  # NaN wins, as everywhere


def smaller(a, b):
    return a if a < b or a != a else b


def rounded(function):
    return each(lambda x: function(x) if math.isfinite(x) else x)


FLAGS = {"greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "equal": "eq", "not_equal": "ne",
         "logical_and": "and_", "logical_or": "or_", "logical_not": "not_"}  # fmt: skip
ELEMENTWISE = {
    **{word: each(getattr(operator, name), "bool") for word, name in FLAGS.items()},
    **{name: each(ieee(getattr(math, name))) for name in ("sqrt", "sin", "cos", "tanh", "atan", "erf")},
    "add": each(operator.add), "subtract": each(operator.sub), "multiply": each(operator.mul),
    "divide": each(ieee(operator.truediv, lambda a, b: a != 0, lambda a, b: math.copysign(math.inf, a))),
    "pow": each(ieee(math.pow, lambda x, n: x >= 0 or n == int(n))),
    "exp": each(ieee(math.exp, lambda x: True)),
    "log": each(ieee(math.log, lambda x: x == 0, lambda x: -math.inf)),
    "negative": each(operator.neg), "abs": each(abs), "sign": each(lambda x: (x > 0) - (x < 0)),
    "maximum": each(greater), "minimum": each(smaller), "clip": each(lambda x, low, high: min(max(x, low), high)),
    "floor": rounded(math.floor), "ceil": rounded(math.ceil), "round": rounded(round),
    "isfinite": each(math.isfinite, "bool"),
}  # fmt: skip


def where(mask, a, b):
    a, b = (x if isinstance(x, Array) else each(lambda m, x=x: x, other.dtype)(mask) for x, other in ((a, b), (b, a)))
    shape = together(mask.shape, a.shape, b.shape)
    rows = zip(*(broadcast_to(x, shape).data for x in (mask, a, b)))
    return Array([x if m else y for m, x, y in rows], shape, max(a.dtype, b.dtype, key=RANKS.index))


# ---- along axes


def reduced(function, dtype=None):
    """The word that makes one number of all numbers along some axes."""

    def word(x, axis=None, keepdims=False):
        gone = axes_of(x, axis)
        kept = [i for i in range(x.ndim) if i not in gone]
        rows, n = permute_dims(x, (*kept, *gone)).data, math.prod(x.shape[i] for i in gone)
        found = [function(rows[i * n : (i + 1) * n]) for i in range(math.prod(x.shape[i] for i in kept))]
        shape = [1 if i in gone else x.shape[i] for i in (range(x.ndim) if keepdims else kept)]
        return Array(found, shape, dtype or x.dtype)

    return word


def total(x, axis=None, keepdims=False):
    return (reduced(math.fsum) if x.dtype.startswith("float") else reduced(sum, "int64"))(x, axis, keepdims)


mean = reduced(lambda numbers: math.fsum(numbers) / len(numbers))
largest, smallest = (reduced(lambda numbers, better=better: reduce(better, numbers)) for better in (greater, smaller))


def log_softmax(x, axis):
    below = x - largest(x, axis, keepdims=True)  # the largest exponent is 0, so nothing overflows
    return below - ELEMENTWISE["log"](total(ELEMENTWISE["exp"](below), axis, keepdims=True))


def moments(x, axis):
    centred = x - mean(x, axis, keepdims=True)
    return stack([mean(x, axis), mean(centred * centred, axis)])


def batch_norm(x, statistics, weight, bias, axis, eps):
    statistics = moments(x, axis) if statistics is None else statistics
    values = (statistics[0, ...], statistics[1, ...], weight, bias)
    centre, variance, scale, shift = (v if v is None else reduce(expand_dims, sorted(axis), v) for v in values)
    y = (x - centre) / ELEMENTWISE["sqrt"](variance + eps)
    y = y if scale is None else y * scale
    return y if shift is None else y + shift


# ---- products and windows


def matmul(a, b):
    batch = together(a.shape[:-2], b.shape[:-2])
    (rows, inner), columns = a.shape[-2:], b.shape[-1]
    a, b = broadcast_to(a, (*batch, rows, inner)), broadcast_to(b, (*batch, inner, columns))
    data = []
    for i in range(math.prod(batch)):
        left, right = a.data[i * rows * inner : (i + 1) * rows * inner], b.data[i * inner * columns :]
        upright = [right[j : inner * columns : columns] for j in range(columns)]
        for row in (left[k * inner : (k + 1) * inner] for k in range(rows)):
            data += [math.fsum(map(operator.mul, row, column)) for column in upright]
    return Array(data, (*batch, rows, columns), a.dtype)


def linear(x, weight, bias=None):
    y = matmul(x, permute_dims(weight, (1, 0)))
    return y if bias is None else y + bias


def patches(x, kernel, stride, padding, dilation, fill=0.0):
    """(batch, channels, *space) -> (batch, channels, places in the kernel, *windows)."""
    counts = window_counts(x.shape[2:], kernel, stride, padding, dilation)
    x = pad(x, ((0, 0), (0, 0), *((n, n) for n in padding)), fill)
    outer, steps = strides(x.shape)[:2], strides(x.shape)[2:]
    within, between = ([a * b for a, b in zip(steps, by)] for by in (dilation, stride))
    windows = view(x, (*x.shape[:2], *kernel, *counts), (*outer, *within, *between))
    return reshape(windows, (*x.shape[:2], math.prod(kernel), *counts))


def unpatches(windows, shape, kernel, stride, padding, dilation):
    """Add every number of the windows to the place that ``patches`` took it from."""
    places = patches(Array(range(math.prod(shape)), shape, "int64"), kernel, stride, padding, dilation, -1)
    data = [0.0] * (math.prod(shape) + 1)  # the last place, -1, is the border
    for place, number in zip(places.data, windows.data):
        data[place] += number
    return Array(data[:-1], shape, windows.dtype)


def channelwise(y, bias):
    return y if bias is None else y + reshape(bias, (-1, *(1,) * (y.ndim - 2)))


def conv(x, weight, bias, stride, padding, dilation, groups):
    windows = patches(x, weight.shape[2:], stride, padding, dilation)
    columns = reshape(windows, (x.shape[0], groups, math.prod(weight.shape[1:]), -1))
    y = matmul(reshape(weight, (groups, weight.shape[0] // groups, -1)), columns)
    return channelwise(reshape(y, (x.shape[0], weight.shape[0], *windows.shape[3:])), bias)


def conv_transpose(x, weight, bias, stride, padding, output_padding, dilation, groups):
    kernel, filters = weight.shape[2:], weight.shape[1] * groups
    by_group = permute_dims(reshape(weight, (groups, weight.shape[0] // groups, -1)), (0, 2, 1))
    windows = matmul(by_group, reshape(x, (x.shape[0], groups, weight.shape[0] // groups, -1)))
    windows = reshape(windows, (x.shape[0], filters, math.prod(kernel), *x.shape[2:]))
    space = placed_size(x.shape[2:], kernel, stride, padding, output_padding, dilation)
    return channelwise(unpatches(windows, (x.shape[0], filters, *space), kernel, stride, padding, dilation), bias)


# ---- all words


def words(dtype):
    """The namespace ``engine.xp``; new arrays have ``dtype``."""

    def full(shape, value, dtype=dtype):
        return Array([value] * math.prod(shape), shape, dtype)

    return Vocabulary(
        **ELEMENTWISE,
        where=where, astype=lambda x, dtype: Array(x.data, x.shape, dtype),
        reshape=reshape, permute_dims=permute_dims, expand_dims=expand_dims, squeeze=squeeze, flip=flip, pad=pad,
        broadcast_to=broadcast_to, take_slice=take_slice, concat=concat, stack=stack,
        sum=total, mean=mean, max=largest, min=smallest, any=reduced(any, "bool"), all=reduced(all, "bool"),
        argmax=reduced(lambda numbers: numbers.index(max(numbers)), "int64"),
        argmin=reduced(lambda numbers: numbers.index(min(numbers)), "int64"),
        log_softmax=log_softmax, moments=moments, batch_norm=batch_norm, matmul=matmul, linear=linear,
        patches=patches, unpatches=unpatches, conv=conv, conv_transpose=conv_transpose,
        avg_pool=lambda x, *window: mean(patches(x, *window, (1,) * len(window[0])), axis=2),
        max_pool=lambda x, *window: largest(patches(x, *window, (1,) * len(window[0]), -math.inf), axis=2),
        arange=lambda stop: Array(range(stop), (stop,), "int64"),
        full=full, zeros=lambda shape, dtype=dtype: full(shape, 0, dtype),
        ones=lambda shape, dtype=dtype: full(shape, 1, dtype),
        zeros_like=lambda x: full(x.shape, 0, x.dtype), ones_like=lambda x: full(x.shape, 1, x.dtype),
        spike=lambda u, surrogate: each(lambda x: x > 0, u.dtype)(u), stop_gradient=lambda x: x,
    )  # fmt: skip


def method(word, swap=False):
    """A word as the method of a Python operator."""
    return lambda self, *others: getattr(WORDS, word)(*((*others, self) if swap else (self, *others)))


WORDS = words("float64")
for name, word in OPERATORS.items():
    setattr(Array, name, method(word))
for name in REFLECTED:
    setattr(Array, name.replace("__", "__r", 1), method(OPERATORS[name], swap=True))

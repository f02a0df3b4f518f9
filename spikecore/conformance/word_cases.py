"""Cases of the words: arguments, options, and the same thing in NumPy. A new word is one line here."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Tuple

import numpy as np

from spikecore.conformance import reference
from spikecore.conformance.cases import SURROGATES
from spikecore.conformance.rig import normal

# Values are away from kinks and ties, so that differences are derivatives; test_words.py looks at the kinks.

A, B, POSITIVE = normal(3, 4), normal(3, 4, seed=1), abs(normal(3, 4, seed=2)) + 0.5
ROW, COLUMN, MASK = normal(4), normal(3, 1), normal(3, 4, seed=3) > 0
MAP, MAP1, MAP3 = normal(2, 4, 5, 6), normal(2, 2, 7), normal(1, 1, 3, 4, 3)
STACK, MAPS = normal(2, 3, 4), normal(3, 2, 4, 2, 3)
FILTER, WINDOWS = normal(4, 2, 2, 3), normal(2, 4, 6, 6, 2)
SPACE = {"stride": (1, 2), "padding": (1, 1), "dilation": (1, 2)}
POOL = ((3, 2), (2, 2), (1, 1))
PAIRS = [(A, B), (A, ROW), (COLUMN, ROW), (A, 2.5), (ROW, A)]


class WordCase(NamedTuple):
    """A word applied to arguments: float arrays are differentiated, everything else is an option."""

    word: str
    arguments: Tuple[Any, ...]
    options: Any
    numpy: Any

    def __repr__(self):
        return self.word


def _words(name, numpy, arguments, **options):
    return [WordCase(name, tuple(one), options, numpy) for one in arguments]


def _log_softmax(x, axis):
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def _reduced(name):
    function = getattr(np, name)
    axes = [None, 1, -2, (0, 1)]
    return [WordCase(name, (A,), {"axis": axis, "keepdims": keep}, function) for axis in axes for keep in (False, True)]


def _normed(x, axis, weight, bias):
    """Arguments of ``batch_norm``."""
    return x, reference.moments(x, axis), weight, bias, axis


DIFFERENTIABLE = [
    *_words("add", np.add, [*PAIRS, (2.5, A)]),
    *_words("subtract", np.subtract, [*PAIRS, (2.5, A)]),
    *_words("multiply", np.multiply, [*PAIRS, (2.5, A)]),
    *_words("divide", np.divide, [(A, POSITIVE), (COLUMN, POSITIVE), (ROW, POSITIVE), (A, 2.5), (2.5, POSITIVE)]),
    *_words("pow", np.power, [(POSITIVE, n) for n in (3, 2, 1, 0.5, -1)]),
    *(word for name in ("negative", "abs", "exp", "sin", "cos", "tanh")
      for word in _words(name, getattr(np, name), [(A,)])),
    *_words("atan", np.arctan, [(A,)]),
    *_words("erf", np.vectorize(math.erf), [(A,)]),
    *_words("log", np.log, [(POSITIVE,)]),
    *_words("sqrt", np.sqrt, [(POSITIVE,)]),
    *_words("maximum", np.maximum, [(A, B), (A, ROW)]),
    *_words("minimum", np.minimum, [(A, B), (A, ROW)]),
    *_words("clip", np.clip, [(A, -0.5, 0.7), (A, -math.inf, 0.1)]),
    *_words("where", np.where, [(MASK, A, B), (MASK, COLUMN, ROW)]),
    *_words("matmul", np.matmul, [(A, B.T.copy()), (STACK, normal(2, 4, 2)), (STACK, normal(4, 2))]),
    *_words("linear", reference.linear,
            [(A, B), (A, B, None), (A, B, normal(3)), (normal(5, 2), normal(1, 2), normal(1))]),
    *_reduced("sum"), *_reduced("mean"), *_reduced("max"), *_reduced("min"),
    *(w for axis in (0, -1)
      for w in _words("log_softmax", _log_softmax, [(A,)], axis=axis)),
    *_words("log_softmax", _log_softmax, [(normal(3, 41, 9),)], axis=-1),  # many short rows
    *(w for axis in ((0, 1, 3, 4), (1, 3, 4), (1,))
      for w in _words("moments", reference.moments, [(MAPS,)], axis=axis)),
    *_words("batch_norm", reference.batch_norm, [  # of all steps, of each step, of one step with many weights
            _normed(MAPS, (0, 1, 3, 4), normal(4), normal(4)), _normed(MAPS, (0, 1, 3, 4), None, None),
            _normed(MAPS, (1, 3, 4), normal(1, 4), normal(1, 4)), _normed(MAPS, (1, 3, 4), normal(3, 4), None),
            (STACK, None, None, None, (2,)), (MAPS, None, normal(4), None, (0, 1, 3, 4)),
            _normed(A[None], (1,), normal(3, 4), normal(3, 4)), _normed(STACK, (0, 1), normal(4), None)], eps=1e-3),
    *_words("reshape", np.reshape, [(A, (2, 6)), (A, (-1,))]),
    *_words("permute_dims", np.transpose, [(MAP3, (3, 0, 2, 4, 1))]),
    *(w for axis in (0, 1, -1) for w in _words("expand_dims", np.expand_dims, [(A,)], axis=axis)),
    *_words("squeeze", np.squeeze, [(COLUMN,)], axis=1),
    *_words("broadcast_to", np.broadcast_to, [(ROW, (3, 4)), (COLUMN, (2, 3, 4))]),
    *(w for axis in (0, -1) for w in _words("concat", np.concatenate, [([A, B],), ([A, B, A],)], axis=axis)),
    *(w for axis in (0, 1, -1) for w in _words("stack", np.stack, [([A, B],)], axis=axis)),
    *(w for axis in (0, (0, 1)) for w in _words("flip", np.flip, [(A,)], axis=axis)),
    *_words("take_slice", lambda x, index: x[index],
            [(A, (slice(1, 3), 2)), (A, (..., slice(None, None, 2))), (A, (0, ...))]),
    *_words("pad", lambda x, widths, value=0.0: np.pad(x, widths, constant_values=value),
            [(A, ((0, 1), (2, 0))), (A, ((1, 1), (0, 0)), 3.0)]),
    *_words("astype", lambda x, dtype: x.astype(dtype), [(A, "float64")]),
    *_words("conv", reference.conv, [(MAP, FILTER, None), (MAP, FILTER, normal(4))], groups=2, **SPACE),
    *_words("conv", reference.conv, [(MAP1, normal(3, 2, 3), normal(3), (2,), (1,), (1,), 1), (MAP3,
            normal(2, 1, 2, 2, 1), normal(2), (1, 2, 1), (0, 1, 0), (1, 1, 1), 1)]),
    *_words("conv_transpose", reference.conv_transpose,
            [(MAP[:, :, :3, :2], FILTER, None), (MAP[:1, :, :2, :3], FILTER, normal(4))],
            output_padding=(0, 1), groups=2, **SPACE),
    *_words("conv_transpose", reference.conv_transpose, [
            (MAP1, normal(2, 3, 3), normal(3), (3,), (1,), (2,), (1,), 1), (MAP3, normal(1, 2, 2, 2, 1), normal(2),
            (1, 2, 1), (0, 1, 0), (0, 1, 0), (2, 1, 1), 1)]),
    *_words("avg_pool", lambda x, *o: reference.patches(x, *o, (1, 1)).mean(2),
            [(MAP, *POOL), (MAP[:, :, :2, :3], (2, 3), (1, 1), (0, 0))]),
    *_words("max_pool", lambda x, *o: reference.patches(x, *o, (1, 1), -np.inf).max(2), [(MAP, *POOL)]),
    *_words("patches", reference.patches, [(MAP, (2, 3))], **SPACE),
    *_words("unpatches", reference.unpatches, [(WINDOWS, MAP.shape, (2, 3))], **SPACE),
    *(w for _, one in SURROGATES for w in _words("spike", lambda u, s: (u > 0) * 1.0, [(A, one)])),
    *_words("stop_gradient", lambda x: x, [(A,)]),
]  # fmt: skip
HALVES = np.array([0.5, 1.5, -0.5])
LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or}
CONSTANT = [
    *(w for n in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
      for w in _words(n, getattr(np, n), [(np.round(A), np.round(B)), (A, 0.25)])),
    *(w for n, f in LOGICAL.items() for w in _words(n, f, [(MASK, A > 0)])),
    *_words("logical_not", np.logical_not, [(MASK,)]),
    *(w for n in ("sign", "floor", "ceil", "round") for w in _words(n, getattr(np, n), [(2 * A,), (HALVES,)])),
    *_words("argmax", np.argmax, [(A,), (np.round(A),)], axis=1),
    *_words("argmin", np.argmin, [(A,), (np.round(A),)], axis=0),
    *_words("isfinite", np.isfinite, [(np.array([1.0, np.nan, np.inf, -np.inf]),)]),
    *_words("any", np.any, [(MASK,)]),
    *_words("all", np.all, [(MASK,)], axis=1),
    *_words("zeros_like", np.zeros_like, [(A,)]),
    *_words("ones_like", np.ones_like, [(A,)]),
]  # fmt: skip
CREATION = [
    *_words("arange", np.arange, [(5,)]),
    *_words("zeros", np.zeros, [((2, 3),)]),
    *_words("ones", np.ones, [((2, 3),)]),
    *_words("full", np.full, [((2, 3), 1.5)]),
]

"""The closed vocabulary: all array operations that code under ``api/`` may use.

A *word* is a Python operator on arrays, a function of the array-API standard, or one of the few functions that the
standard lacks. An engine's ``xp`` offers exactly these words; ``rules.py`` holds the derivative of each.
The list is short, so that a new engine or a new code generator has little to implement.

Every engine follows these conventions:

* Arrays are positional arguments; keywords are for options.
* ``axis`` is an int, a tuple of ints or None; ``keepdims`` is a bool.
* ``clip(x, low, high)`` takes Python numbers; its derivative is one for ``low <= x <= high``, else zero.
* ``pow(x, n)`` takes a constant exponent.
* ``take_slice(x, index)`` takes ints, slices and ``...``, alone or as a tuple; a new axis is ``expand_dims``.
* ``astype(x, dtype)`` takes a dtype *name*: "bool", "int64", "float32", "float64".
* ``linear(x, weight, bias)`` is x W^T + b for ``x`` (rows, features); ``bias`` None gives x W^T.
* ``conv(x, weight, bias, stride, padding, dilation, groups)``: ``x`` (batch, channels, *space), any number of space
  axes; ``bias`` (filters,) or None; ``stride``, ``padding``, ``dilation`` are tuples, one entry per space axis. It
  correlates (no flip), as torch does.
* ``conv_transpose(x, weight, bias, stride, padding, output_padding, dilation, groups)`` is the adjoint of ``conv`` by
  its input, plus ``bias``: ``weight`` (channels, filters / groups, *kernel) is that of a ``conv`` from the result's
  shape to that of x. With a stride above 1, inputs of several sizes give that ``conv`` an output of one size. The
  result has the smallest of these sizes, plus ``output_padding``, one int below the stride per space axis.
  ``conv_transpose`` could be written with ``matmul`` and ``unpatches``; it is a word because libraries have faster
  code for it, and because it is the derivative of ``conv`` by its input.
* ``patches(x, kernel, stride, padding, dilation, fill)`` lists the windows of x that a kernel meets: (batch, channels,
  window, *space of the result). ``unpatches`` is its adjoint: it adds every window to its place in x.
* ``moments(x, axis)`` stacks the mean and the biased variance of x over ``axis``, a tuple.
* ``batch_norm(x, moments, weight, bias, axis, eps)`` is weight (x - mean) / sqrt(var + eps) + bias, with mean and
  variance of x itself over ``axis``. ``moments`` has them if the caller has computed them already, else it is None.
  Either way they count as functions of x in the derivative by x, and there is no derivative by ``moments``. ``weight``
  and ``bias`` have the axes of x that are not in ``axis``, or broadcast with them; each may be None.
* ``max_pool`` gives its gradient to the first maximum in row-major order.
* ``spike(u, surrogate)`` is Theta(u), strictly ``u > 0``; its derivative is ``surrogate.derivative``.
* ``stop_gradient(x)`` is the identity with derivative zero.
* Python's operators on arrays are those of the array's library. They compute what the words compute, and have the
  same derivatives, but for one: some libraries differentiate ``abs(x)`` at 0 as 1. So code under ``api/`` writes
  ``xp.abs(x)`` where a gradient may be wanted.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Iterator, Protocol, Tuple, TypeVar


class Array(Protocol):
    """An array of an engine: the type that words take and return."""

    @property
    def shape(self) -> Tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...
    def __abs__(self) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


class ResultArray(Array, Protocol):
    """An array of a model's engine as its user has it: a NumPy array, a tensor of torch, with all that these can do."""

    def __array__(self) -> Any: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def sum(self, axis: Any = ...) -> Any: ...
    def mean(self, axis: Any = ...) -> Any: ...
    def argmax(self, axis: Any = ...) -> Any: ...
    def __getattr__(self, name: str, /) -> Any: ...


class Vocabulary(SimpleNamespace):
    """An engine's ``xp``: the words as attributes. An unknown word raises an error that says how to list the words."""

    def __getattr__(self, name: str) -> Any:
        hint = "; for labels use spikecore.spikegen.to_one_hot(labels, classes)" if name == "one_hot" else ""
        raise AttributeError(
            f"engine.xp has no word {name!r}; sorted(vars(engine.xp)) lists the words that every engine has{hint}"
        )


#: Words with a derivative: each has a rule in ``rules.py``.
DIFFERENTIABLE = (
    # arithmetic
    "add subtract multiply divide negative pow abs maximum minimum clip where exp log sqrt sin cos tanh atan erf "
    "matmul linear "
    # reductions
    "sum mean max min log_softmax moments batch_norm "
    # shapes
    "reshape permute_dims expand_dims squeeze broadcast_to concat stack flip take_slice pad astype "
    # space
    "conv conv_transpose avg_pool max_pool patches unpatches "
    # spikes
    "spike stop_gradient"
).split()

#: Words whose derivative is zero by definition: their value is locally constant.
PIECEWISE_CONSTANT = (
    "greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not "
    "sign floor ceil round argmax argmin isfinite any all zeros_like ones_like"
).split()

#: Words that create an array without taking one.
CREATION = "arange zeros ones full".split()

WORDS = (*DIFFERENTIABLE, *PIECEWISE_CONSTANT, *CREATION)

#: Python's operators and the word for each.
OPERATORS = {
    "__add__": "add",
    "__sub__": "subtract",
    "__mul__": "multiply",
    "__truediv__": "divide",
    "__pow__": "pow",
    "__matmul__": "matmul",
    "__neg__": "negative",
    "__abs__": "abs",
    "__gt__": "greater",
    "__ge__": "greater_equal",
    "__lt__": "less",
    "__le__": "less_equal",
    "__eq__": "equal",
    "__ne__": "not_equal",
    "__and__": "logical_and",
    "__or__": "logical_or",
    "__invert__": "logical_not",
    "__getitem__": "take_slice",
}

#: Operators that also exist with the operands exchanged, as in ``2.0 * x``. ``2.0 ** x`` is left out: ``pow`` takes
#: constant exponents. Comparisons need none: Python asks for ``x > 2.0`` where it finds ``2.0 < x``.
REFLECTED = ("__add__", "__sub__", "__mul__", "__truediv__", "__matmul__")

#: Operators that also exist as ``a += b``.
IN_PLACE = ("__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__matmul__", "__and__", "__or__")

#: Words whose first argument is a sequence of arrays.
VARIADIC = ("concat", "stack")

Kind = TypeVar("Kind", bound=type)  # the class that ``with_operators`` gets and returns


def with_operators(kind: Kind) -> Kind:
    """Give a class Python's operators: those of an instance call the words of its ``xp``.

    ``a += b`` calls ``a.become(a + b)``, which has to change ``a`` wherever it is used, as it does for an array.
    """

    def forward(word: str) -> Any:
        return lambda self, *others: getattr(self.xp, word)(self, *others)

    def reflected(word: str) -> Any:
        return lambda self, other: getattr(self.xp, word)(other, self)

    def in_place(word: str) -> Any:
        return lambda self, other: self.become(getattr(self.xp, word)(self, other))

    for name, word in OPERATORS.items():
        setattr(kind, name, forward(word))
    for name in IN_PLACE:
        setattr(kind, name.replace("__", "__i", 1), in_place(OPERATORS[name]))
    for name in REFLECTED:
        setattr(kind, name.replace("__", "__r", 1), reflected(OPERATORS[name]))
    return kind

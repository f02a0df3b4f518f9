"""Each elementwise word as an expression of C in float32, with NumPy's meaning of NaN and of ties.

The words subtract and spike of a Leaky, for the threshold 1::

    mem - 1.0f > 0.0f ? 1.0f : 0.0f
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, Callable, Dict, Mapping, Sequence

import numpy as np

from spikecore.export.c.source import COMPARISONS, LOGIC, PREFIX, PRODUCT, SUM, Text, call, choice, compared, infix
from spikecore.export.c.tasks import ELEMENTWISE

#: The type of C for the numbers of an array.
TYPES = {"float32": "float", "bool": "bool", "int64": "int32_t"}

#: Functions that are no part of math.h, by name; PREFIX stands for that of the network.
HELPERS = {
    "max": """/* The larger number, or what is not a number. */
static inline float PREFIX_max(float a, float b)
{
    return a >= b || a != a ? a : b;
}""",
    "min": """/* The smaller number, or what is not a number. */
static inline float PREFIX_min(float a, float b)
{
    return a <= b || a != a ? a : b;
}""",
    "sign": """/* -1, 0 or 1, or what is not a number. */
static inline float PREFIX_sign(float a)
{
    return a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a;
}""",
}
_OPERATORS = {
    "add": ("+", SUM), "subtract": ("-", SUM), "multiply": ("*", PRODUCT), "divide": ("/", PRODUCT),
}  # fmt: skip
_OF_FLAGS = {"add": "logical_or", "maximum": "logical_or", "multiply": "logical_and", "minimum": "logical_and"}
_LOGIC = {"logical_and": "&&", "logical_or": "||"}
_FUNCTIONS = {
    "abs": "fabsf", "exp": "expf", "log": "logf", "sqrt": "sqrtf", "sin": "sinf", "cos": "cosf", "tanh": "tanhf",
    "atan": "atanf", "erf": "erff", "floor": "floorf", "ceil": "ceilf", "round": "rintf",
}  # fmt: skip
_ONE, _ZERO = Text("1.0f"), Text("0.0f")


def literal(number: Any, dtype: str = "float32") -> Text:
    """A number of a type; it is read back to the bit."""
    if dtype == "bool":
        return Text("true" if number else "false")
    if dtype == "int64":
        return Text(str(int(number))) if number >= 0 else Text(f"({int(number)})")
    value = np.float32(number)
    if math.isnan(value):
        return Text("NAN")
    text = "INFINITY" if math.isinf(value) else f"{np.abs(value)!s}f"
    return Text(f"-{text}", PREFIX) if np.signbit(value) else Text(text)


class ExpressionWriter:
    """Expressions of elementwise words.

    Args:
        prefix: of the network's functions.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.helpers: Dict[str, None] = {}

    def __call__(
        self, word: str, operands: Sequence[Text], dtypes: Sequence[str], out: str, options: Mapping[str, Any]
    ) -> Text:  # fmt: skip
        """The expression of a word.

        Args:
            word: one of ``ELEMENTWISE``.
            operands: its operands.
            dtypes: theirs.
            out: that of the result.
            options: of the word.
        """
        assert word in ELEMENTWISE
        word = _OF_FLAGS.get(word, word) if out == "bool" else word
        if word in _OPERATORS:
            return infix(operands[0], _OPERATORS[word][0], operands[1], _OPERATORS[word][1])
        if word in COMPARISONS:
            return compared(operands[0], COMPARISONS[word], operands[1])
        if word in _LOGIC:
            return Text(f" {_LOGIC[word]} ".join(o.at(LOGIC + 1) for o in operands), LOGIC)
        if word in _FUNCTIONS and dtypes[0] == "float32":
            return call(_FUNCTIONS[word], *operands)
        method: Callable[..., Text] = getattr(self, f"_{word}")
        return method(*operands, **{k: v for k, v in options.items() if k != "surrogate"}, dtypes=dtypes, out=out)

    def helper(self, name: str, *operands: Text) -> Text:
        """A call of one of ``HELPERS``, which is then written to the file."""
        self.helpers[name] = None
        return call(f"{self.prefix}_{name}", *operands)

    def _copy(self, a: Text, **_: Any) -> Text:
        return a

    def _negative(self, a: Text, **_: Any) -> Text:
        return Text(f"-{a.at(PREFIX + 1)}", PREFIX)

    def _abs(self, a: Text, **_: Any) -> Text:
        return choice(compared(a, "<", Text("0")), self._negative(a), a)

    def _round(self, a: Text, **_: Any) -> Text:
        return a  # whole numbers

    _floor = _ceil = _round

    def _logical_not(self, a: Text, **_: Any) -> Text:
        return Text(f"!{a.at(PREFIX)}", PREFIX)

    def _isfinite(self, a: Text, **_: Any) -> Text:
        return compared(infix(a, "-", a, SUM), "==", _ZERO)

    def _maximum(self, a: Text, b: Text, out: str, **_: Any) -> Text:
        return self.helper("max", a, b) if out == "float32" else choice(compared(a, ">", b), a, b)

    def _minimum(self, a: Text, b: Text, out: str, **_: Any) -> Text:
        return self.helper("min", a, b) if out == "float32" else choice(compared(a, "<", b), a, b)

    def _clip(self, a: Text, low: Any, high: Any, out: str, **_: Any) -> Text:
        raised = a if low is None else self._maximum(a, literal(low, out), out)
        return raised if high is None else self._minimum(raised, literal(high, out), out)

    def _sign(self, a: Text, out: str, **_: Any) -> Text:
        if out == "float32":
            return self.helper("sign", a)
        zero, one = literal(0, out), literal(1, out)
        less = choice(compared(a, "<", zero), literal(-1, out), zero)
        return choice(compared(a, ">", zero), one, less)

    def _spike(self, a: Text, **_: Any) -> Text:
        return choice(compared(a, ">", _ZERO), _ONE, _ZERO)

    def _where(self, condition: Text, yes: Text, no: Text, **_: Any) -> Text:
        return choice(condition, yes, no)

    def _pow(self, a: Text, n: Text, out: str, **_: Any) -> Text:
        """As NumPy: squares, roots and inverses by their own operations."""
        if out == "int64":  # whole numbers, with an exponent of at least 0
            return reduce(lambda x, y: infix(x, "*", y, PRODUCT), [a] * int(n.text), Text("1"))
        if n.text == "2.0f":
            return infix(a, "*", a, PRODUCT)
        if n.text == "0.5f":
            return call("sqrtf", a)
        return infix(_ONE, "/", a, PRODUCT) if n.text == "-1.0f" else a if n == _ONE else call("powf", a, n)

    def _astype(self, a: Text, dtype: str, dtypes: Sequence[str], **_: Any) -> Text:
        source = dtypes[0]
        if source == dtype:
            return a
        if dtype == "bool":
            return compared(a, "!=", literal(0, source))
        if source == "bool":
            return choice(a, literal(1, dtype), literal(0, dtype))
        return Text(f"({TYPES[dtype]}){a.at(PREFIX)}", PREFIX)

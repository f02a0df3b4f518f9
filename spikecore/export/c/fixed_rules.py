"""Rules for integers: for each word, the grid and the range of its result, from those of its arguments.

The rules are exact: a value of the network is on its grid and in its range, whatever the input. A word whose result is
on no grid (exp, a division by three) has no rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from spikecore.export.c.fixed import Fixed, aligned, fixed, integers
from spikecore.export.c.source import COMPARISONS
from spikecore.export.c.tasks import Task

FLAG = Fixed(0, 0, 1)
ZERO = Fixed(0, 0, 0)


class NoGrid(ValueError):
    """A word's result is on no grid of integers; the message says why and what to do."""


@dataclass(frozen=True)
class KnownTask:
    """A task with what is known of its operands.

    Args:
        task: the task.
        given: the numbers that each operand has.
        constants: the operands that are constants, as arrays; None for others.
    """

    task: Task
    given: Tuple[Fixed, ...]
    constants: Tuple[Optional[np.ndarray], ...]

    @property
    def count(self) -> int:
        """How many numbers of its operand a reduction combines to one of its result."""
        return self.task.views()[0].size // max(self.task.to.size, 1)


Rule = Callable[[KnownTask], Fixed]


def _interval(fraction: int, *ends: int) -> Fixed:
    return Fixed(fraction, min(ends), max(ends))


def _product(a: Fixed, b: Fixed) -> Fixed:
    return _interval(a.fraction + b.fraction, *(i * j for i in (a.low, a.high) for j in (b.low, b.high)))


def _times(a: Fixed, n: int) -> Fixed:
    return Fixed(a.fraction, a.low * n, a.high * n)


def _add(call: KnownTask) -> Fixed:
    a, b = aligned(*call.given)
    return Fixed(a.fraction, a.low + b.low, a.high + b.high)


def _subtract(call: KnownTask) -> Fixed:
    a, b = aligned(*call.given)
    return Fixed(a.fraction, a.low - b.high, a.high - b.low)


def _multiply(call: KnownTask) -> Fixed:
    return _product(*call.given)


def _divide(call: KnownTask) -> Fixed:
    return _product(call.given[0], reciprocal_kind(call))


def reciprocal_kind(call: KnownTask) -> Fixed:
    """The numbers that a task multiplies by instead of dividing."""
    return fixed(reciprocal(call))


def reciprocal(call: KnownTask) -> np.ndarray:
    """One over the divisor of a task, which must be powers of two."""
    values = call.constants[1]
    if values is None:
        raise NoGrid("divides by a value that depends on the input, which has no exact form in integers")
    values = values.astype("float64")
    if not (np.isfinite(values) & (np.abs(np.frexp(values)[0]) == 0.5)).all():
        raise NoGrid(
            f"divides by {values.ravel()[0]:g}, which is no power of two, and the quotient has no end in binary "
            "digits: use a power of two, e.g. windows of 2 x 2 for pooling, a threshold of 0.5, FixedPoint(16, 8)"
        )
    return np.asarray(1.0 / values)


def _negative(call: KnownTask) -> Fixed:
    (a,) = call.given
    return Fixed(a.fraction, -a.high, -a.low)


def _abs(call: KnownTask) -> Fixed:
    (a,) = call.given
    return Fixed(a.fraction, max(a.low, -a.high, 0), a.largest)


def _pow(call: KnownTask) -> Fixed:
    a, exponent = call.given[0], call.constants[1]
    if exponent is None or float(exponent.ravel()[0]) != 2.0:
        raise NoGrid("raises to a power other than two; in integers there are squares and products")
    return Fixed(2 * a.fraction, max(a.low, -a.high, 0) ** 2, a.largest**2)


def _maximum(call: KnownTask) -> Fixed:
    a, b = aligned(*call.given)
    return Fixed(a.fraction, max(a.low, b.low), max(a.high, b.high))


def _minimum(call: KnownTask) -> Fixed:
    a, b = aligned(*call.given)
    return Fixed(a.fraction, min(a.low, b.low), min(a.high, b.high))


def bounds(task: Task, given: Fixed) -> Tuple[Optional[Fixed], Optional[Fixed]]:
    """The bounds of ``clip`` that can be reached; None for one that cannot."""
    least, largest = (Fraction(n) / Fraction(2) ** given.fraction for n in (given.low, given.high))
    low, high = float(task.options["low"]), float(task.options["high"])
    return (
        None if math.isinf(low) or low <= least else fixed(low),
        None if math.isinf(high) or high >= largest else fixed(high),
    )


def _clip(call: KnownTask) -> Fixed:
    out = call.given[0]
    low, high = bounds(call.task, out)
    if low is not None:
        out, end = aligned(out, low)
        out = Fixed(out.fraction, max(out.low, end.low), max(out.high, end.low))
    if high is not None:
        out, end = aligned(out, high)
        out = Fixed(out.fraction, min(out.low, end.low), min(out.high, end.low))
    return out


def _where(call: KnownTask) -> Fixed:
    return call.given[1].union(call.given[2])


def _rounded(how: Callable[[Fraction], int]) -> Rule:
    def rule(call: KnownTask) -> Fixed:
        (a,) = call.given
        if a.fraction <= 0:
            return a
        return Fixed(0, *(how(Fraction(n, 1 << a.fraction)) for n in (a.low, a.high)))

    return rule


def _flag(call: KnownTask) -> Fixed:
    return FLAG


def _sign(call: KnownTask) -> Fixed:
    (a,) = call.given
    return Fixed(0, -1 if a.low < 0 else 0, 1 if a.high > 0 else 0)


def _same(call: KnownTask) -> Fixed:
    return call.given[0]


def _astype(call: KnownTask) -> Fixed:
    a, dtype = call.given[0], call.task.options["dtype"]
    if dtype == "bool":
        return FLAG
    if dtype == "int64" and a.fraction > 0:
        raise NoGrid("makes whole numbers of fractions: round them by floor first")
    return a


def _sum(call: KnownTask) -> Fixed:
    return _times(call.given[0], call.count)


def _window(call: KnownTask) -> Fixed:
    options, x = call.task.options, call.given[0]
    if options["kind"] == "max":
        return x
    return _times(x.union(ZERO) if any(options["padding"]) else x, math.prod(options["kernel"]))


def _place(call: KnownTask) -> Fixed:
    return Fixed(0, 0, call.count - 1)


def _matmul(call: KnownTask) -> Fixed:
    return _times(_product(*call.given), call.task.views()[0].shape[-1])


def _connection(call: KnownTask) -> Fixed:
    x = call.given[0] if call.task.word == "product" else call.given[0].union(ZERO)  # at borders products are missing
    fraction, above, below = _row_sums(call.task)
    ends = [(up * x.low + down * x.high, up * x.high + down * x.low) for up, down in zip(above, below)]
    ends += [(0, 0)] if call.task.options.get("transposed") else []  # places that no product reaches
    return Fixed(x.fraction + fraction, min(low for low, _ in ends), max(high for _, high in ends))


def _row_sums(task: Task) -> Tuple[int, Any, Any]:
    """The grid of a weight, and for each output channel the sums of the positive and of the negative integers."""
    weight = np.asarray(task.options["weight"])
    kind = fixed(weight)
    whole = integers(weight, kind.fraction)
    whole = whole.astype(object) if kind.largest * whole.size >= 1 << 62 else whole
    axes = 0 if task.word == "product" else tuple(range(1, weight.ndim - 1))
    above, below = (np.ravel(part.sum(axis=axes)).tolist() for part in (np.maximum(whole, 0), np.minimum(whole, 0)))
    return kind.fraction, above, below


def partial_sums(call: KnownTask) -> Optional[Fixed]:
    """A range that holds every partial sum of a task, in any order; None for a task that sums nothing."""
    word, x = call.task.word, call.given[0]
    if word in ("product", "convolve"):
        fraction, above, below = _row_sums(call.task)
        largest = max((up - down for up, down in zip(above, below)), default=0) * x.largest
        return Fixed(x.fraction + fraction, -largest, largest)
    if word == "sum" or (word == "window" and call.task.options["kind"] == "sum"):
        return _times(x.union(ZERO), call.count if word == "sum" else math.prod(call.task.options["kernel"]))
    return _matmul(call).union(ZERO) if word == "matmul" else None


RULES: Dict[str, Rule] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "abs": _abs,
    "pow": _pow,
    "maximum": _maximum,
    "minimum": _minimum,
    "clip": _clip,
    "where": _where,
    "floor": _rounded(math.floor),
    "ceil": _rounded(math.ceil),
    "round": _rounded(round),
    "sign": _sign,
    "astype": _astype,
    "copy": _same,
    **dict.fromkeys(("spike", *COMPARISONS), _flag),
    **dict.fromkeys("logical_and logical_or logical_not any all".split(), _flag),
    "sum": _sum,
    **dict.fromkeys(("max", "min"), _same),
    **dict.fromkeys(("argmax", "argmin"), _place),
    "window": _window,
    "matmul": _matmul,
    **dict.fromkeys(("product", "convolve"), _connection),
}

"""Elementwise words in integers: expressions of C on numbers whose binary points and ranges are known.

Expressions are of ``int32_t`` or ``int64_t``, as the ranges need. None overflows, and none shifts a negative number.

The sum of a product and a bias, which has four binary digits fewer behind the point; half of a number, rounded::

    (sum_0[i] + constant_0[i] * 16)
    net_floor32(v_2 + 1, 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from spikecore.export.c.fixed import Fixed, fixed
from spikecore.export.c.fixed_rules import KnownTask, bounds, reciprocal
from spikecore.export.c.source import (
    COMPARISON,
    COMPARISONS,
    LOGIC,
    PREFIX,
    PRODUCT,
    SUM,
    Text,
    call,
    choice,
    compared,
    infix,
)

#: Comparisons that hold between equal numbers.
REFLEXIVE = frozenset(("greater_equal", "less_equal", "equal"))

#: Functions of the file, by name; PREFIX stands for that of the network. ``~(~n >> bits)`` is a shift to the right for
#: negative n, too, where C leaves ``n >> bits`` to the compiler; compilers make one instruction of it.
HELPERS = {
    "floor32": """/* floor(n / 2^bits) */
static inline int32_t PREFIX_floor32(int32_t n, int bits)
{
    return n < 0 ? ~(~n >> bits) : n >> bits;
}""",
    "floor64": """/* floor(n / 2^bits) */
static inline int64_t PREFIX_floor64(int64_t n, int bits)
{
    return n < 0 ? ~(~n >> bits) : n >> bits;
}""",
    "round64": """/* n / 2^bits to the nearest integer; halves to the even one */
static inline int64_t PREFIX_round64(int64_t n, int bits)
{
    const int64_t below = PREFIX_floor64(n, bits), rest = n - below * ((int64_t)1 << bits);
    const int64_t half = (int64_t)1 << (bits - 1);
    return rest > half || (rest == half && below % 2 != 0) ? below + 1 : below;
}""",
}
ZERO = Text("0")
COUNTER = "saturations"  # the member of ``net_state`` that counts what quantisers cut off


@dataclass(frozen=True)
class Number:
    """A number in C.

    Args:
        text: the expression.
        kind: the numbers that it can be.
    """

    text: Text
    kind: Fixed

    @property
    def constant(self) -> Optional[int]:
        """Its integer, if it is always the same."""
        return self.kind.low if self.kind.low == self.kind.high else None

    def at(self, fraction: int, bits: int) -> Text:
        """The number on a finer grid, in an expression of this many bits."""
        shift = fraction - self.kind.fraction
        if self.constant is not None:
            return literal(self.constant << shift, bits)
        text = wide(self.text, self.kind, bits)
        return infix(text, "*", literal(1 << shift, bits), PRODUCT) if shift else text


def bits_of(*kinds: Fixed) -> int:
    """32 if all these numbers are ``int32_t``, else 64."""
    return 32 if all(0 < kind.width <= 32 for kind in kinds) else 64


def wide(text: Text, kind: Fixed, bits: int) -> Text:
    """A number in an expression of this many bits."""
    return Text(f"(int64_t){text.at(PREFIX)}", PREFIX) if bits > bits_of(kind) else text


def narrow(text: Text, bits: int, kind: Fixed) -> Text:
    """The result of an expression of this many bits, as a variable of its own type."""
    return Text(f"(int32_t){text.at(PREFIX)}", PREFIX) if bits > bits_of(kind) else text


def literal(value: int, bits: int = 32) -> Text:
    """A constant of C."""
    if value == -(1 << (bits - 1)):
        return infix(literal(value + 1, bits), "-", Text("1"), SUM)
    text = f"INT64_C({abs(value)})" if bits == 64 else str(abs(value))
    return Text(f"-{text}", PREFIX) if value < 0 else Text(text)


def constant(array: object) -> Number:
    """A number that never changes, on its own grid."""
    kind = fixed(array)
    return Number(literal(kind.low, bits_of(kind)), kind)


class FixedWords:
    """Expressions of elementwise words.

    Args:
        prefix: of the network's functions.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.helpers: Dict[str, None] = {}

    def __call__(self, word: str, known: KnownTask, operands: Sequence[Number], result: Fixed) -> Text:
        """The expression of a word other than ``clip``, in the type that ``result`` needs.

        Args:
            word: a word that has a rule.
            known: the task, and what is known of its operands.
            given: the operands.
            result: the numbers that it gives.
        """
        fraction = max(number.kind.fraction for number in operands)
        bits = bits_of(result, *(number.kind.at(fraction) for number in operands))
        if word in COMPARISONS:
            a, b = (number.at(fraction, bits) for number in operands)
            if a == b:  # of which compilers warn
                return literal(int(word in REFLEXIVE))
            return compared(a, COMPARISONS[word], b)
        if word in ("multiply", "divide", "pow"):
            return self._product(word, known, operands, result)
        method: Callable[..., Text] = getattr(self, f"_{word}")
        if word in ("add", "subtract", "maximum", "minimum"):
            return narrow(method(*(number.at(fraction, bits) for number in operands)), bits, result)
        return method(*operands, result=result)

    def clip(self, known: KnownTask, number: Number, result: Fixed, name: str) -> Tuple[int, Text, List[str]]:
        """The word ``clip`` as a variable: its bits, its first value, and the lines that keep it within bounds.

        Bounds that it cannot reach are left out. What a quantiser cuts off is counted.
        """
        bits, lines = bits_of(number.kind.at(result.fraction)), []
        for end, sign in zip(bounds(known.task, number.kind), "<>"):
            if end is not None:
                bound = literal(end.at(result.fraction).low, bits).text
                lines += [f"if ({name} {sign} {bound}) {{", f"    {name} = {bound};"]
                lines += [*([f"    ++state->{COUNTER};"] if known.task.options.get("counted") else []), "}"]
        return bits, number.at(result.fraction, bits), lines

    def helper(self, name: str, *arguments: Text) -> Text:
        """A call of one of ``HELPERS``, which is then written to the file."""
        self.helpers.update(dict.fromkeys(["floor64", name] if name == "round64" else [name]))
        return call(f"{self.prefix}_{name}", *arguments)

    def _product(self, word: str, known: KnownTask, operands: Sequence[Number], result: Fixed) -> Text:
        """A product. A factor that is a power of two only moves the binary point."""
        a, b = operands[0], operands[1]
        if word == "divide":
            b = constant(reciprocal(known))
        if word == "pow":
            b = a
        if a.constant is not None:
            a, b = b, a
        bits = bits_of(result, a.kind, b.kind)
        x = a.at(a.kind.fraction, bits)
        if b.constant == 1:
            return narrow(x, bits, result)
        if b.constant == -1:
            return narrow(_minus(x), bits, result)
        return narrow(infix(x, "*", b.at(b.kind.fraction, bits), PRODUCT), bits, result)

    def _add(self, a: Text, b: Text) -> Text:
        return infix(a, "+", b, SUM)

    def _subtract(self, a: Text, b: Text) -> Text:
        return infix(a, "-", b, SUM)

    def _maximum(self, a: Text, b: Text) -> Text:
        return a if a == b else choice(compared(a, ">", b), a, b)

    def _minimum(self, a: Text, b: Text) -> Text:
        return a if a == b else choice(compared(a, "<", b), a, b)

    def _negative(self, a: Number, result: Fixed) -> Text:
        bits = bits_of(a.kind, result)
        return narrow(_minus(a.at(a.kind.fraction, bits)), bits, result)

    def _abs(self, a: Number, result: Fixed) -> Text:
        if a.kind.low >= 0:
            return a.text
        bits = bits_of(a.kind, result)
        x = a.at(a.kind.fraction, bits)
        return narrow(choice(compared(x, "<", ZERO), _minus(x), x), bits, result)

    def _sign(self, a: Number, result: Fixed) -> Text:
        above, below = (compared(a.text, sign, ZERO) for sign in "><")
        if a.kind.low >= 0:
            return above
        return infix(above, "-", below, SUM)

    def _spike(self, a: Number, result: Fixed) -> Text:
        return compared(a.text, ">", ZERO)

    def _where(self, condition: Number, yes: Number, no: Number, result: Fixed) -> Text:
        bits = bits_of(result)
        other = (number.at(result.fraction, bits) for number in (yes, no))
        return choice(_truth(condition), *other)

    def _logical_not(self, a: Number, result: Fixed) -> Text:
        return Text(f"!{a.text.at(PREFIX)}", PREFIX)

    def _logical_and(self, a: Number, b: Number, result: Fixed) -> Text:
        return Text(" && ".join(_truth(number).at(LOGIC + 1) for number in (a, b)), LOGIC)

    def _logical_or(self, a: Number, b: Number, result: Fixed) -> Text:
        return Text(" || ".join(_truth(number).at(LOGIC + 1) for number in (a, b)), LOGIC)

    def _copy(self, a: Number, result: Fixed) -> Text:
        return a.text

    def _astype(self, a: Number, result: Fixed) -> Text:
        return a.text if result == a.kind else _truth(a)

    def _floor(self, a: Number, result: Fixed) -> Text:
        shift, bits = a.kind.fraction, bits_of(a.kind)
        if shift <= 0:
            return a.text
        if result.low == result.high or shift > bits - 2:
            return (
                literal(result.low)
                if result.low == result.high
                else Text(f"-({a.text.at(COMPARISON + 1)} < 0)", PREFIX)
            )
        return narrow(self.helper(f"floor{bits}", a.text, Text(str(shift))), bits, result)

    def _ceil(self, a: Number, result: Fixed) -> Text:
        negative = Fixed(a.kind.fraction, -a.kind.high, -a.kind.low)
        text = self._negative(a, negative)
        return self._negative(
            Number(self._floor(Number(text, negative), _floored(negative)), _floored(negative)), result
        )

    def _round(self, a: Number, result: Fixed) -> Text:
        shift = a.kind.fraction
        if shift <= 0:
            return a.text
        if result.low == result.high:
            return literal(result.low, bits_of(result))
        return narrow(self.helper("round64", wide(a.text, a.kind, 64), Text(str(shift))), 64, result)


def _truth(a: Number) -> Text:
    """The expression that says whether a number is not zero."""
    return a.text if a.text.binds in (LOGIC, COMPARISON) else compared(a.text, "!=", ZERO)


def _floored(kind: Fixed) -> Fixed:
    return Fixed(0, kind.low >> kind.fraction, kind.high >> kind.fraction) if kind.fraction > 0 else kind


def _minus(a: Text) -> Text:
    return Text(f"-{a.at(PREFIX + 1)}", PREFIX)

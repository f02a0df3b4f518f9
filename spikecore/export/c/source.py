"""Parts of C sources: expressions with as few brackets as their order allows, loops over axes, names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, List, Sequence, Set, Tuple

KEYWORDS = frozenset(
    (
        "auto break case char const continue default do double else enum extern float for goto if inline int long "
        "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
        "bool true false main"
    ).split()
)
#: Words of C++, which may include the header, and of later C.
CPP = frozenset(
    (
        "alignas alignof and and_eq asm bitand bitor catch char16_t char32_t char8_t class co_await co_return co_yield "
        "compl concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export friend "
        "mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast "
        "requires static_assert static_cast template this thread_local throw try typeid typename using virtual wchar_t "
        "typeof typeof_unqual xor xor_eq"
    ).split()
)
#: Names of math.h, also those beyond C99.
FUNCTIONS = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh drem erf erfc exp exp10 exp2 expm1 fabs fdim floor "
    "fma fmax fmin fmod frexp gamma hypot ilogb isfinite isinf isnan isnormal j0 j1 jn ldexp lgamma log log10 "
    "log1p log2 logb lrint lround modf nan nearbyint nextafter pow remainder remquo rint round scalb scalbn "
    "signbit signgam significand sin sincos sinh sqrt tan tanh tgamma trunc y0 y1 yn abs div labs index rindex"
).split()
#: Names that may not be given: those functions, for float, too, and what is written in kernels.
RESERVED = frozenset(
    (
        *FUNCTIONS,
        *(f"{name}f" for name in FUNCTIONS),
        *"b v w to row whole best first count c e f r k k0 k1 k2 x0 x1 x2 o0 o1 o2 at0 at1 at2".split(),
        *"in out ins outs state starts places weights".split(),
    )
)
#: How tightly an expression holds together: from the conditional operator to a name.
CHOICE, LOGIC, COMPARISON, SUM, PRODUCT, PREFIX, NAME = range(7)
#: The words that compare two numbers, as operators.
COMPARISONS = {
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
#: Variables of loops, from the outermost to the innermost.
VARIABLES = tuple(f"{letter}{turn}" for turn in ("", *range(2, 9)) for letter in "ijklmn")
#: Those around an inner loop, whose variables begin with k.
OUTER = tuple(variable for variable in VARIABLES if variable[0] != "k")


@dataclass(frozen=True)
class Text:
    """An expression of C.

    Args:
        text: the expression.
        binds: how tightly it holds together.
    """

    text: str
    binds: int = NAME

    def at(self, binds: int) -> str:
        """The expression as an operand of an operator that needs at least ``binds``."""
        return self.text if self.binds >= binds else f"({self.text})"


def remark(text: str) -> str:
    """A text within a comment, which names of classes do not end."""
    return text.replace("*/", "* /").replace("/*", "/ *")


def infix(a: Text, operator: str, b: Text, binds: int) -> Text:
    """An operator between two operands; the left one is computed first, so that no rounding changes."""
    return Text(f"{a.at(binds)} {operator} {b.at(binds + 1)}", binds)


def compared(a: Text, operator: str, b: Text) -> Text:
    """A comparison; one within it stands in brackets: C would compute ``a == b > c`` as ``a == (b > c)``."""
    return Text(f"{a.at(COMPARISON + 1)} {operator} {b.at(COMPARISON + 1)}", COMPARISON)


def call(function: str, *arguments: Text) -> Text:
    """A call of a function."""
    return Text(f"{function}({', '.join(a.text for a in arguments)})")


def choice(condition: Text, yes: Text, no: Text) -> Text:
    """``condition ? yes : no``."""
    return Text(f"{condition.at(LOGIC)} ? {yes.at(LOGIC)} : {no.at(LOGIC)}", CHOICE)


def merged(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> Tuple[List[int], List[List[int]]]:
    """The same loops with as few axes as possible: neighbours become one where every stride allows it.

    Args:
        sizes: of the axes, from the outermost on.
        strides: of each array along the axes, in numbers.

    Returns:
        the sizes and strides that remain.
    """
    axes = [a for a, n in enumerate(sizes) if n > 1]
    new: List[int] = []
    kept: List[List[int]] = [[] for _ in strides]
    for a in axes:
        if new and all(k[-1] == s[a] * sizes[a] for k, s in zip(kept, strides)):
            new[-1] *= sizes[a]
            for k, s in zip(kept, strides):
                k[-1] = s[a]
        else:
            new.append(sizes[a])
            for k, s in zip(kept, strides):
                k.append(s[a])
    return new, kept


def index(strides: Iterable[int], offset: int = 0, variables: Sequence[str] = VARIABLES) -> str:
    """The place of a number in an array as an expression of loop variables."""
    terms = [v if s == 1 else f"{s} * {v}" for s, v in zip(strides, variables) if s > 0]
    terms += [str(offset)] if offset or not terms else []
    less = [v if s == -1 else f"{-s} * {v}" for s, v in zip(strides, variables) if s < 0]
    return " - ".join([" + ".join(terms), *less])


def bracketed(address: str) -> str:
    """An address as it stands before an index: a sum of terms gets brackets."""
    return f"({address})" if " " in address else address


def flat(variables: Sequence[str], sizes: Sequence[int]) -> str:
    """The place of a number in an array without gaps."""
    text = variables[0]
    for v, n in zip(variables[1:], sizes[1:]):
        text = f"({text}) * {n} + {v}" if " " in text else f"{text} * {n} + {v}"
    return text


class Lines:
    """Lines of C with indentation."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self.lines: List[str] = []

    def add(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self.lines += ["    " * self.depth + line if line else "" for line in lines]

    def open(self, line: str) -> None:
        """Add a line that begins a block."""
        self.add(f"{line} {{" if line else "{")
        self.depth += 1

    def close(self, count: int = 1) -> None:
        """End blocks."""
        for _ in range(count):
            self.depth -= 1
            self.add("}")

    def loops(self, sizes: Sequence[int], variables: Sequence[str] = VARIABLES) -> None:
        """Begin loops from 0, one in the other."""
        for n, v in zip(sizes, variables):
            self.open(f"for (int {v} = 0; {v} < {n}; ++{v})")


class Names:
    """Names that occur once each, made of dotted names.

    Args:
        taken: names that may not be given.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken: Set[str] = set(taken) | KEYWORDS | CPP | RESERVED | set(VARIABLES)

    def new(self, *parts: str) -> str:
        """A name from parts, e.g. "mem" and "0.body.1": mem_0_body_1."""
        whole = re.sub(r"\W+", "_", "_".join(p for p in parts if p), flags=re.ASCII).strip("_") or "v"
        whole = whole if whole[0].isalpha() else f"v_{whole}"
        name, count = whole, 1
        while name in self.taken:
            count += 1
            name = f"{whole}_{count}"
        self.taken.add(name)
        return name


def wrapped(items: Iterable[str], width: int = 118, indent: str = "    ") -> List[str]:
    """Items of a table, separated by commas, in lines."""
    lines, line = [], indent
    for item in items:
        if len(line) + len(item) + 2 > width and line != indent:
            lines.append(line.rstrip())
            line = indent
        line += item + ", "
    return [*lines, line.rstrip(" ,")]

"""The instructions of a C function in LLVM's language, as kernels need them; ``compiler.py`` writes kernels by them.

    now = to.load(place)                                     %v7 = load i64, ptr %v2
    some = to.compare("slt", "olt", now, end)                %v8 = icmp slt i64 %v7, %v1
    to.branch(some, "body", "end")                           br i1 %v8, label %body, label %end

A variable is a place in memory, which LLVM makes a register.
"""

from __future__ import annotations

import ast
import struct
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

INT, WORD, BOOL, NOTHING = "i64", "u64", "i1", "void"  # 64 bits with a sign and without
SHORT = (
    "i32",
    "i16",
    "i8",
)  # whole numbers without a sign that are shorter in memory, and INT where one computes with them
REORDERED = "reassoc nsz contract "  # flags of sums that may be taken in any order
ARITHMETIC: Dict[type, Tuple[str, str]] = {  # of whole numbers, and of floats
    ast.Add: ("add", "fadd"),
    ast.Sub: ("sub", "fsub"),
    ast.Mult: ("mul", "fmul"),
    ast.Div: ("", "fdiv"),
    ast.LShift: ("shl", ""),
    ast.RShift: ("ashr", ""),
    ast.BitAnd: ("and", ""),
    ast.BitOr: ("or", ""),
}


class Unspoken(Exception):
    """A kernel has something that only Numba compiles; the message says what."""


class Operand(NamedTuple):
    """A value, as LLVM spells it, and its type."""

    text: str
    kind: str


class Instructions:
    """The lines of a function, to which each call adds some.

    Args:
        real: the type of all floats, "float" or "double".
        flags: of operations on floats.
    """

    def __init__(self, real: str, flags: str) -> None:
        self.real, self.flags = real, flags
        self.places: List[str] = []
        self.lines: List[str] = []
        self.declared: Dict[str, None] = {}
        self.count, self.block = 0, "entry"

    def fresh(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def value(self, text: str, kind: str) -> Operand:
        """The result of an instruction."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return Operand(name, kind)

    def place(self, kind: str) -> Operand:
        name = self.fresh()
        self.places.append(f"  {name} = alloca {spelled(kind)}")
        return Operand(name, kind)

    def load(self, at: Operand) -> Operand:
        value = self.value(f"load {spelled(at.kind)}, ptr {at.text}", at.kind)
        return self.value(f"zext {at.kind} {value.text} to i64", INT) if at.kind in SHORT else value

    def store(self, value: Operand, at: Operand) -> None:
        self.lines.append(f"  store {spelled(at.kind)} {self.cast(value, at.kind).text}, ptr {at.text}")

    def labels(self, *names: str) -> Sequence[str]:
        self.count += 1
        return [f"{name}{self.count}" for name in names]

    def begin(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def go(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")

    def branch(self, condition: Operand, then: str, otherwise: str) -> None:
        self.lines.append(f"  br i1 {condition.text}, label %{then}, label %{otherwise}")

    def operation(self, op: ast.operator, a: Operand, b: Operand) -> Operand:
        if isinstance(op, ast.Pow):
            return self.called("llvm.pow", self.cast(a, self.real), self.cast(b, self.real))
        if isinstance(op, (ast.FloorDiv, ast.Mod)):
            return self.divided(isinstance(op, ast.Mod), a, b)
        if WORD in (a.kind, b.kind):
            return self.of_words(op, a, b)
        whole = a.kind == b.kind == INT
        word = ARITHMETIC.get(type(op), ("", ""))[not whole]
        if not word:
            raise Unspoken(type(op).__name__)
        if whole:
            if word in ("add", "sub", "mul") and all(x.text.lstrip("-").isdigit() for x in (a, b)):
                x, y = int(a.text), int(b.text)
                return Operand(str({"add": x + y, "sub": x - y, "mul": x * y}[word]), INT)
            return self.value(f"{word} i64 {a.text}, {b.text}", INT)
        a, b = self.cast(a, self.real), self.cast(b, self.real)
        return self.value(f"{word} {self.flags}{self.real} {a.text}, {b.text}", self.real)

    def of_words(self, op: ast.operator, a: Operand, b: Operand) -> Operand:
        """An operation on numbers without a sign; Numba makes floats of one that has none and one that has one."""
        word = "lshr" if isinstance(op, ast.RShift) else ARITHMETIC.get(type(op), ("", ""))[0]
        if not word or not a.kind == b.kind == WORD:
            raise Unspoken("numbers with a sign and without")
        return self.value(f"{word} i64 {a.text}, {b.text}", WORD)

    def divided(self, rest: bool, a: Operand, b: Operand) -> Operand:
        """Python's division of whole numbers, rounded down, or what it leaves, which has the sign of the divisor."""
        if not a.kind == b.kind == INT:
            raise Unspoken("a division of floats that is rounded down")
        left = self.value(f"srem i64 {a.text}, {b.text}", INT)
        signs = self.value(f"xor i64 {left.text}, {b.text}", INT)
        differ, some = (self.value(f"icmp {word} i64 {x.text}, 0", BOOL) for word, x in (("slt", signs), ("ne", left)))
        moved = self.value(f"and i1 {differ.text}, {some.text}", BOOL)
        if rest:
            other = self.value(f"add i64 {left.text}, {b.text}", INT)
            return self.value(f"select i1 {moved.text}, i64 {other.text}, i64 {left.text}", INT)
        quotient = self.value(f"sdiv i64 {a.text}, {b.text}", INT)
        return self.value(f"sub i64 {quotient.text}, {self.cast(moved, INT).text}", INT)

    def compare(self, of_whole: str, of_real: str, a: Operand, b: Operand) -> Operand:
        if self.real in (a.kind, b.kind):
            a, b = self.cast(a, self.real), self.cast(b, self.real)
            return self.value(f"fcmp {of_real} {self.real} {a.text}, {b.text}", BOOL)
        if WORD in (a.kind, b.kind) and of_whole not in ("eq", "ne"):
            raise Unspoken("an order of numbers without a sign")
        a, b = self.cast(a, INT), self.cast(b, INT)
        return self.value(f"icmp {of_whole} i64 {a.text}, {b.text}", BOOL)

    def either(
        self, condition: Operand, one: Callable[[], Operand], other: Callable[[], Operand], swapped: bool = False
    ) -> Operand:
        """One of two values, of which only that is computed; the other one first if ``swapped``."""
        then, otherwise, end = self.labels("then", "else", "end")
        self.branch(condition, *((otherwise, then) if swapped else (then, otherwise)))
        self.begin(then)
        a, after_a, line = one(), self.block, len(self.lines)
        self.begin(otherwise)
        b = other()
        kind = a.kind if a.kind == b.kind else self.real
        b = self.cast(b, kind)
        after_b = self.block
        self.go(end)
        rest, self.lines = self.lines[line:], self.lines[:line]
        a = self.cast(a, kind)  # once both are known
        self.go(end)
        self.lines += rest
        self.begin(end)
        kinds = spelled(kind)
        return self.value(f"phi {kinds} [ {a.text}, %{after_a} ], [ {b.text}, %{after_b} ]", kind)

    def declare(self, result: str, name: str, *given: str) -> None:
        """A function of LLVM's or of the C library, which is called by its name."""
        self.declared[f"declare {result} @{name}({', '.join(given)})"] = None

    def called(self, name: str, *given: Operand) -> Operand:
        """A function of floats, of LLVM's or of the C library."""
        of_llvm, single = name.startswith("llvm."), self.real == "float"
        name = f"{name}.{'f32' if single else 'f64'}" if of_llvm else f"{name}f" if single else name
        self.declare(self.real, name, *[self.real] * len(given))
        values = ", ".join(f"{self.real} {self.cast(value, self.real).text}" for value in given)
        return self.value(f"call {self.flags}{self.real} @{name}({values})", self.real)

    def constant(self, number: float) -> Operand:
        """A float: LLVM reads the bits of a double."""
        if self.real == "float":
            (number,) = struct.unpack("f", struct.pack("f", number))
        return Operand(f"0x{struct.unpack('Q', struct.pack('d', number))[0]:016X}", self.real)

    def cast(self, value: Operand, kind: str) -> Operand:
        """A value of another type: a truth value as a number, a whole number as a float or a shorter one."""
        if value.kind == kind:
            return value
        if {value.kind, kind} == {INT, WORD}:
            return Operand(value.text, kind)
        how = {
            (BOOL, INT): "zext",
            (BOOL, self.real): "uitofp",
            (INT, self.real): "sitofp",
            (WORD, self.real): "uitofp",
        }
        how.update({(whole, short): "trunc" for whole in (INT, WORD) for short in SHORT})
        if (value.kind, kind) not in how:
            raise Unspoken(f"{value.kind} as {kind}")
        return self.value(f"{how[value.kind, kind]} {spelled(value.kind)} {value.text} to {kind}", kind)


def spelled(kind: str) -> str:
    """A type as LLVM spells it."""
    return "ptr" if kind.endswith("*") else INT if kind == WORD else kind

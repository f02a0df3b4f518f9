"""Graphs of single elements as Python source for Numba: what all kernels for the CPU have in common.

Each operation of a graph becomes a line (``spelled``), within a loop over a row of neurons. Of ``sc.Leaky(beta=0.9)``::

    k_0 = fixed[0]                          # beta = 0.9, from the array of constants
    for j in range(width):
        v21 = k_0                           # form.py adds constants last, behind the values of the derivative
        v2 = v0 > F(1.0)                    # v2 = greater(v0, 1.0)
        v3 = F(1.0) if v2 else F(0.0)       # v3 = astype(v2)
        v4 = v21 * v0                       # v4 = multiply(v21, v0)
        v5 = v4 + v1                        # v5 = add(v4, v1)

The row lies contiguously in memory, so the loop vectorises. Every constant is typed (``F`` is the dtype), and nothing
is contracted or re-associated: each operation is the one that the loop over steps would do, so the bits agree.

In all sources for Numba ``row(address)`` is the array at an address, ``SIZE`` the bytes of an element and ``EVERY`` the
steps of a block, by a head that ``runtime/build.py`` writes. ``sequence_numba.py`` explains blocks, chunks and ``lo``.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List

from spikecore.api.core.graph import Op, Value, WordGraph
from spikecore.kernels.form import constants_in

OPERATORS = {  # words that C and Python spell alike
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "stop_gradient": "{0}",
}
SPELLING = {
    **OPERATORS,
    "pow": "{0} ** {1}",
    "abs": "abs({0})",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",  # a NaN stays one
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "clip": "min(max({0}, {1}), {2})",
    "where": "{1} if {0} else {2}",
    "exp": "exp({0})",
    "log": "np.log({0})",
    "sqrt": "np.sqrt({0})",
    "sin": "np.sin({0})",
    "cos": "np.cos({0})",
    "tanh": "np.tanh({0})",
    "atan": "np.arctan({0})",
    "sign": "np.sign({0})",
    "floor": "np.floor({0})",
    "ceil": "np.ceil({0})",
    "round": "np.rint({0})",
    "logical_and": "{0} and {1}",
    "logical_or": "{0} or {1}",
    "logical_not": "not {0}",
    "astype": "F(1.0) if {0} else F(0.0)",
    "spike": "F(1.0) if {0} > F(0.0) else F(0.0)",
}


class Source:
    """Lines of source code, each added with its depth of indentation."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def add(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def value_of(value: Any) -> str:
    """A value's name, or a number as a constant of the kernel's type; None is zero."""
    if type(value) is Value:
        return str(value)
    number = 0.0 if value is None else float(value)
    return f"F({number!r})" if math.isfinite(number) else f"F(float('{number!r}'))"


def spelled(op: Op, name: Callable[[Any], str] = value_of) -> str:
    """One operation as an assignment; ``name`` says what a value is called."""
    args = [name(a) for a in op.args]
    text = SPELLING[op.word]
    if op.word == "pow" and type(op.args[1]) is float:
        text = {1.0: "{0}", 2.0: "{0} * {0}"}.get(op.args[1], text)
    return f"{name(op.out)} = {text.format(*args)}"


def constant_lines(graph: WordGraph, array: str = "constants") -> List[str]:
    """One assignment for each constant, from an array of them."""
    return [f"{name} = {array}[{i}]" for name, i in constants_in(graph).items()]


def loads_of(graph: WordGraph, leaves: Any, places: Dict[str, str]) -> Dict[Value, str]:
    """For each input that is read, the text that reads it: from ``places`` by name, or the name of a constant."""
    places = {**places, **{name: name for name in constants_in(graph)}}
    return {value: places[name] for name, value in graph.inputs.items() if value in leaves and name in places}


def row_code(array: str, t: str = "") -> str:
    """Code for the chunk's part of row ``t`` of an array over time, or of an array with one value per neuron."""
    return f"row({array} + (({t}) * step_{array} + lo) * SIZE)" if t else f"row({array} + lo * SIZE)"


def filled(array: str, value: str, count: str = "width") -> List[str]:
    """Code that fills a row by a loop: for a slice Numba also compiles the error of unequal shapes, for seconds."""
    return [f"for j in range({count}):", f"    {array}[j] = {value}"]

"""The words of a GPU language that sequence_gpu.py needs to write kernels in it."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

from spikecore.api.core.graph import Op, Value

INPUT_TYPED = ("x", "out", "g", "gx")  # arrays in the type of the input; all others have the type of the states


class Target:
    """A language in which one thread, or one lane of a block, takes one neuron through all its time steps.

    In every kernel ``i`` is the neuron, ``t`` the step.

    A subclass has texts for ``words`` (see emit.py; here ``{one}`` and ``{zero}`` are numbers) and ``statements``:

    - ``load``: the element ``at`` of an ``array``, in the type of the states; ``scalar``: one element for all neurons.
    - ``load_row``: the element if ``inside``, or else zero, in the array's type; ``row_variable``: the first value of a
      variable of this type; ``row_now``: such a variable in the type of the states.
    - ``fixed``: a value of a ``kind``, "float" or "bool", that does not change; ``variable``: the first value of one
      that passes from step to step; ``assign``: its next.
    - ``store``: an element written to memory, in the array's type.
    - ``first_gate``: the place of a neuron's first gate in an array that has all gates of a sample behind each other.
    - ``forwards``, ``backwards``: the head of the loop over ``t``, to be unrolled ``unroll`` times, with lines that
      stand inside behind it; ``cut``: of a branch taken where truncated BPTT cuts. ``closing`` ends both, and the
      kernel.
    """

    words: ClassVar[Dict[str, str]]
    statements: ClassVar[Dict[str, str]]
    closing: ClassVar[Tuple[str, ...]] = ()
    type = "F"  # of the states

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def number(self, value: float) -> str:
        """A constant in the type of the states."""
        raise NotImplementedError

    def head(self, name: str, arrays: Sequence[str], written: Sequence[str], numbers: Sequence[str]) -> List[str]:
        """The head of a kernel, up to where ``i`` is known."""
        raise NotImplementedError

    def text(self, statement: str, **parts: Any) -> str:
        """A statement of the language, by its name in ``statements``, with its parts filled in."""
        stored = "X" if parts.get("array") in INPUT_TYPED else "F"
        return self.statements[statement].format(**parts, type=self.type, stored=stored)

    def value(self, value: Any) -> str:
        """A value of the graph, or a constant; None is zero."""
        return str(value) if type(value) is Value else self.number(0.0 if value is None else float(value))

    def spelled(self, op: Op) -> str:
        """An operation of the graph as an expression of the language."""
        args = [self.value(a) for a in op.args]
        if op.word == "pow" and type(op.args[1]) is float and op.args[1] in (0.0, 1.0, 2.0, 3.0):
            return " * ".join([args[0]] * int(op.args[1])) or self.number(1.0)
        if op.word == "clip":
            return self._clipped(args[0], *op.args[1:])
        return self.words[op.word].format(*args, one=self.number(1.0), zero=self.number(0.0))

    def _clipped(self, x: str, low: Any, high: Any) -> str:
        """The word ``clip`` by comparisons, which keep a NaN; an infinite bound is left out."""
        text = x
        for sign, bound in ((">", high), ("<", low)):
            if type(bound) is Value or math.isfinite(bound):
                text = self.words["where"].format(f"{x} {sign} {self.value(bound)}", self.value(bound), text)
        return text

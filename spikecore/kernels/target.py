"""What a GPU language must spell so that skeleton.py can write kernels in it."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

from spikecore.kernels.program import Op

INPUT_TYPED = ("x", "out", "g", "gx")  # arrays in the type of the input; all others have the type of the states
_COMPARISONS = {
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
}
COMMON: Dict[str, str] = {  # words that C and Python spell alike
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "stop_gradient": "{0}",
    **_COMPARISONS,
}


class Target:
    """A language in which one thread, or one lane of a block, takes one neuron through all its time steps.

    In every kernel ``i`` is the neuron, ``t`` the step, ``at`` the place of both in a (time, neurons) array.
    """

    words: ClassVar[Dict[str, str]]
    closing: ClassVar[Tuple[str, ...]] = ()  # what ends a block

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    # ---- expressions ----

    def number(self, value: float) -> str:
        """A constant in the type of the states."""
        raise NotImplementedError

    def load(self, array: str, at: str) -> str:
        """An element in the type of the states."""
        raise NotImplementedError

    def scalar(self, array: str, place: int = 0) -> str:
        """One element of an array, the same for all neurons."""
        raise NotImplementedError

    def value(self, value: Any) -> str:
        """A value of the program by its number, or a constant; None is zero."""
        return f"v{value}" if type(value) is int else self.number(0.0 if value is None else float(value))

    def spelled(self, op: Op) -> str:
        """One word applied to its arguments."""
        args = [self.value(a) for a in op.args]
        if op.word == "pow" and type(op.args[1]) is float and op.args[1] in (0.0, 1.0, 2.0, 3.0):
            return " * ".join([args[0]] * int(op.args[1])) or self.number(1.0)
        if op.word == "clip":
            return self._clipped(args[0], *op.args[1:])
        return self.words[op.word].format(*args, one=self.number(1.0), zero=self.number(0.0))

    def _clipped(self, x: str, low: Any, high: Any) -> str:
        """Written with comparisons that keep a NaN; an infinite bound is none."""
        text = x
        for sign, bound in ((">", high), ("<", low)):
            if math.isfinite(bound):
                text = self.words["where"].format(f"{x} {sign} {self.value(bound)}", self.value(bound), text)
        return text

    # ---- statements ----

    def fixed(self, kind: str, name: str, text: str) -> str:
        """A value that does not change; ``kind`` is "float" or "bool"."""
        raise NotImplementedError

    def variable(self, name: str, text: str) -> str:
        """A value that passes from step to step: its first."""
        raise NotImplementedError

    def assign(self, name: str, text: str) -> str:
        """Its next."""
        raise NotImplementedError

    def store(self, array: str, at: str, text: str) -> str:
        """A value written to memory."""
        raise NotImplementedError

    def head(self, name: str, arrays: Sequence[str], written: Sequence[str], numbers: Sequence[str]) -> List[str]:
        """The head of a kernel, up to where ``i`` is known."""
        raise NotImplementedError

    def loop(self, reverse: bool) -> List[str]:
        """The head of the loop over ``t``; what stands inside is indented."""
        raise NotImplementedError

    def at(self) -> str:
        """The line that makes ``at``."""
        raise NotImplementedError

    def cut(self) -> str:
        """The head of a branch taken where truncated BPTT cuts."""
        raise NotImplementedError

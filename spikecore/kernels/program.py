"""Straight-line programs on single elements, in static single assignment form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, NamedTuple, Set, Tuple, Union

Arg = Union[int, float]  # an int is the number of a value, a float a constant


class Op(NamedTuple):
    """One word applied to values and constants."""

    out: int
    word: str
    args: Tuple[Arg, ...]
    option: Any = None  # the surrogate of a spike


@dataclass
class Program:
    """Inputs by name, and operations in order. Equal operations are entered once."""

    inputs: Dict[str, int] = field(default_factory=dict)
    ops: List[Op] = field(default_factory=list)
    kinds: List[str] = field(default_factory=list)  # "float" or "bool", by value
    _known: Dict[Any, int] = field(default_factory=dict)

    def input(self, name: str) -> int:
        """The value of a named input."""
        if name not in self.inputs:
            self.inputs[name] = self._new("float")
        return self.inputs[name]

    def add(self, word: str, args: Tuple[Arg, ...], kind: str, option: Any = None) -> int:
        """The value of an operation; the one that exists if it was entered before."""
        key = (word, tuple((type(a), a) for a in args), option)
        if key not in self._known:
            self._known[key] = out = self._new(kind)
            self.ops.append(Op(out, word, args, option))
        return self._known[key]

    def _new(self, kind: str) -> int:
        self.kinds.append(kind)
        return len(self.kinds) - 1

    def needed(self, outputs: Iterable[int], given: Iterable[int] = ()) -> Tuple[List[Op], Set[int]]:
        """The operations that lead from inputs and ``given`` values to ``outputs``, and the leaves they read."""
        wanted, leaves, kept = set(outputs), set(self.inputs.values()) | set(given), []
        for op in reversed(self.ops):
            if op.out in wanted and op.out not in leaves:
                kept.append(op)
                wanted.update(a for a in op.args if type(a) is int)
        return kept[::-1], wanted & leaves

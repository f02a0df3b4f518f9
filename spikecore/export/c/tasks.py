"""Tasks: what remains of a step's words when shapes are views and composed words are taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Tuple, Union

import numpy as np

from spikecore.api.core.graph import Value, named
from spikecore.export.c.views import View
from spikecore.export.step_graph import Shape, StepState

#: An operand: numbers of an array, or a number of Python.
Operand = Union[View, float, int, bool]

#: Words that give each number of the result from one number of each operand. ``copy`` gives its operand.
ELEMENTWISE = frozenset(
    (
        "add subtract multiply divide negative pow abs maximum minimum clip where exp log sqrt sin cos tanh atan erf "
        "greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not sign floor ceil "
        "round isfinite astype spike copy"
    ).split()
)

#: The other words of tasks. ``product``: rows times a constant matrix (ins, outs). ``convolve``: a convolution or its
#: adjoint. ``window``: pooling. ``matmul``: both operands are computed.
REDUCTIONS = frozenset("sum max min argmax argmin any all".split())
WORDS = frozenset(("product", "convolve", "window", "matmul", *REDUCTIONS)) | ELEMENTWISE


@dataclass(frozen=True, eq=False)
class Task:
    """A word that is applied to operands, and where its result goes.

    Args:
        word: one of ``WORDS``.
        to: what it writes: all of an array, or a part of one that several tasks fill.
        reads: its operands. Of an elementwise word, all have the shape of ``to``.
        options: what else the word needs; of ``product`` and ``convolve``, the constant "weight" as an array.
        layer, kind: dotted name and class of the layer that says the word.
        over: whether other tasks have written to the same numbers before, e.g. the border of padding.
    """

    word: str
    to: View
    reads: Tuple[Operand, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""
    kind: str = ""
    over: bool = False

    @property
    def out(self) -> Value:
        """The array that it writes to."""
        return self.to.root

    @property
    def elementwise(self) -> bool:
        """Whether it can be a line in the body of a loop."""
        return self.word in ELEMENTWISE

    @property
    def where(self) -> str:
        """The layer, for messages and comments."""
        return named(self.layer, self.kind)

    def views(self) -> List[View]:
        """The operands that are arrays."""
        return [r for r in self.reads if isinstance(r, View)]


@dataclass(eq=False)
class TaskList:
    """A step as tasks.

    Args:
        tasks: in an order in which they can be done.
        shapes, dtypes: of each array.
        constants: arrays that never change, as small as broadcasting allows.
        x: the input.
        output: the output; no state shares its array.
        states: the states; each has an array of its own for what it is after the step.
        labels: what some constants are, e.g. "bias", for names.
    """

    tasks: List[Task]
    shapes: Dict[Value, Shape]
    dtypes: Dict[Value, str]
    constants: Dict[Value, np.ndarray]
    x: Value
    output: Value
    states: Tuple[StepState, ...]
    labels: Dict[Value, str] = field(default_factory=dict)

    def size(self, value: Value) -> int:
        """Number of entries of an array."""
        return int(np.prod(self.shapes[value], dtype=np.int64))

    def ends(self) -> List[Value]:
        """The results that the step must compute."""
        return [self.output, *(state.after for state in self.states)]

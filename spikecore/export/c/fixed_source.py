"""A plan as C in fixed point: the body of ``net_step``, stage by stage.

A quantised Linear and a Leaky whose state has a ``FixedPoint(16, 8)``, so that 256 stands for 1.0::

    for (int i = 0; i < 6; ++i) {
        const int32_t v_2 = state->mem_1[i] + (sum_0[i] + constant_0[i] * 16) * 2 - (state->mem_1[i] > 256) * 512;
        const int32_t mem = net_floor32(v_2 + 1, 1);
        const int32_t spk = mem - 256 > 0;
        state->mem_1[i] = (int16_t)mem;
        spk_1[i] = (int8_t)spk;
    }
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar, Dict, List, Optional, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.c.fixed import WIDTHS, Fixed, integers
from spikecore.export.c.fixed_kernels import FixedKernels
from spikecore.export.c.fixed_simplify import multiplied
from spikecore.export.c.fixed_step import FixedStep, number
from spikecore.export.c.fixed_words import COUNTER, FixedWords, Number, bits_of, constant
from spikecore.export.c.float_source import LONGEST, StepSource
from spikecore.export.c.plan import planned
from spikecore.export.c.schedule import ParallelTasks
from spikecore.export.c.source import PREFIX, Lines, Names, Text
from spikecore.export.c.tasks import Operand, Task, TaskList
from spikecore.export.c.views import View


class FixedSource(StepSource):
    """The source of a step in integers.

    Args:
        step: what to write.
        prefix: of the network's names.
    """

    members: ClassVar[Tuple[str, ...]] = (COUNTER, *(f"scratch_int{width}" for width in WIDTHS))

    def __init__(self, step: FixedStep, prefix: str) -> None:
        self.step = step
        self.widths = {value: kind.width for value, kind in step.formats.items()}
        for task, part in step.sums.items():  # sums are computed where their result is
            self.widths[task.out] = max(self.widths[task.out], part.width)
        super().__init__(planned(step.graph, self._pool, step.tasks), prefix)
        self.fixed_words = FixedWords(prefix)
        self.kernels = FixedKernels(self)

    def _pool(self, tasks: TaskList, value: Value) -> str:
        return f"int{self.widths[value]}"

    def pool_name(self, pool: str) -> str:
        return f"scratch_{pool}"

    def type_of(self, value: Value) -> str:
        return f"int{self.widths[value]}_t"

    def formatted(self, value: Value) -> Fixed:
        """The format of the numbers of an array."""
        return self.step.formats[value]

    def constant_table(self, value: Value, layer: str) -> str:
        array = integers(self.plan.tasks.constants[value], self.formatted(value).fraction)
        return self.table(
            self.plan.tasks.labels.get(value, "constant"),
            array.astype(f"int{self.widths[value]}"),
            layer,
            self.type_of(value),
        )

    def number(self, view: View) -> Optional[Text]:
        array = self.plan.tasks.constants.get(view.root)
        return None if array is None or array.size != 1 else constant(array).text

    def stored(self, text: Text, value: Value, bits: int = 32) -> str:
        """An expression of ``bits`` bits as it is assigned to a number of an array."""
        return text.text if self.widths[value] >= bits else f"({self.type_of(value)}){text.at(PREFIX)}"

    def _loop(self, lines: Lines, stage: ParallelTasks) -> None:
        if len(stage.tasks) == 1 and self._moves_the_point(stage.tasks[0]):
            lines.add("/* the same integers: the binary point moves */")
        else:
            super()._loop(lines, stage)

    def _moves_the_point(self, task: Task) -> bool:
        """Whether a task multiplies by a power of two, and its result takes the place of its operand."""
        if multiplied(self.plan.tasks, task, self.step.calls[task]) is None:
            return False
        (operand,), places = task.views()[:1], self.plan.memory.places
        return places[operand.root] == places[task.out] and places[task.out].kind == "scratch"

    def _body(
        self, lines: Lines, stage: ParallelTasks, local: Any, stores: List[Task], places: Dict[int, str]
    ) -> None:  # fmt: skip
        uses = Counter(view.root for task in stage.tasks for view in task.views())
        names, writes = Names(self.names.taken), []
        known: Dict[Value, Number] = {}
        for task in stage.tasks:
            operands = [self._given(read, task, local, known, places) for read in task.reads]
            result = self._computed(lines, names, task, operands)
            is_local, is_stored = task.out in local, any(each is task for each in stores)
            gets_name = (is_local and uses[task.out] > 0) or len(stores) > 1 if is_stored else uses[task.out] > 1
            if gets_name or (not is_stored and len(result.text.text) > LONGEST):
                result = self._variable(lines, names, task, result)
            if is_stored:
                kind = self.formatted(task.out)
                bits = bits_of(result.kind, kind)
                text = self.stored(result.at(kind.fraction, bits), task.out, bits)
                writes.append(f"{self.base(task.out, task.layer)}[{places[id(task.to)]}] = {text};")
            if is_local:
                known[task.out] = result
        lines.add(*writes)

    def _computed(self, lines: Lines, names: Names, task: Task, operands: List[Number]) -> Number:
        """The result of a task as an expression; lines that must stand before it are added."""
        result, known = self.step.results[task], self.step.calls[task]
        if task.word != "clip":
            return Number(self.fixed_words(task.word, known, operands, result), result)
        name = names.new(self.variable_name(task))
        bits, text, more = self.fixed_words.clip(known, operands[0], result, name)
        if not more:
            names.taken.discard(name)
            return Number(text, result)
        lines.add(f"int{bits}_t {name} = {text.text};", *more)
        return Number(Text(f"(int32_t){name}", PREFIX) if bits > bits_of(result) else Text(name), result)

    def _variable(self, lines: Lines, names: Names, task: Task, result: Number) -> Number:
        if result.constant is not None or result.text.text.isidentifier():
            return result
        name = names.new(self.variable_name(task))
        lines.add(f"const int{bits_of(result.kind)}_t {name} = {result.text.text};")
        return replace(result, text=Text(name))

    def _given(
        self, read: Operand, task: Task, local: Any, known: Dict[Value, Number], places: Dict[int, str]
    ) -> Number:  # fmt: skip
        if not isinstance(read, View):
            return constant(number(read, self.step.graph.dtype))
        if read.root in local:
            return known[read.root]
        array = self.plan.tasks.constants.get(read.root)
        if array is not None and array.size == 1:
            return constant(array)
        return Number(Text(f"{self.base(read.root, task.layer)}[{places[id(read)]}]"), self.formatted(read.root))


def rest_of(step: FixedStep, index: int) -> np.ndarray:
    """A state at the start of a sequence, as integers."""
    state = step.graph.states[index]
    return integers(state.rest, step.formats[state.before].fraction).ravel()

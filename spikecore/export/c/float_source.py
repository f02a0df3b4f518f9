"""A plan as C in float32: the body of ``net_step``, stage by stage.

A Linear and the Leaky behind it::

    /* layer 0 (Linear), layer 1 (Leaky) */
    float *const spk_1 = state->scratch;
    for (int i = 0; i < 6; ++i) {
        const float flag = state->mem_1[i] > 1.0f ? 1.0f : 0.0f;
        const float mem = 0.9f * state->mem_1[i] + (sum_0[i] + bias_0[i]) - flag;
        const float spk = mem - 1.0f > 0.0f ? 1.0f : 0.0f;
        state->mem_1[i] = mem;
        spk_1[i] = spk;
    }
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, ClassVar, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.c.float_kernels import KernelWriter
from spikecore.export.c.float_words import TYPES, ExpressionWriter, literal
from spikecore.export.c.plan import ProgramPlan
from spikecore.export.c.schedule import ParallelTasks
from spikecore.export.c.source import CHOICE, NAME, Lines, Names, Text, index, merged, remark
from spikecore.export.c.tasks import Operand, Task
from spikecore.export.c.views import View

POOLS = {"float32": "scratch", "int64": "scratch_int", "bool": "scratch_bool"}
BASES = {"product": "sum", "convolve": "sum", "window": "pooled", "spike": "spk", "matmul": "product", "astype": "flag"}
LONGEST = 76  # characters of an expression that stands within another one


class StepSource:
    """The source of a plan's step.

    Args:
        plan: what to write.
        prefix: of the network's names.
    """

    #: Members of ``net_state`` beside the states.
    members: ClassVar[Tuple[str, ...]] = tuple(POOLS.values())

    def __init__(self, plan: ProgramPlan, prefix: str) -> None:
        self.plan, self.prefix = plan, prefix
        self.words = ExpressionWriter(prefix)
        self.names, fields = Names(self.members), Names(self.members)
        self.state_names = {s.name: fields.new(*_turned(s.name)) for s in plan.tasks.states}
        self.arrays: Dict[Value, str] = {}
        self.tables: Dict[str, Tuple[str, np.ndarray, str]] = {}  # name: (type of C, numbers, where)
        self.kernels = KernelWriter(self)

    def body(self) -> List[str]:
        """The lines of the step."""
        lines = Lines(1)
        for number, stage in enumerate(self.plan.stages):
            lines.add(*([""] if number else []), f"/* {self._title(stage)} */")
            for value in dict.fromkeys(task.out for task in stage.tasks):
                self._declare(lines, value, stage)
            if stage.loop:
                self._loop(lines, stage)
            else:
                self.kernels.write(lines, stage.tasks[0])
        for state in self.plan.memory.commits:
            lines.add("", f"/* {state.name}: its new values */")
            lines.loops([self.plan.tasks.size(state.after)])
            lines.add(f"state->{self.state_names[state.name]}[i] = {self.base(state.after, '')}[i];")
            lines.close()
        return [line for number, line in enumerate(lines.lines) if not _idle(line, lines.lines[number + 1 :])]

    def _title(self, stage: ParallelTasks) -> str:
        return ", ".join(dict.fromkeys(remark(task.where) for task in stage.tasks if task.where))

    # ---- arrays ----

    def _declare(self, lines: Lines, value: Value, stage: ParallelTasks) -> None:
        """Declare the name of an array in scratch where it is first written."""
        place = self.plan.memory.places[value]
        if place.kind != "scratch" or value in self.arrays:
            return
        task = next(task for task in stage.tasks if task.out == value)
        self.arrays[value] = self.names.new(BASES.get(task.word, "v"), task.layer)
        start = f" + {place.first}" if place.first else ""
        lines.add(f"{self.type_of(value)} *const {self.arrays[value]} = state->{self.pool_name(place.pool)}{start};")

    def type_of(self, value: Value) -> str:
        """The type of C for the numbers of an array."""
        return TYPES[self.plan.tasks.dtypes[value]]

    def pool_name(self, pool: str) -> str:
        """The memory of values of a type."""
        return POOLS[pool]

    def base(self, value: Value, layer: str) -> str:
        """The name of an array."""
        place = self.plan.memory.places[value]
        if place.kind in ("in", "out"):
            return place.kind
        if place.kind == "state":
            return f"state->{self.state_names[place.state]}"
        if value not in self.arrays:
            self.arrays[value] = self.constant_table(value, layer)
        return self.arrays[value]

    def constant_table(self, value: Value, layer: str) -> str:
        """A table of a constant; returns its name."""
        return self.table(self.plan.tasks.labels.get(value, "constant"), self.plan.tasks.constants[value], layer)

    def table(self, label: str, array: np.ndarray, layer: str, kind: str = "", where: str = "") -> str:
        """A table of constants; returns its name."""
        name = self.names.new(label, layer)
        self.tables[name] = kind or TYPES[str(array.dtype)], array, where
        return name

    def number(self, view: View) -> Optional[Text]:
        """A constant that is a single number, as it is written."""
        array = self.plan.tasks.constants.get(view.root)
        return literal(array.reshape(-1)[0], str(array.dtype)) if array is not None and array.size == 1 else None

    # ---- loops ----

    def _loop(self, lines: Lines, stage: ParallelTasks) -> None:
        loads: List[View] = []
        stores: List[Task] = []
        local = {task.out for task in stage.tasks if task.to.full(self.plan.tasks.size(task.out))}
        for task in stage.tasks:
            loads += [v for v in task.views() if v.root not in local and self.number(v) is None]
            stores += [task] if self.plan.memory.places[task.out].kind != "local" else []
        views = [view.squeezed() for view in [*loads, *(task.to for task in stores)]]
        sizes, strides = merged(stage.shape or (), [v.strides for v in views])
        places = {id(v): index(s, v.offset) for v, s in zip([*loads, *(t.to for t in stores)], strides)}
        lines.loops(sizes) if sizes else lines.open("")
        self._body(lines, stage, local, stores, places)
        lines.close(max(1, len(sizes)))

    def _body(
        self, lines: Lines, stage: ParallelTasks, local: Any, stores: List[Task], places: Dict[int, str]
    ) -> None:  # fmt: skip
        uses = Counter(v.root for task in stage.tasks for v in task.views())
        names = Names(self.names.taken)
        known: Dict[Value, Text] = {}
        stored = {id(task) for task in stores}
        writes: List[str] = []
        for task in stage.tasks:
            operands, dtypes = [], []
            for read in task.reads:
                dtype = self._dtype(task, read)
                dtypes.append(dtype)
                operands.append(self._operand(read, dtype, task, local, known, places))
            out = self.plan.tasks.dtypes[task.out]
            text = self.words(task.word, operands, dtypes, out, task.options)
            is_local, used = task.out in local, uses[task.out]
            if id(task) in stored:
                target = f"{self.base(task.out, task.layer)}[{places[id(task.to)]}]"
                if (is_local and used) or len(stores) > 1:
                    text = self._named(lines, names, task, text)
                writes.append(f"{target} = {text.text};")
            elif used > 1 or text.binds == CHOICE or len(text.text) > LONGEST:
                text = self._named(lines, names, task, text)
            if is_local:
                known[task.out] = text
        lines.add(*writes)

    def _named(self, lines: Lines, names: Names, task: Task, text: Text) -> Text:
        if text.binds == NAME and re.fullmatch(r"\w+", text.text):
            return text  # has a name, or is a number
        name = names.new(self.variable_name(task))
        lines.add(f"const {TYPES[self.plan.tasks.dtypes[task.out]]} {name} = {text.text};")
        return Text(name)

    def variable_name(self, task: Task) -> str:
        """The name of the variable that holds the result of a task."""
        after = {s.after: s.name.rpartition(".")[2] for s in self.plan.tasks.states}
        return after.get(task.out, BASES.get(task.word, "v"))

    def _dtype(self, task: Task, read: Operand) -> str:
        """The type of an operand; a number has that of the arrays beside it."""
        if isinstance(read, View):
            return self.plan.tasks.dtypes[read.root]
        beside = [self.plan.tasks.dtypes[v.root] for v in task.views()[task.word == "where" :]]
        return beside[-1] if beside else self.plan.tasks.dtypes[task.out]

    def _operand(
        self, read: Operand, dtype: str, task: Task, local: Any, known: Dict[Value, Text], places: Dict[int, str]
    ) -> Text:  # fmt: skip
        if not isinstance(read, View):
            return literal(read, dtype)
        if read.root in local:
            return known[read.root]
        return self.number(read) or Text(f"{self.base(read.root, task.layer)}[{places[id(read)]}]")


def _idle(line: str, after: Sequence[str]) -> bool:
    """Whether a line names an array that no later line reads or writes: all of its numbers are known."""
    named = re.match(r" *\w+ \*const (\w+) = state->", line)
    return named is not None and not any(re.search(rf"\b{named[1]}\b", later) for later in after)


def _turned(dotted: str) -> Tuple[str, str]:
    """The state "1.mem" as ("mem", "1"), since names begin with letters."""
    layer, _, name = dotted.rpartition(".")
    return name, layer

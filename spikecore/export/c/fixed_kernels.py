"""Products, convolutions, pooling and reductions as C in fixed point.

They are those of ``float_kernels.py`` on integers, with the types in their names::

    const int32_t v = in[i];
    if (v != 0) {
        for (int o = 0; o < outs; ++o) {
            out[o] = (int16_t)(out[o] + v * weights[o]);
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.c.fixed_tables import PER_BYTE, READ, Weights, weights_of
from spikecore.export.c.fixed_words import bits_of, literal, wide
from spikecore.export.c.float_kernels import KernelWriter
from spikecore.export.c.source import PRODUCT, SUM, Lines, Text, infix
from spikecore.export.c.tasks import Task

if TYPE_CHECKING:
    from spikecore.export.c.fixed_source import FixedSource


class FixedKernels(KernelWriter):
    """Writes tasks that are not elementwise.

    Args:
        step: the source that they are part of.
    """

    step: FixedSource
    zero = "0"

    def variable(self, value: Value) -> str:
        """The type of a variable that holds a number of an array."""
        return f"int{32 if self.step.widths[value] <= 32 else 64}_t"

    # ---- products ----

    def _sum(self, task: Task, to: str, weight: str) -> str:
        if self.step.widths[task.out] >= 32:
            return super()._sum(task, to, weight)
        return f"{to} = {self.step.stored(Text(f'{to} + {self._times(task, weight)}', SUM), task.out)}"

    def _row(self, lines: Lines, task: Task, source: str, target: str) -> None:
        weight = task.options["weight"]
        table = weights_of(weight, np.broadcast_to(np.arange(weight.shape[1]), weight.shape))
        if table.sparse is not None:
            form, added = "sparse", ("*to", "weights[e]")
        elif table.bits < 8:
            form, added = "packed", ("to[p]", self._packed(table, "weights[p]"))
        else:
            form, added = "rows", ("out[o]", "weights[o]")
        of, to = (self.step.type_of(value) for value in (task.views()[0].root, task.out))
        kinds = [*(f"{array.dtype}" for array in table.arrays[:-1]), f"int{table.bits}"]
        parts = [self.step.prefix, form, *kinds, "of", "spikes" if self._spikes(task) else of, "to", to]
        name = "_".join(re.sub("_t$", "", part) for part in parts)
        per = {"PER": str(PER_BYTE[table.bits])} if form == "packed" else {}
        self._add_rows(lines, task, (source, target), form, name, table.arrays, SUM=self._sum(task, *added), **per)
        if table.shifts is not None:
            shifts = self.step.table("shifts", table.shifts, task.layer, "uint8_t", task.where)
            lines.loops([weight.shape[1]], "o")
            lines.add(f"({target})[o] = {self._shifted(task, f'({target})[o]', f'{shifts}[o]')};")
            lines.close()

    def _shifted(self, task: Task, text: str, shift: str) -> str:
        kind = self.variable(task.out)
        return self.step.stored(Text(f"{text} * (({kind})1 << {shift})", PRODUCT), task.out, 64 if "64" in kind else 32)

    def _packed(self, table: Weights, byte: str) -> str:
        """A weight of those that stand in a byte: number k."""
        name = f"{self.step.prefix}_int{table.bits}"
        self.functions[name] = READ[table.bits].replace("PREFIX", self.step.prefix)
        return f"{name}({byte}, k)"

    # ---- maps ----

    def _contribution(self, lines: Lines, task: Task, rows: np.ndarray, row: str, places: int) -> None:
        groups, filters = task.options["weight"].shape[0], rows.shape[1]
        group = np.repeat(np.arange(groups), rows.shape[0] // groups)[:, None]
        table = weights_of(rows, group * filters + np.arange(filters))
        names, stride = self._tables(task, table.arrays), "" if places == 1 else f"{places} * "
        if table.sparse is not None:
            self._sparse_contribution(lines, task, names, row, stride)
        else:
            length = table.bytes.shape[1]
            lines.add(f"const {table.bytes.dtype}_t *const w = {names[0]} + ({row}) * {length};")
            if table.bits < 8:
                lines.loops([-(-filters // length)], "k")
                rest = filters % length
                count = f"k < {filters // length} ? {length} : {rest}" if rest else str(length)
                lines.open(f"for (int f = 0; f < ({count}); ++f)" if rest else f"for (int f = 0; f < {count}; ++f)")
                to = f"to[{stride}({length} * k + f)]"
                lines.add(f"{self._sum(task, to, self._packed(table, 'w[f]'))};")
                lines.close()
            else:
                lines.loops([filters], "f")
                lines.add(f"{self._sum(task, f'to[{stride}f]', 'w[f]')};")
            lines.close()
        self.shifts = table.shifts

    def _convolve(self, lines: Lines, task: Task) -> None:
        super()._convolve(lines, task)
        if self.shifts is None:
            return
        places, (_, target) = math.prod(task.to.shape[2:]), self._ends(task)
        shifts = self.step.table("shifts", self.shifts, task.layer, "uint8_t", task.where)
        lines.loops([task.to.size])
        lines.add(f"{target}[i] = {self._shifted(task, f'{target}[i]', f'{shifts}[i / {places}]')};")
        lines.close()

    # ---- what pooling and reductions do with each number ----

    def _lowest(self, task: Task) -> str:
        kind = self.step.formatted(task.views()[0].root)
        return literal(kind.low, bits_of(kind)).text

    def _highest(self, task: Task) -> str:
        kind = self.step.formatted(task.views()[0].root)
        return literal(kind.high, bits_of(kind)).text

    def pooled(self, task: Task) -> Tuple[str, str]:
        greatest = task.options["kind"] == "max"
        begin = f"{self.variable(task.out)} whole = {self._lowest(task) if greatest else '0'};"
        return begin, "whole = v > whole ? v : whole;" if greatest else "whole += v;"

    def multiplied(self, task: Task, first: str, second: str) -> str:
        a, _ = task.views()
        bits = 64 if self.variable(task.out) == "int64_t" else 32
        x = wide(Text(first), self.step.formatted(a.root), bits)
        return f"whole += {infix(x, '*', Text(second), PRODUCT).text};"

    def reduced(self, task: Task) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
        kind, word = self.variable(task.out), task.word
        if word in ("argmax", "argmin"):
            sign, start = (">", self._lowest(task)) if word == "argmax" else ("<", self._highest(task))
            begin = f"{self.variable(task.views()[0].root)} best = {start};", "int32_t whole = 0, count = 0;"
            return begin, (f"if (v {sign} best) {{", "    best = v;", "    whole = count;", "}", "++count;")
        if word in ("any", "all"):
            joined = "whole != 0 || v != 0" if word == "any" else "whole != 0 && v != 0"
            return (f"int32_t whole = {int(word == 'all')};",), (f"whole = {joined};",)
        if word == "sum":
            return (f"{kind} whole = 0;",), ("whole += v;",)
        sign, start = (">", self._lowest(task)) if word == "max" else ("<", self._highest(task))
        return (f"{kind} whole = {start};",), (f"whole = v {sign} whole ? v : whole;",)

    def assigned(self, task: Task) -> str:
        """``whole`` as it is assigned to a number of the result."""
        return self.step.stored(Text("whole"), task.out, 64 if self.variable(task.out) == "int64_t" else 32)

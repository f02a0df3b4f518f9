"""Products, convolutions, pooling and reductions as C in fixed point."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Tuple

import numpy as np

from spikecore.export.c.fixed_tables import PER_BYTE, READ, Weights, weights_of
from spikecore.export.c.fixed_words import bits_of, literal, wide
from spikecore.export.c.float_kernels import Kernels
from spikecore.export.c.source import PRODUCT, SUM, Lines, Text, infix
from spikecore.export.c.tasks import Task
from spikecore.export.step_graph import Value

if TYPE_CHECKING:
    from spikecore.export.c.fixed_source import FixedSource

#: Functions of the file; capitals stand for names and types.
HEAD = """/* out = in * weights: adds the row of weights of each input that is not zero, times the input. */
static void NAME(const IN *restrict in, int ins, const WEIGHT *restrict weights, OUT *restrict out,
                 int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = 0;
    }
"""
ROWS = (
    HEAD
    + """\
    for (int i = 0; i < ins; ++i, weights += outs) {
        const VARIABLE v = in[i];
        if (v != 0) {
            for (int o = 0; o < outs; ++o) {
                SUM;
            }
        }
    }
}"""
)
PACKED = (
    HEAD
    + """\
    const int length = (outs + PER - 1) / PER;
    for (int i = 0; i < ins; ++i, weights += length) {
        const VARIABLE v = in[i];
        if (v != 0) {
            for (int k = 0; k < PER; ++k) {
                OUT *const to = out + k * length;
                const int count = outs - k * length < length ? outs - k * length : length;
                for (int p = 0; p < count; ++p) {
                    SUM;
                }
            }
        }
    }
}"""
)
SPARSE = """/* out = in * weights, with the weights of input i that are not zero from starts[i] to starts[i + 1]. */
static void NAME(const IN *restrict in, int ins, const START *restrict starts, const PLACE *restrict places,
                 const WEIGHT *restrict weights, OUT *restrict out, int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = 0;
    }
    for (int i = 0; i < ins; ++i) {
        const VARIABLE v = in[i];
        if (v != 0) {
            for (int e = starts[i]; e < (int)starts[i + 1]; ++e) {
                OUT *const to = out + places[e];
                SUM;
            }
        }
    }
}"""


class FixedKernels(Kernels):
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

    def _sum(self, task: Task, to: str, weight: str, spikes: bool) -> str:
        """The statement that adds an input ``v`` times a weight to ``to``."""
        added = weight if spikes else f"v * {weight}"
        if self.step.widths[task.out] >= 32:
            return f"{to} += {added}"
        return f"{to} = {self.step.stored(Text(f'{to} + {added}', SUM), task.out)}"

    def _product(self, lines: Lines, task: Task) -> None:
        weight, (source, target) = task.options["weight"], self._ends(task)
        (ins, outs), rows = weight.shape, task.to.size // weight.shape[1]
        if rows > 1:
            lines.loops([rows], "r")
            source, target = f"{source} + {ins} * r", f"{target} + {outs} * r"
        table = weights_of(weight, np.broadcast_to(np.arange(outs), weight.shape))
        names = self._tables(task, table)
        lines.add(f"{self._rows(task, table)}({source}, {ins}, {', '.join(names)}, {target}, {outs});")
        if table.shifts is not None:
            shifts = self.step.table("shifts", table.shifts, task.layer, "uint8_t", task.where)
            lines.loops([outs], "o")
            lines.add(f"({target})[o] = {self._shifted(task, f'({target})[o]', f'{shifts}[o]')};")
            lines.close()
        if rows > 1:
            lines.close()

    def _shifted(self, task: Task, text: str, shift: str) -> str:
        kind = self.variable(task.out)
        return self.step.stored(Text(f"{text} * (({kind})1 << {shift})", PRODUCT), task.out, 64 if "64" in kind else 32)

    def _tables(self, task: Task, table: Weights) -> Tuple[str, ...]:
        """The names of the tables of a weight."""
        parts = (
            [("weight", table.bytes)]
            if table.sparse is None
            else list(zip(("starts", "places", "weight"), table.sparse))
        )
        return tuple(self.step.table(n, array, task.layer, f"{array.dtype}_t", task.where) for n, array in parts)

    def _packed(self, table: Weights, byte: str) -> str:
        """A weight of those that stand in a byte: number k."""
        name = f"{self.step.prefix}_int{table.bits}"
        self.functions[name] = READ[table.bits].replace("PREFIX", self.step.prefix)
        return f"{name}({byte}, k)"

    def _rows(self, task: Task, table: Weights) -> str:
        """The function for a product."""
        source, spikes = task.views()[0].root, self._spikes(task)
        kinds = [str(part.dtype) for part in (table.sparse or (table.bytes,))]
        words = {
            "VARIABLE": self.variable(task.out),
            "IN": self.step.type_of(source),
            "OUT": self.step.type_of(task.out),
            "WEIGHT": f"{kinds[-1]}_t",
        }
        if table.sparse is not None:
            form, text = "sparse", SPARSE
            words.update(START=f"{kinds[0]}_t", PLACE=f"{kinds[1]}_t", SUM=self._sum(task, "*to", "weights[e]", spikes))
        elif table.bits < 8:
            form, text = "packed", PACKED
            added = self._sum(task, "to[p]", self._packed(table, "weights[p]"), spikes)
            words.update(PER=str(PER_BYTE[table.bits]), SUM=added)
        else:
            form, text = "rows", ROWS
            words.update(SUM=self._sum(task, "out[o]", "weights[o]", spikes))
        of = "spikes" if spikes else words["IN"]
        parts = [self.step.prefix, form, *kinds[:-1], f"int{table.bits}", "of", of, "to", words["OUT"]]
        words["NAME"] = name = "_".join(re.sub("_t$", "", part) for part in parts)
        if spikes:
            text = text.replace("        const VARIABLE v = in[i];\n        if (v != 0)", "        if (in[i] != 0)")
        for word, meaning in words.items():
            text = re.sub(rf"\b{word}\b", meaning, text)
        self.functions[name] = text
        return name

    # ---- maps ----

    def _contribution(self, lines: Lines, task: Task, rows: np.ndarray, row: str, places: int) -> None:
        groups, filters = task.options["weight"].shape[0], rows.shape[1]
        group = np.repeat(np.arange(groups), rows.shape[0] // groups)[:, None]
        table = weights_of(rows, group * filters + np.arange(filters))
        names, stride, spikes = self._tables(task, table), "" if places == 1 else f"{places} * ", self._spikes(task)
        if table.sparse is None:
            length = table.bytes.shape[1]
            lines.add(f"const {table.bytes.dtype}_t *const w = {names[0]} + ({row}) * {length};")
            if table.bits < 8:
                lines.loops([-(-filters // length)], "k")
                rest = filters % length
                count = f"k < {filters // length} ? {length} : {rest}" if rest else str(length)
                lines.open(f"for (int f = 0; f < ({count}); ++f)" if rest else f"for (int f = 0; f < {count}; ++f)")
                to = f"to[{stride}({length} * k + f)]"
                lines.add(f"{self._sum(task, to, self._packed(table, 'w[f]'), spikes)};")
                lines.close()
            else:
                lines.loops([filters], "f")
                lines.add(f"{self._sum(task, f'to[{stride}f]', 'w[f]', spikes)};")
        else:
            starts, where, values = names
            lines.add(f"const int row = {row};")
            lines.open(f"for (int e = {starts}[row]; e < (int){starts}[row + 1]; ++e)")
            to = f"to[{stride}{where}[e]]"
            lines.add(f"{self._sum(task, to, f'{values}[e]', spikes)};")
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

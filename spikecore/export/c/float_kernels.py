"""Products, convolutions, pooling and reductions as C in float32.

Products and convolutions go through the inputs that are not zero, in their order, and add up what each contributes:
for spikes, weights alone. The order of the sum of each result is that of a matrix product.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.export.c.source import OUTER, Lines, index, merged
from spikecore.export.c.tasks import Task
from spikecore.export.step_graph import Value

if TYPE_CHECKING:
    from spikecore.export.c.float_source import StepSource

#: Functions of the file; PREFIX, PLACE and START stand for names.
FUNCTIONS = {
    "rows": """/* out = in * weights: adds the row of weights of each input that is not zero, times the input. */
static void PREFIX_rows(const float *restrict in, int ins, const float *restrict weights, float *restrict out, int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = 0.0f;
    }
    for (int i = 0; i < ins; ++i, weights += outs) {
        const float v = in[i];
        if (v != 0.0f) {
            for (int o = 0; o < outs; ++o) {
                out[o] += v * weights[o];
            }
        }
    }
}""",
    "spike_rows": """/* The same for spikes: adds the row of weights of each input that fires. */
static void PREFIX_spike_rows(const float *restrict in, int ins, const float *restrict weights, float *restrict out,
                              int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = 0.0f;
    }
    for (int i = 0; i < ins; ++i, weights += outs) {
        if (in[i] != 0.0f) {
            for (int o = 0; o < outs; ++o) {
                out[o] += weights[o];
            }
        }
    }
}""",
    "sparse": """\
/* out = in * weights: the weights of input i that are not zero are those from starts[i] to starts[i + 1]. */
static void PREFIX_sparse_PLACE(const float *restrict in, int ins, const uint32_t *restrict starts,
                                const PLACE_t *restrict places, const float *restrict weights, float *restrict out,
                                int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = 0.0f;
    }
    for (int i = 0; i < ins; ++i) {
        const float v = in[i];
        if (v != 0.0f) {
            for (uint32_t e = starts[i]; e < starts[i + 1]; ++e) {
                out[places[e]] += v * weights[e];
            }
        }
    }
}""",
}


class Kernels:
    """Writes tasks that are not elementwise.

    Args:
        step: the source that they are part of.
    """

    zero = "0.0f"

    def __init__(self, step: StepSource) -> None:
        self.step = step
        self.functions: Dict[str, str] = {}

    def write(self, lines: Lines, task: Task) -> None:
        """Write a task."""
        {"product": self._product, "convolve": self._convolve, "window": self._window, "matmul": self._matmul}.get(
            task.word, self._reduce
        )(lines, task)

    def function(self, name: str, place: str = "") -> str:
        """A function of the file, which is then written; returns its name."""
        text = FUNCTIONS[name].replace("PREFIX", self.step.prefix).replace("PLACE", place)
        full = f"{self.step.prefix}_{name}" + (f"_{place}" if place else "")
        self.functions[full] = text
        return full

    def _ends(self, task: Task) -> Tuple[str, str]:
        """The first number that a task reads, and the first one that it writes."""
        source = task.views()[0]
        start = f" + {source.offset}" if source.offset else ""
        return f"{self.step.base(source.root, task.layer)}{start}", self.step.base(task.out, task.layer)

    def _spikes(self, task: Task) -> bool:
        return task.views()[0].root in self.step.plan.spikes

    # ---- products ----

    def _product(self, lines: Lines, task: Task) -> None:
        weight, (source, target) = task.options["weight"], self._ends(task)
        (ins, outs), rows = weight.shape, task.to.size // weight.shape[1]
        if rows > 1:
            lines.loops([rows], "r")
            source, target = f"{source} + {ins} * r", f"{target} + {outs} * r"
        table = sparse_rows(weight)
        if table is None:
            name = self.step.table("weight", weight, task.layer, where=task.where)
            function = self.function("spike_rows" if self._spikes(task) else "rows")
            lines.add(f"{function}({source}, {ins}, {name}, {target}, {outs});")
        else:
            starts, places, values, kind = self._sparse_tables(task, table)
            function = self.function("sparse", kind)
            lines.add(f"{function}({source}, {ins}, {starts}, {places}, {values}, {target}, {outs});")
        if rows > 1:
            lines.close()

    def _sparse_tables(self, task: Task, table: Sequence[np.ndarray]) -> Tuple[str, str, str, str]:
        starts, places, values = table
        kind = str(places.dtype)
        named = [
            self.step.table("starts", starts, task.layer, "uint32_t", task.where),
            self.step.table("places", places, task.layer, f"{kind}_t", task.where),
            self.step.table("weight", values, task.layer, where=task.where),
        ]
        return named[0], named[1], named[2], kind

    # ---- maps ----

    def _convolve(self, lines: Lines, task: Task) -> None:
        weight, (source, target) = task.options["weight"], self._ends(task)
        groups, of_group, *kernel, filters = weight.shape
        x, (batch, _, *out) = task.views()[0], task.to.shape
        channels, space, axes = x.shape[1], x.shape[2:], len(kernel)
        places = math.prod(out)
        lines.loops([task.to.size])
        lines.add(f"{target}[i] = {self.zero};")
        lines.close()
        if batch > 1:  # a layer that has put another axis there
            lines.loops([batch], "b")
            source, target = f"{source} + {x.size // batch} * b", f"{target} + {task.to.size // batch} * b"
        spots, kernels = [f"x{a}" for a in range(axes)], [f"k{a}" for a in range(axes)]
        lines.loops([channels, *space], ["c", *spots])
        lines.add(
            f"const {self.variable(task.out)} v = {bracketed(source)}[{flat(['c', *spots], [channels, *space])}];"
        )
        lines.open(f"if (v != {self.zero})")
        geometry = zip(task.options["stride"], task.options["padding"], task.options["dilation"])
        for a, (stride, padding, dilation) in enumerate(geometry):
            lines.loops([kernel[a]], [kernels[a]])
            tap = kernels[a] if dilation == 1 else f"{dilation} * {kernels[a]}"
            if task.options["transposed"]:
                at = f"{spots[a]} + {tap}" if stride == 1 else f"{stride} * {spots[a]} + {tap}"
                lines.add(f"const int o{a} = {at} - {padding};" if padding else f"const int o{a} = {at};")
                outside = f"o{a} < 0 || o{a} >= {out[a]}"
            elif stride == 1:
                at = f"{spots[a]} + {padding}" if padding else spots[a]
                lines.add(f"const int o{a} = {at} - {tap};")
                outside = f"o{a} < 0 || o{a} >= {out[a]}"
            else:
                at = f"{spots[a]} + {padding}" if padding else spots[a]
                lines.add(f"const int at{a} = {at} - {tap};", f"const int o{a} = at{a} / {stride};")
                outside = f"at{a} < 0 || at{a} % {stride} != 0 || o{a} >= {out[a]}"
            lines.open(f"if ({outside})")
            lines.add("continue;")
            lines.close()
        row = flat(["c", *kernels], [channels, *kernel])
        first = flat([f"o{a}" for a in range(axes)], out)
        first += f" + c / {of_group} * {filters * places}" if groups > 1 else ""
        lines.add(f"{self.step.type_of(task.out)} *const to = {target} + {first};")
        self._contribution(lines, task, weight.reshape(-1, filters), row, places)
        lines.close(axes + 1 + 1 + len(space) + (batch > 1))

    def _contribution(self, lines: Lines, task: Task, rows: np.ndarray, row: str, places: int) -> None:
        """What an input adds at one place: a row of weights, for all filters."""
        factor, table = "" if self._spikes(task) else "v * ", sparse_rows(rows)
        stride = "" if places == 1 else f"{places} * "
        if table is None:
            name = self.step.table("weight", rows, task.layer, where=task.where)
            lines.add(f"const float *const w = {name} + ({row}) * {rows.shape[1]};")
            lines.loops([rows.shape[1]], "f")
            lines.add(f"to[{stride}f] += {factor}w[f];")
        else:
            starts, where, values, _ = self._sparse_tables(task, table)
            lines.add(f"const int row = {row};")
            lines.open(f"for (uint32_t e = {starts}[row]; e < {starts}[row + 1]; ++e)")
            lines.add(f"to[{stride}{where}[e]] += {factor}{values}[e];")
        lines.close()

    def _window(self, lines: Lines, task: Task) -> None:
        (source, target), (begin, change) = self._ends(task), self.pooled(task)
        space, (batch, channels, *out) = task.views()[0].shape[2:], task.to.shape
        channels *= batch
        axes = range(len(out))
        spots = [f"x{a}" for a in axes]
        lines.loops([channels, *out], ["c", *(f"o{a}" for a in axes)])
        lines.add(begin)
        for a in axes:
            kernel, stride, padding = (task.options[name][a] for name in ("kernel", "stride", "padding"))
            lines.loops([kernel], [f"k{a}"])
            at = f"{stride} * o{a} + k{a}" if stride > 1 else f"o{a} + k{a}"
            lines.add(f"const int x{a} = {at} - {padding};" if padding else f"const int x{a} = {at};")
            if padding:
                lines.open(f"if (x{a} < 0 || x{a} >= {space[a]})")
                lines.add("continue;")
                lines.close()
        number = f"{bracketed(source)}[{flat(['c', *spots], [channels, *space])}]"
        lines.add(f"const {self.variable(task.out)} v = {number};", change)
        lines.close(len(out))
        lines.add(f"{target}[{flat(['c', *(f'o{a}' for a in axes)], [channels, *out])}] = {self.assigned(task)};")
        lines.close(len(out) + 1)

    # ---- what is computed from strided arrays ----

    def _matmul(self, lines: Lines, task: Task) -> None:
        a, b = task.views()
        *stack, rows, columns = task.to.shape
        inner = a.shape[-1]
        sizes = [*stack, rows, columns, inner]
        strides = [
            [*a.strides[:-1], 0, a.strides[-1]],
            [*b.strides[:-2], 0, b.strides[-1], b.strides[-2]],
            [*task.to.strides, 0],
        ]
        outer, inside = (
            [n for n in sizes[:-1] if n > 1],
            [s for s, n in enumerate(sizes) if n > 1 and s < len(sizes) - 1],
        )
        variables = [*OUTER[: len(outer)], "k"]
        places = [
            index([s[x] for x in inside] + [s[-1]], v.offset, variables) for s, v in zip(strides, (a, b, task.to))
        ]
        lines.loops(outer, variables) if outer else lines.open("")
        lines.add(f"{self.variable(task.out)} whole = {self.zero};")
        lines.loops([inner], "k")
        first, second = (self.step.base(v.root, task.layer) for v in (a, b))
        lines.add(self.multiplied(task, f"{first}[{places[0]}]", f"{second}[{places[1]}]"))
        lines.close()
        lines.add(f"{self.step.base(task.out, task.layer)}[{places[2]}] = {self.assigned(task)};")
        lines.close(max(1, len(outer)))

    def _reduce(self, lines: Lines, task: Task) -> None:
        x, kept = task.views()[0], task.options["kept"]
        number = self.step.number(x)
        outer, over = merged(x.shape[:kept], [x.strides[:kept], task.to.strides])
        inner, within = merged(x.shape[kept:], [x.strides[kept:]])
        variables = [*OUTER[: len(outer)], *(f"k{a}" for a in range(len(inner)))]
        lines.loops(outer, variables) if outer else lines.open("")
        place = index([*over[0], *within[0]], x.offset, variables)
        value = number.text if number else f"{self.step.base(x.root, task.layer)}[{place}]"
        begin, change = self.reduced(task)
        lines.add(*begin)
        lines.loops(inner, variables[len(outer) :]) if inner else lines.open("")
        lines.add(f"const {self.variable(x.root)} v = {value};", *change)
        lines.close(max(1, len(inner)))
        target = index(over[1], task.to.offset, variables)
        lines.add(f"{self.step.base(task.out, task.layer)}[{target}] = {self.assigned(task)};")
        lines.close(max(1, len(outer)))

    # ---- what depends on the type of numbers ----

    def variable(self, value: Value) -> str:
        """The type of a variable that holds a number of an array."""
        return self.step.type_of(value)

    def pooled(self, task: Task) -> Tuple[str, str]:
        """How pooling begins, and what it does with each number ``v`` of a window."""
        if task.options["kind"] == "max":
            return "float whole = -INFINITY;", "whole = v > whole || v != v ? v : whole;"
        return "float whole = 0.0f;", "whole += v;"

    def multiplied(self, task: Task, first: str, second: str) -> str:
        """What a product of two computed matrices does with each pair of numbers."""
        return f"whole += {first} * {second};"

    def reduced(self, task: Task) -> Tuple[Sequence[str], Sequence[str]]:
        """How a reduction begins, and what it does with each number ``v``."""
        kind = self.step.type_of(task.out if task.word == "sum" else task.views()[0].root)
        return REDUCED[task.word](kind)

    def assigned(self, task: Task) -> str:
        """``whole`` as it is assigned to a number of the result."""
        return "whole"


Reduced = Tuple[List[str], List[str]]


def _greatest(operator: str) -> Callable[[str], Reduced]:
    def reduced(kind: str) -> Reduced:
        none = " || v != v" if kind == "float" else ""  # what is not a number stays
        change = [f"whole = first || v {operator} whole{none} ? v : whole;", "first = false;"]
        return [f"{kind} whole = 0;", "bool first = true;"], change

    return reduced


def _place_of_greatest(operator: str) -> Callable[[str], Reduced]:
    def reduced(kind: str) -> Reduced:
        none = " || (v != v && best == best)" if kind == "float" else ""
        better = f"if (count == 0 || v {operator} best{none}) {{"
        change = [better, "    best = v;", "    whole = count;", "}", "++count;"]
        return [f"{kind} best = 0;", "int32_t whole = 0, count = 0;"], change

    return reduced


#: For each reduction of numbers of a type: how it begins, and what it does with each number ``v``.
REDUCED: Dict[str, Callable[[str], Reduced]] = {
    "sum": lambda kind: ([f"{kind} whole = 0;"], ["whole += v;"]),
    "max": _greatest(">"),
    "min": _greatest("<"),
    "any": lambda kind: (["bool whole = false;"], ["whole = whole || v;"]),
    "all": lambda kind: (["bool whole = true;"], ["whole = whole && v;"]),
    "argmax": _place_of_greatest(">"),
    "argmin": _place_of_greatest("<"),
}


def bracketed(address: str) -> str:
    """An address as what is indexed."""
    return f"({address})" if " " in address else address


def flat(variables: Sequence[str], sizes: Sequence[int]) -> str:
    """The place of a number in an array without gaps."""
    text = variables[0]
    for v, n in zip(variables[1:], sizes[1:]):
        text = f"({text}) * {n} + {v}" if " " in text else f"{text} * {n} + {v}"
    return text


def sparse_rows(weight: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of weights without zeros, as (starts, places, values), if that is smaller; else None."""
    rows, columns = weight.shape
    kind = np.dtype("uint8" if columns <= 1 << 8 else "uint16" if columns <= 1 << 16 else "uint32")
    at, places = np.nonzero(weight)
    if len(at) * (weight.itemsize + kind.itemsize) + (rows + 1) * 4 >= weight.nbytes:
        return None
    starts = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=rows))])
    return starts.astype(np.uint32), places.astype(kind), weight[at, places]

"""Products, convolutions, pooling and reductions as C in float32.

Products and convolutions go through the inputs that are not zero, in their order, and add up what each contributes:
for spikes, weights alone. The order of the sum of each result is that of a matrix product.

A Linear behind spikes calls a function of the file, which adds the rows of the weight::

    if (in[i] != 0.0f) {
        for (int o = 0; o < outs; ++o) {
            out[o] += weights[o];

A ``Conv2d(1, 3, 3, padding=1)`` adds each input, times a row of the weight, to the outputs that it reaches::

    const float v = in[(c * 6 + x0) * 6 + x1];
    if (v != 0.0f) {
        for (int k0 = 0; k0 < 3; ++k0) {
            const int o0 = x0 + 1 - k0;
            if (o0 < 0 || o0 >= 6) {
                continue;
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.c.source import OUTER, Lines, bracketed, flat, index, merged
from spikecore.export.c.tasks import Task
from spikecore.export.c.weight_rows import row_function, sparse_rows

if TYPE_CHECKING:
    from spikecore.export.c.float_source import StepSource


class KernelWriter:
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

    def _ends(self, task: Task) -> Tuple[str, str]:
        """The addresses of the first number that a task reads, and of the first one that it writes."""
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
        self._row(lines, task, source, target)
        if rows > 1:
            lines.close()

    def _row(self, lines: Lines, task: Task, source: str, target: str) -> None:
        """Write a row of inputs times the matrix of weights."""
        arrays = stored(task.options["weight"])
        form, added = ("rows", ("out[o]", "weights[o]")) if len(arrays) == 1 else ("sparse", ("*to", "weights[e]"))
        of = self.step.type_of(task.views()[0].root)
        kinds = [form, *(str(array.dtype) for array in arrays[1:-1]), *([] if of == "float" else ["of", of])]
        name = "_".join([self.step.prefix, *(["spike"] if self._spikes(task) else []), *kinds])
        self._add_rows(lines, task, (source, target), form, name, arrays, SUM=self._sum(task, *added))

    def _add_rows(
        self,
        lines: Lines,
        task: Task,
        ends: Tuple[str, str],
        form: str,
        name: str,
        arrays: Sequence[np.ndarray],
        **words: str,
    ) -> None:
        """Write the call of a function that adds rows of weights up, and the function.

        Args:
            lines, task: where the call goes, and the product that it is.
            ends: the first number that it reads, and the first one that it writes.
            form, words: as for ``row_function``; the words that the types of the numbers say are filled in.
            name: of the function.
            arrays: the tables of the weight, as ``stored`` returns them.
        """
        (ins, outs), (source, target) = task.options["weight"].shape, ends
        known = {
            "NAME": name,
            "IN": self.step.type_of(task.views()[0].root),
            "OUT": self.step.type_of(task.out),
            "VARIABLE": self.variable(task.out),
            "ZERO": self.zero,
            **dict(zip(("WEIGHT", "PLACE", "START"), map(type_in_c, arrays[::-1]))),
        }
        self.functions[name] = row_function(form, self._spikes(task), {**known, **words})
        lines.add(f"{name}({source}, {ins}, {', '.join(self._tables(task, arrays))}, {target}, {outs});")

    def _sum(self, task: Task, to: str, weight: str) -> str:
        """The statement that adds an input ``v`` times a weight to ``to``."""
        return f"{to} += {self._times(task, weight)}"

    def _times(self, task: Task, weight: str) -> str:
        """A weight times the input ``v``."""
        return weight if self._spikes(task) else f"v * {weight}"

    def _tables(self, task: Task, arrays: Sequence[np.ndarray]) -> Tuple[str, ...]:
        """Tables of a weight; returns their names."""
        labels = ("starts", "places", "weight")[-len(arrays) :]
        return tuple(self.step.table(n, a, task.layer, type_in_c(a), task.where) for n, a in zip(labels, arrays))

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
        """Write what an input ``v`` adds at one place of the output: for all filters, a row of weights."""
        names, stride = self._tables(task, stored(rows)), "" if places == 1 else f"{places} * "
        if len(names) > 1:
            self._sparse_contribution(lines, task, names, row, stride)
            return
        lines.add(f"const float *const w = {names[0]} + ({row}) * {rows.shape[1]};")
        lines.loops([rows.shape[1]], "f")
        lines.add(f"{self._sum(task, f'to[{stride}f]', 'w[f]')};")
        lines.close()

    def _sparse_contribution(self, lines: Lines, task: Task, names: Sequence[str], row: str, stride: str) -> None:
        """The same where only weights that are not zero are stored."""
        starts, where, values = names
        lines.add(f"const int row = {row};")
        lines.open(f"for (uint32_t e = {starts}[row]; e < {starts}[row + 1]; ++e)")
        lines.add(f"{self._sum(task, f'to[{stride}{where}[e]]', f'{values}[e]')};")
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
        """The beginning of a pooling, and its step for each number ``v`` of a window."""
        if task.options["kind"] == "max":
            return "float whole = -INFINITY;", "whole = v > whole || v != v ? v : whole;"
        return "float whole = 0.0f;", "whole += v;"

    def multiplied(self, task: Task, first: str, second: str) -> str:
        """The step of a product of two computed matrices for each pair of numbers."""
        return f"whole += {first} * {second};"

    def reduced(self, task: Task) -> Tuple[Sequence[str], Sequence[str]]:
        """The beginning of a reduction, and its step for each number ``v``."""
        kind = self.step.type_of(task.out if task.word == "sum" else task.views()[0].root)
        return REDUCED[task.word](kind)

    def assigned(self, task: Task) -> str:
        """The expression that is stored as a number of the result, once a kernel has computed ``whole``."""
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


def stored(weight: np.ndarray) -> Tuple[np.ndarray, ...]:
    """The tables of a matrix of weights: (beginnings of rows, columns, values) without zeros, or all of it alone."""
    return sparse_rows(weight, weight.nbytes, "uint32") or (weight,)


def type_in_c(array: np.ndarray) -> str:
    """The type of the numbers of a table."""
    return "float" if array.dtype == np.float32 else f"{array.dtype}_t"

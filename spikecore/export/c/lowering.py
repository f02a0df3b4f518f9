"""From a step graph to tasks: shape words become views, biases and norms elementwise words, constants lose copies."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable, Dict, Sequence, Tuple, cast

import numpy as np

from spikecore.api.core.graph import Op, Value
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.export.c.tasks import ELEMENTWISE, REDUCTIONS, Operand, Task, TaskList
from spikecore.export.c.views import View
from spikecore.export.errors import ExportError
from spikecore.export.step_graph import Shape, StepGraph

VIEW_WORDS = frozenset("reshape expand_dims squeeze permute_dims take_slice broadcast_to flip".split())
#: Positional arguments of words that are no arrays, in order.
NUMBERS = {"clip": ("low", "high"), "astype": ("dtype",), "spike": ("surrogate",)}


def lowered(graph: StepGraph) -> TaskList:
    """The tasks of a step of one sample.

    Raises:
        ExportError: a word has no form as a task; names the layer.
    """
    return Lowering(graph).run()


class Lowering:
    """Collects tasks; there is a method for each word that is neither a view nor elementwise."""

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self.words = NumpyEngine(graph.dtype, fused=False).raw_words()
        self.count = max(value.number for value in graph.shapes)
        self.list = TaskList([], {}, {}, {}, graph.x, graph.output, graph.states)
        self.views: Dict[Value, View] = {}
        self.known: Dict[Any, View] = {}
        self.node = Op(graph.x, "", ())
        for value in (graph.x, *(state.before for state in graph.states)):
            self.views[value] = self._array(value, graph.shapes[value], graph.dtypes[value])

    def run(self) -> TaskList:
        for node in self.graph.ops:
            self.node, word = node, node.word
            if self.graph.dtypes[node.out] not in (self.graph.dtype, "bool", "int64"):
                raise ExportError(
                    f"{node.where} computes in {self.graph.dtypes[node.out]}: use {self.graph.dtype} numbers in it"
                )
            if math.prod(self.graph.shapes[node.out]) == 0:
                self.views[node.out] = View.whole(node.out, self.graph.shapes[node.out])
                continue
            if word == "constant":
                result: Operand = self.operand(node.args[0])
            elif word in ELEMENTWISE:
                split = len(node.args) - len(NUMBERS.get(word, ()))
                named = dict(zip(NUMBERS.get(word, ()), node.args[split:]))
                result = self.element(word, *map(self.operand, node.args[:split]), **{**named, **node.options})
            elif word in VIEW_WORDS:
                result = self.view(word, self.array(node.args[0]), *node.args[1:], **node.options)
            elif hasattr(self, f"do_{word}"):
                result = getattr(self, f"do_{word}")(*node.args, **node.options)
            elif word in REDUCTIONS:
                options: Any = node.args[1:]
                result = self.reduce(word, self.array(node.args[0]), *options, **node.options)
            else:
                raise ExportError(f"{node.where} uses {word!r}, which has no form in C: replace the layer")
            self.views[node.out] = result if isinstance(result, View) else self.constant(np.asarray(result))
        self._ends()
        return self.list

    # ---- arrays ----

    def _array(self, value: Value, shape: Shape, dtype: str) -> View:
        self.list.shapes[value], self.list.dtypes[value] = shape, dtype
        return View.whole(value, shape)

    def new(self, shape: Sequence[int], dtype: str) -> View:
        """A new array."""
        self.count += 1
        return self._array(Value(self.count), tuple(shape), dtype)

    def constant(self, array: np.ndarray) -> View:
        """A constant as an operand; stored once, without the axes along which it repeats."""
        small = array = np.asarray(array)
        for axis in range(array.ndim):
            first = small.take([0], axis=axis)
            if small.tobytes() == np.repeat(first, small.shape[axis], axis=axis).tobytes():
                small = first
        key = small.tobytes(), small.shape, small.dtype.str
        if key not in self.known:
            self.known[key] = self.new(small.shape, str(small.dtype))
            self.list.constants[self.known[key].root] = small
        return self.known[key].broadcast(array.shape)

    def operand(self, argument: Any) -> Operand:
        """An argument as an operand."""
        if type(argument) is Value:
            return self.views[argument]
        if isinstance(argument, (np.ndarray, np.generic)):
            return self.constant(np.asarray(argument))
        return cast(Operand, argument)

    def array(self, argument: Any) -> View:
        """An argument that must be an array."""
        found = argument if isinstance(argument, View) else self.operand(argument)
        return found if isinstance(found, View) else self.constant(np.asarray(found, self.graph.dtype))

    def fixed(self, argument: Any, what: str) -> np.ndarray:
        """An argument that must not depend on the input."""
        if type(argument) is Value:
            view = self.views[argument]
            if view.root not in self.list.constants:
                raise ExportError(
                    f"{self.node.where}: its {what} depends on the input, and in C weights are constants: "
                    "use weights that do not change while the network runs"
                )
            return np.broadcast_to(self.list.constants[view.root], view.shape)
        array = np.asarray(argument)
        if not np.isfinite(array).all():
            raise ExportError(f"{self.node.where}: its {what} is not finite; train it again")
        return array

    # ---- tasks ----

    def task(self, word: str, to: View, *reads: Operand, over: bool = False, **options: Any) -> View:
        """Add a task; returns what it writes."""
        self.list.tasks.append(Task(word, to, reads, options, self.node.layer, self.node.kind, over))
        return to

    def element(self, word: str, *reads: Operand, **options: Any) -> View:
        """Add an elementwise task with a result of its own."""
        shape = np.broadcast_shapes(*(r.shape for r in reads if isinstance(r, View)))
        if word == "multiply":  # by one, as resets and graded spikes mostly are
            for factor, other in (reads, reads[::-1]):
                if self._is_one(factor) and isinstance(other, View) and other.shape == shape:
                    return other
        to = self.new(shape, self._dtype(word, reads, options))
        return self.task(word, to, *(r.broadcast(shape) if isinstance(r, View) else r for r in reads), **options)

    def _is_one(self, operand: Operand) -> bool:
        if not isinstance(operand, View):
            return operand == 1
        array = self.list.constants.get(operand.root)
        return array is not None and array.dtype == self.graph.dtype and bool((array == 1).all())

    def _dtype(self, word: str, reads: Sequence[Operand], options: Dict[str, Any]) -> str:
        dtypes = [self.list.dtypes[r.root] for r in reads if isinstance(r, View)]
        samples = [np.ones((1,), self.list.dtypes[r.root]) if isinstance(r, View) else r for r in reads]
        if word == "copy":
            return dtypes[0]
        if word == "astype":
            return str(options["dtype"])
        sample = self.words[word](*samples, *(options[name] for name in NUMBERS.get(word, ())))
        return str(sample.dtype)

    def stored(self, view: View) -> View:
        """A view whose numbers stand one behind the other in memory: ``view`` itself, or a copy."""
        return view if view.contiguous else self.task("copy", self.new(view.shape, self.list.dtypes[view.root]), view)

    def view(self, word: str, x: View, *options: Any, **named: Any) -> View:
        """The result of a word that only moves numbers: a view of ``x``, or of a copy where there is no such view."""
        apply: Callable[..., Any] = self.words[word]
        if word == "take_slice":  # with "...", so that a single number is an array, too
            key = options[0] if isinstance(options[0], tuple) else (options[0],)
            if any(isinstance(part, np.ndarray) for part in key):
                raise ExportError(
                    f"{self.node.where}: a key with an array in it has no form in C; select by a mask and where instead"
                )
            options = (key if Ellipsis in key else (*key, ...),)
        moved = x.through(apply, *options, **named)
        return cast(View, moved or self.stored(x).through(apply, *options, **named))

    def _ends(self) -> None:
        """Give the output and each state after the step an array of its own."""
        self.node = self.node._replace(layer="", kind="")
        made, taken, after = {task.out for task in self.list.tasks if not task.over}, set(), []
        for value in self.graph.ends():
            view = self.views[value]
            is_its_own = view.root in made and view.root not in taken and view.full(self.list.size(view.root))
            if not is_its_own or self.list.dtypes[view.root] != self.graph.dtype:
                layer = next((n for n in self.graph.ops if n.out == value), self.node)
                self.node = self.node._replace(layer=layer.layer, kind=layer.kind)
                if self.list.dtypes[view.root] != self.graph.dtype:
                    view = self.element("astype", view, dtype=self.graph.dtype)
                else:
                    view = self.element("copy", view)
            taken.add(view.root)
            after.append(view.root)
        states = tuple(replace(state, after=root) for state, root in zip(self.graph.states, after[1:]))
        self.list.output, self.list.states = after[0], states

    # ---- words that are more than one task ----

    def do_linear(self, x: Any, weight: Any, bias: Any = None) -> View:
        return self._product(self.array(x), self.fixed(weight, "weight").T, bias)

    def _product(self, x: View, weight: np.ndarray, bias: Any = None) -> View:
        x, shape = self.stored(x), (*x.shape[:-1], weight.shape[1])
        sums = self.task("product", self.new(shape, self.graph.dtype), x, weight=np.ascontiguousarray(weight))
        return sums if bias is None else self.element("add", sums, self.operand(bias))

    def do_matmul(self, a: Any, b: Any) -> View:
        if type(b) is not Value and np.ndim(b) == 2 and type(a) is Value and self.array(a).places.ndim > 1:
            return self._product(self.array(a), self.fixed(b, "matrix"))
        first, second = self.array(a), self.array(b)
        if first.places.ndim < 2 or second.places.ndim < 2:
            raise ExportError(
                f"{self.node.where} multiplies a matrix by a single row, which has no form in C: reshape it"
            )
        stack = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
        to = self.new((*stack, first.shape[-2], second.shape[-1]), self.graph.dtype)
        first, second = (v.broadcast((*stack, *v.shape[-2:])) for v in (first, second))
        return self.task("matmul", to, first, second)

    def do_conv(
        self, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> View:  # fmt: skip
        w = self.fixed(weight, "weight")
        w = w.reshape(groups, len(w) // groups, *w.shape[1:]).swapaxes(1, 2)  # groups, channels, filters, kernel
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "transposed": False}
        return self._convolve(self.array(x), w, bias, geometry)

    def do_conv_transpose(
        self, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
    ) -> View:  # fmt: skip
        w = self.fixed(weight, "weight")
        w = w.reshape(groups, len(w) // groups, *w.shape[1:])
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "transposed": True}
        return self._convolve(self.array(x), w, bias, geometry)

    def _convolve(self, x: View, weight: np.ndarray, bias: Any, geometry: Dict[str, Any]) -> View:
        """``weight``: (groups, channels of a group, filters of a group, *kernel); stored with the filters last."""
        shape = self.graph.shapes[self.node.out]
        to = self.new(shape, self.graph.dtype)
        weight = np.ascontiguousarray(np.moveaxis(weight, 2, -1))
        sums = self.task("convolve", to, self.stored(x), weight=weight, **geometry)
        if bias is None:
            return sums
        return self.element("add", sums, self.constant(self.fixed(bias, "bias").reshape(-1, *[1] * (len(shape) - 2))))

    def do_avg_pool(self, x: Any, kernel: Any, stride: Any, padding: Any) -> View:
        sums = self._window("sum", x, kernel, stride, padding)
        return self.element("divide", sums, float(math.prod(kernel)))

    def do_max_pool(self, x: Any, kernel: Any, stride: Any, padding: Any) -> View:
        return self._window("max", x, kernel, stride, padding)

    def _window(self, kind: str, x: Any, kernel: Any, stride: Any, padding: Any) -> View:
        options = {"kind": kind, "kernel": kernel, "stride": stride, "padding": padding}
        to = self.new(self.graph.shapes[self.node.out], self.graph.dtype)
        return self.task("window", to, self.stored(self.array(x)), **options)

    def reduce(self, word: str, x: View, axis: Any = None, keepdims: bool = False) -> View:
        """A reduction; its operand has the kept axes first."""
        axes = range(x.places.ndim) if axis is None else ((axis,) if isinstance(axis, int) else axis)
        gone = sorted(a % x.places.ndim for a in axes)
        kept = [a for a in range(x.places.ndim) if a not in gone]
        shape = tuple(x.shape[a] for a in kept)
        dtypes = {"argmax": "int64", "argmin": "int64", "any": "bool", "all": "bool"}
        dtype = dtypes.get(word, self.list.dtypes[x.root])
        dtype = "int64" if word == "sum" and dtype == "bool" else dtype
        turned = cast(View, x.through(np.transpose, (*kept, *gone)))
        reduced = self.task(word, self.new(shape, dtype), turned, kept=len(kept))
        with_axes = tuple(1 if a in gone else n for a, n in enumerate(x.shape))
        return self.view("reshape", reduced, with_axes) if keepdims else reduced

    def do_mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> View:
        view = self.array(x)
        sums = self.reduce("sum", view, axis, keepdims)
        return self.element("divide", sums, float(view.size // max(1, sums.size)))

    def do_moments(self, x: Any, axis: Tuple[int, ...]) -> View:
        return self.do_stack(*self._mean_and_variance(self.array(x), axis), axis=0)

    def _mean_and_variance(self, x: View, axis: Tuple[int, ...]) -> Tuple[View, View]:
        mean = self.do_mean(x, axis)
        centred = self.element("subtract", x, self._along(mean, x, axis))
        return mean, self.do_mean(self.element("multiply", centred, centred), axis)

    def do_batch_norm(self, x: Any, moments: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float) -> View:
        view = self.array(x)
        if moments is None:
            mean, variance = self._mean_and_variance(view, axis)
        else:
            mean, variance = (self.view("take_slice", self.array(moments), (i, ...)) for i in (0, 1))
        scale = self.element("divide", 1.0, self.element("sqrt", self.element("add", variance, eps)))
        scale = scale if weight is None else self.element("multiply", scale, self.array(weight))
        shift = self.element("multiply", self.element("negative", mean), scale)
        shift = shift if bias is None else self.element("add", shift, self.array(bias))
        scale, shift = (self._along(part, view, axis) for part in (scale, shift))
        return self.element("add", self.element("multiply", view, scale), shift)

    def _along(self, values: View, x: View, axis: Tuple[int, ...]) -> View:
        """Values of the axes that are not in ``axis``, as an operand beside x."""
        return cast(View, values.through(np.expand_dims, tuple(a % x.places.ndim for a in axis)))

    def do_log_softmax(self, x: Any, axis: int) -> View:
        view = self.array(x)
        shifted = self.element("subtract", view, self.reduce("max", view, axis, keepdims=True))
        total = self.reduce("sum", self.element("exp", shifted), axis, keepdims=True)
        return self.element("subtract", shifted, self.element("log", total))

    def do_concat(self, *arrays: Any, axis: int = 0) -> View:
        views = [v for v in map(self.array, arrays) if v.size]
        if len(views) == 1:
            return views[0]
        to, first = self.new(self.graph.shapes[self.node.out], self.list.dtypes[views[0].root]), 0
        for view in views:
            key = [slice(None)] * to.places.ndim
            key[axis] = slice(first, first + view.shape[axis])
            self.task("copy", cast(View, to.through(lambda a, k: a[k], tuple(key))), view)
            first += view.shape[axis]
        return to

    def do_stack(self, *arrays: Any, axis: int = 0) -> View:
        views = [self.array(a) for a in arrays]
        shape = list(views[0].shape)
        shape.insert(axis % (len(shape) + 1), len(views))
        to = self.new(shape, self.list.dtypes[views[0].root])
        for i, view in enumerate(views):
            key = (slice(None),) * (axis % to.places.ndim) + (i,)
            self.task("copy", cast(View, to.through(lambda a, k: a[k], key)), view)
        return to

    def do_pad(self, x: Any, widths: Any, value: float = 0.0) -> View:
        view = self.array(x)
        to = self.new([low + n + high for (low, high), n in zip(widths, view.shape)], self.list.dtypes[view.root])
        self.task("copy", to, value)
        key = tuple(slice(low, low + n) for (low, _), n in zip(widths, view.shape))
        self.task("copy", cast(View, to.through(lambda a, k: a[k], key)), view, over=True)
        return to

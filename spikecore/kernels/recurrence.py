"""Dense recurrence: one matrix product per step, and around it the neuron's own kernel.

    P[t] = S[t-1] W^T,   (S[t], U[t]) = step(U[t-1], I[t] + (P[t] + b))

Given P the rest is elementwise, so it is traced and emitted like any other step, with P instead of the fed-back
spikes. Backward goes from step to step as well; with G[t] the gradient by P[t],

    by S[t-1], through the recurrence: G[t] W,     by W: sum over t of G[t]^T S[t-1], one product over time x batch
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.layer import Stateless, computes_as
from spikecore.api.layers.linear import Linear
from spikecore.api.neurons.recurrent import Recurrent
from spikecore.kernels.base import Gradients, Kernels, Product, Request, Results, Upstream, Wanted
from spikecore.kernels.elementwise import Elementwise, address_of, arrays_of, elementwise, workers
from spikecore.kernels.form import WEIGHT, Step, indices_of, reads_products
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import CHUNK, KernelRecipe, kernel_of
from spikecore.kernels.runtime.openmp import several
from spikecore.kernels.sequence import SequenceNumba, by_parameter, flat, in_rows
from spikecore.kernels.sparse import product as sparse
from spikecore.kernels.sparse.feedback import feedback
from spikecore.kernels.sparse.weights import entries_of

Rows = Tuple[Any, int]  # rows over time, and how far beyond a step's number its own is; one row is every step's
THREADS_FROM = 64 * CHUNK  # neurons; a step of fewer is over before a second thread has woken up


@dataclass(frozen=True)
class Shift(Stateless):
    """The rest of a Linear once its product is given: y = x + b."""

    bias: bool

    def init(self, key: Any, shape: Any) -> Any:
        raise NotImplementedError("only its step is traced")

    def apply(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError("only its step is traced")

    def step(self, engine: Any, params: Any, state: Any, x: Any) -> Tuple[Any, Any]:
        return (x + params.bias if self.bias else x), state


def parts_of(stepper: Any, kind: Any, product: Product) -> Tuple[Optional[Recurrent], Any]:
    """The neuron without its product, and the kernels that run both: a class and its arguments, behind the step.

    ``kind`` is the class of kernels for neurons without a product. Both are None if there is no dense recurrence.
    """
    elementwise = elementwise_part(stepper)
    if elementwise is None:
        return None, None
    if kind is SequenceNumba:
        return elementwise, (Recurrence, product)
    from spikecore.kernels.recurrence_gpu import RecurrenceOnDevice

    return elementwise, (RecurrenceOnDevice, kind)


def elementwise_part(stepper: Any) -> Optional[Recurrent]:
    """The same neuron with the product taken out; None where the stepper has no dense recurrence."""
    if getattr(type(stepper), "step", None) is not Recurrent.step:  # nor a subclass that computes something else
        return None
    if "spk" in stepper.neuron.state:  # it reads the spikes of its own recurrence, in whose place P stands
        return None
    if not computes_as(stepper.connection, (Linear,)):
        return None
    return _without_product(stepper)  # type: ignore[no-any-return]


@Remembered
def _without_product(stepper: Any) -> Recurrent:
    return Recurrent(stepper.neuron, Shift(stepper.connection.bias))


def _multiplier(product: Product, left: Any, across: Any, into: Any) -> Callable[[int], None]:
    """A function of t that multiplies left[t] by ``across`` into into[t], or into the one row that there is; by the
    entries of ``across`` alone if it is pruned.

    In which order BLAS sums can depend on where an operand begins. A row that does not begin a cache line, as every
    tensor of torch's loop does, therefore takes the way over one that does. (NumPy's products with OpenBLAS were not
    seen to depend on it.)
    """
    entries = entries_of(across, left.shape[1], len(left)) if left.ndim == 3 else None
    if entries is not None:
        by_entries = entries.multiplier(left[0], into[0])
        return lambda t: by_entries(left[t], into[t % len(into)])
    (right,) = product.matrices(across[None])
    take, rows_in = _lined_up(product, left)
    give, rows_out = _lined_up(product, into)

    def multiply(t: int) -> None:
        to = t % len(into)
        if take is not None:
            take[0] = left[t]
        product.multiply(rows_in[t % len(rows_in)], right, rows_out[to % len(rows_out)])
        if give is not None:
            into[to] = give[0]

    return multiply


def _lined_up(product: Product, rows: Any) -> Tuple[Any, Sequence[Any]]:
    """The matrices to multiply, and None; or, if rows do not begin at cache lines, a row that does, to copy them to."""
    if rows.ctypes.data % allocator.LINE == 0 and (len(rows) == 1 or rows.strides[0] % allocator.LINE == 0):
        return None, product.matrices(rows)
    apart = allocator.empty((1, *rows.shape[1:]), rows.dtype)
    return apart, product.matrices(apart)


@dataclass(frozen=True, eq=False)
class Recurrence(Kernels):
    """Kernels of one step for ``Recurrent(neuron, Linear)``.

    Args:
        step: the elementwise part; its first state is P[t] before the step and S[t] after it.
        product: the engine's matrix product.
    """

    product: Product

    by_step: ClassVar[bool] = True
    shares: ClassVar[bool] = True  # spikes and recorded states are what it saves

    @property
    def params(self) -> Tuple[str, ...]:
        return (WEIGHT, *self.step.params)

    def recipes(self, wanted: Optional[Wanted], constant: bool) -> Optional[List[KernelRecipe]]:
        back = () if wanted is None else (_backward(self.step, self._by(wanted)).recipe,)
        return [_forward(self.step).recipe, *back]

    def _by(self, wanted: Wanted) -> Tuple[str, ...]:
        """The elementwise part's parameters whose gradients are wanted, by their indices."""
        return indices_of(self.step.params, (p for p in wanted.params if p in self.step.params))

    def forward(self, request: Request, keep: bool = True) -> Results:
        shape, steps, step = request.shape, request.steps, self.step
        full = [int(keep or s == "spk" or s in step.record) for s in self.states]
        kept = [allocator.empty((1 + steps * f, *shape), step.dtype) for f in full]  # row 0 before the first step
        for rows, first in zip(kept, request.state):
            rows[0] = first
        products = allocator.empty((steps if keep and reads_products(step) else 1, *shape), step.dtype)
        arrays = {**self._rows(request, products, kept), "to_out": (flat(kept[0]), 1)}
        arrays.update({f"to_{name}": rows for name, rows in arrays.items() if name.startswith("a_")})
        start, tables = _tables(_forward(step), arrays, steps, shape)
        multiply = _multiplier(self.product, kept[0], request.params[WEIGHT].T, products)
        by_lists = feedback(request.params[WEIGHT], shape[0]) if len(shape) == 2 else None
        with self.product.calm():
            for t, table in enumerate(tables):
                if by_lists is None or not by_lists(kept[0][t], products[t % len(products)]):
                    multiply(t)
                start(table)
        over_time = {s: rows[1:] for s, rows in zip(self.states, kept)}
        final = [rows[-1].copy() for rows in kept]  # no view: it would keep the whole run alive
        saved = (products, *kept) if keep else ()
        return Results(over_time["spk"], [over_time[s] for s in self.record], final, saved)

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of the products, and of the states before the first step and after each."""
        products = steps if reads_products(self.step) else 1
        return [(n, *shape) for n in (products, *(steps + 1 for _ in self.states))]

    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        step, shape, window = self.step, request.shape, wanted.window
        names = tuple(p for p in wanted.params if p != WEIGHT)
        sums = [allocator.zeros(shape, step.dtype) for _ in names]
        by_product = allocator.empty((request.steps, *shape), step.dtype)
        carry = [allocator.copy(0 if last is None else last, shape, step.dtype) for last in upstream.final]
        numbers = self._by(wanted)
        products, *kept = upstream.saved
        arrays = {**self._rows(request, products, kept), "g": (in_rows(upstream.outputs, step.dtype), 0)}
        arrays.update({f"r_{s}": (in_rows(g, step.dtype), 0) for s, g in zip(step.recorded, upstream.recorded)})
        arrays.update({f"c_{s}": (flat(c[None]), 0) for s, c in zip(step.trace.states, carry)})
        arrays.update({f"to_s_{s}": arrays[f"c_{s}"] for s in step.trace.states}, to_s_0=(flat(by_product), 0))
        arrays.update({f"to_p_{p}": (flat(total[None]), 0) for p, total in zip(numbers, sums)})
        start, tables = _tables(_backward(step, numbers), arrays, request.steps, shape)
        multiply = _multiplier(self.product, by_product, request.params[WEIGHT], carry[0][None])
        with self.product.calm():
            for t in range(request.steps - 1, -1, -1):
                start(tables[t])
                multiply(t)
                if window and t and t % window == 0:
                    for c in carry:
                        c[:] = 0
        by_params = by_parameter(request, names, sums)
        if WEIGHT in wanted.params:
            by_params[WEIGHT] = self._by_weight(by_product, kept[0][:-1], request.params[WEIGHT])
        if wanted.inputs and request.constant:
            by_product = np.add.reduce(by_product[::-1], axis=0)[None]
        return Gradients(by_product if wanted.inputs else None, carry, by_params)

    def _rows(self, request: Request, products: Any, kept: Sequence[Any]) -> Dict[str, Rows]:
        """The rows that a step reads, by name. P replaces the spikes before the step."""
        step = self.step
        params = dict(zip(step.trace.params, arrays_of(step, request.params, request.shape)))
        numbers = {**{f"p_{p}": value for p, value in params.items()}, "constants": step.constant_array}
        rows = {f"s_{s}": (flat(a), 0) for s, a in zip(step.trace.states, kept)}
        after = {f"a_{s}": (rows[f"s_{s}"][0], 1) for s in step.trace.states}
        others = {"x": (in_rows(request.inputs, step.dtype), 0), "s_0": (flat(products), 0)}
        return {**rows, **after, **others, **{name: (np.reshape(value, (1, -1)), 0) for name, value in numbers.items()}}

    def _by_weight(self, by_product: Any, spikes: Any, weight: Any) -> Any:
        width = spikes.shape[-1]
        g, rows = by_product.reshape(-1, width), spikes.reshape(-1, width)
        by_lists = sparse.spikes_of(rows, width, transposed=True)
        if sparse.keeps_zeros(weight):
            from spikecore.kernels.sparse.kept import by_kept_weight

            by_entries = by_kept_weight(weight, g, rows, by_lists)
            if by_entries is not None:
                return by_entries
        if by_lists is not None:
            return np.ascontiguousarray(by_lists.transposed_times(g).T)
        total = np.empty((width, width), self.step.dtype)
        self.product.multiply(*(self.product.matrices(a[None])[0] for a in (g.T, rows, total)))
        return total


def _tables(
    kernel: Elementwise, arrays: Dict[str, Rows], steps: int, shape: Tuple[int, ...]
) -> Tuple[Callable[[int], None], Sequence[int]]:
    """A function that does a step, given the address of its table, and these addresses for all steps."""
    used = [arrays[name] for name in ("constants", *kernel.reads, *(f"to_{out}" for out in kernel.outs))]
    tables = np.empty((steps, 1 + len(used)), np.int64)
    tables[:, 0] = math.prod(shape)
    for i, (rows, ahead) in enumerate(used, 1):
        assert rows.dtype == kernel.dtype  # it would read on in memory of others
        stride = 0 if len(rows) == 1 else rows.strides[0]
        tables[:, i] = address_of(rows) + stride * np.arange(ahead, ahead + steps)
    compiled, count = kernel_of(kernel.recipe, kernel.dtype), workers(_threads(shape))
    first, size = address_of(tables), tables.strides[0]

    def start(table: int, keep: Any = (tables, used)) -> None:
        compiled.start(count, table)

    return start, range(first, first + steps * size, size)


def _threads(shape: Tuple[int, ...]) -> bool:
    return several(math.prod(shape), THREADS_FROM)


@Remembered
def _forward(step: Step) -> Elementwise:
    trace = step.trace
    outs = {"out": trace.output, **{f"a_{s}": v for s, v in zip(trace.states[1:], trace.after[1:])}}
    return elementwise("forward", trace.graph, step.inputs, outs, step.dtype, numbers=step.scalars)


@Remembered
def _backward(step: Step, by_params: Tuple[str, ...]) -> Elementwise:
    outs, added = step.way_back(False, by_params)[0], [f"p_{p}" for p in by_params]
    graph = step.trace.graph
    return elementwise("backward", graph, step.known, outs, step.dtype, numbers=step.scalars, added=added)

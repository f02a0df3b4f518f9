"""Dense recurrence: one matrix product per step, and around it the neuron's own kernel.

    P[t] = S[t-1] W^T,   (S[t], U[t]) = step(U[t-1], I[t] + (P[t] + b))

Given P the rest is elementwise, so it is traced and emitted like any other step, with P in the place of the fed-back
spikes. Backward goes from step to step as well; with G[t] the gradient by P[t],

    by S[t-1], through the recurrence: G[t] W,     by W: sum over t of G[t]^T S[t-1], one product over time x batch
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, ContextManager, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.layer import Stateless
from spikecore.api.layers import Linear
from spikecore.api.neurons.recurrent import Recurrent
from spikecore.kernels.emit import needs_of, step_back_source, step_source
from spikecore.kernels.form import numbers_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.blas import calm, multiply
from spikecore.kernels.runtime.build import CHUNK, build
from spikecore.kernels.sequence import Fused, Gradients, Made, flat, reduced, several

WEIGHT = "connection.weight"
THREADS_FROM = 64 * CHUNK  # neurons; a step of fewer is over before a second thread has woken up


@dataclass(frozen=True)
class Shift(Stateless):
    """What is left of a Linear once its product is given: y = x + b."""

    bias: bool

    def init(self, key: Any, shape: Any) -> Any:
        raise NotImplementedError("only its step is traced")

    def apply(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError("only its step is traced")

    def step(self, engine: Any, params: Any, state: Any, x: Any) -> Tuple[Any, Any]:
        return (x + params.bias if self.bias else x), state


def elementwise_part(stepper: Any) -> Optional[Recurrent]:
    """The same neuron with the product taken out; None where the stepper has no dense recurrence."""
    if getattr(type(stepper), "step", None) is not Recurrent.step:  # nor a subclass that computes something else
        return None
    layer = type(stepper.connection)
    if not issubclass(layer, Linear) or (layer.step, layer.apply) != (Linear.step, Linear.apply):
        return None
    return _without_product(stepper)  # type: ignore[no-any-return]


@Remembered
def _without_product(stepper: Any) -> Recurrent:
    return Recurrent(stepper.neuron, Shift(stepper.connection.bias))


class Product(NamedTuple):
    """An engine's matrix product, so that the bits are those of the engine's own loop."""

    matrices: Callable[[Any], Sequence[Any]]  # an array (time, rows, columns) as the engine's matrices
    multiply: Callable[[Any, Any, Any], Any]  # two of them into a third
    calm: Callable[[], ContextManager[Any]] = nullcontext  # what a run of products is in


NUMPY = Product(list, multiply, calm)


def _multiplier(product: Product, left: Any, across: Any, into: Any) -> Callable[[int], None]:
    """A function of t that multiplies left[t] by ``across`` into into[t], or into the one row that there is.

    In which order BLAS sums can depend on where an operand begins. A row that does not begin a cache line, as every
    tensor of torch's loop does, therefore takes the way over one that does. (NumPy's
    products with OpenBLAS were not seen to depend on it.)
    """
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
    """A row to go over, if these do not begin at cache lines, and the matrices to be multiplied."""
    if rows.ctypes.data % allocator.LINE == 0 and (len(rows) == 1 or rows.strides[0] % allocator.LINE == 0):
        return None, product.matrices(rows)
    apart = allocator.empty((1, *rows.shape[1:]), rows.dtype)
    return apart, product.matrices(apart)


@dataclass(frozen=True)
class Dense:
    """Kernels of one step for ``Recurrent(neuron, Linear)``; called like ``Fused``.

    Args:
        part: kernels of the elementwise part; its first state is P[t] before the step and S[t] after it.
        product: the engine's matrix product.
    """

    part: Fused
    product: Product

    shares: ClassVar[bool] = True  # spikes and recorded states are what it saves
    unread: ClassVar[Tuple[str, ...]] = ()

    @property
    def states(self) -> Tuple[str, ...]:
        """Names of the states, in order; the spikes are the first."""
        return self.part.states

    @property
    def params(self) -> Tuple[str, ...]:
        """Names of the parameters that are arrays."""
        return (WEIGHT, *self.part.params)

    @property
    def record(self) -> Tuple[str, ...]:
        """Names of the states that are returned for every step."""
        return self.part.record

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's output, from that of its input."""
        return shape

    def forward(self, x: Any, state: Sequence[Any], params: Dict[str, Any], steps: int, keep: bool = True) -> Made:
        """A run of ``steps`` steps; keeps what a backward run needs if one will follow."""
        shape, part = tuple(x.shape[1:]), self.part
        full = [int(keep or s == "spk" or s in part.record) for s in self.states]
        kept = [allocator.empty((1 + steps * f, *shape), part.dtype) for f in full]  # row 0 before the first step
        for rows, first in zip(kept, state):
            rows[0] = first
        products = allocator.empty((steps if keep and _reads_products(part) else 1, *shape), part.dtype)
        kernel, given = _forward(part, _several(shape)), part.given(params, shape)
        multiply = _multiplier(self.product, kept[0], params[WEIGHT].T, products)
        with self.product.calm():
            _steps(kernel, given, flat(x), flat(products), [flat(rows) for rows in kept], steps, multiply)
        over_time = {s: rows[1:] for s, rows in zip(self.states, kept)}
        final = [rows[-1].copy() for rows in kept]  # no view: it would keep the whole run alive
        return Made(over_time["spk"], [over_time[s] for s in part.record], final, (products, *kept) if keep else ())

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of what ``forward`` saves: products and states."""
        products = steps if _reads_products(self.part) else 1
        return [(n, *shape) for n in (products, *(steps + 1 for _ in self.states))]

    def backward(
        self,
        x: Any,
        state: Sequence[Any],
        params: Dict[str, Any],
        g: Any,
        g_recorded: Sequence[Any],
        g_final: Sequence[Any],
        by_x: bool,
        by_params: Tuple[str, ...],
        window: Optional[int],
        saved: Tuple[Any, ...] = (),
    ) -> Gradients:
        """Gradients by input, first state and the parameters named in ``by_params``; ``saved``: of ``forward``."""
        part, shape, steps = self.part, tuple(x.shape[1:]), len(g)
        own = tuple(p for p in by_params if p != WEIGHT)
        sums = [allocator.zeros(shape, part.dtype) for _ in own]
        by_product = allocator.empty((steps, *shape), part.dtype)
        carry = [allocator.copy(0 if last is None else last, shape, part.dtype) for last in g_final]
        kernel, given = _backward(part, _several(shape), own), part.given(params, shape)
        multiply = _multiplier(self.product, by_product, params[WEIGHT], carry[0][None])

        def after_step(t: int) -> None:
            multiply(t)
            if window and t and t % window == 0:
                for c in carry:
                    c[:] = 0

        kept, upstream = [flat(s) for s in saved], [flat(r) for r in (g, *g_recorded)]
        lines = [c.reshape(-1) for c in carry], [s.reshape(-1) for s in sums]
        with self.product.calm():
            _steps_back(kernel, given, flat(x), kept, upstream, flat(by_product), *lines, after_step)
        found = {name: reduced(total, np.shape(params[name])) for name, total in zip(own, sums)}
        if WEIGHT in by_params:
            found[WEIGHT] = self._by_weight(by_product, saved[1][:-1])
        if by_x and len(x) < steps:
            by_product = np.add.reduce(by_product[::-1], axis=0)[None]
        return Gradients(by_product if by_x else None, carry, found)

    def _by_weight(self, by_product: Any, spikes: Any) -> Any:
        width = spikes.shape[-1]
        found = np.empty((width, width), self.part.dtype)
        flats = by_product.reshape(-1, width).T, spikes.reshape(-1, width), found
        self.product.multiply(*(self.product.matrices(a[None])[0] for a in flats))
        return found


def _steps(kernel: Any, given: Any, x: Any, products: Any, kept: Any, steps: int, multiply: Any) -> None:
    """The loop over time. Arrays of one row are used again at every step."""
    of_x, of_spikes, products, others = list(x), list(kept[0]), list(products), [*map(list, kept[1:])]
    for t in range(steps):
        multiply(t)
        before, after = [r[t % len(r)] for r in others], [r[(t + 1) % len(r)] for r in others]
        kernel(of_x[t % len(of_x)], products[t % len(products)], *before, *given, of_spikes[t + 1], *after)


def _steps_back(
    kernel: Any, given: Any, x: Any, saved: Any, upstream: Any, by_product: Any, carry: Any, sums: Any, after_step: Any
) -> None:
    """The loop back over time."""
    of_x, by_product, upstream = list(x), list(by_product), [*map(list, upstream)]
    products, spikes, *others = map(list, saved)
    for t in range(len(by_product) - 1, -1, -1):
        before, after = [r[t] for r in others], [r[t + 1] for r in others]
        states = products[t % len(products)], *before, spikes[t + 1], *after
        g = [r[t] for r in upstream]
        kernel(of_x[t % len(of_x)], *states, *given, *g, *carry, by_product[t], *carry[1:], *sums)
        after_step(t)


def _several(shape: Tuple[int, ...]) -> bool:
    return several(shape) and math.prod(shape) >= THREADS_FROM


@Remembered
def _reads_products(part: Fused) -> bool:
    """Whether a step backwards needs P, or only the states."""
    _, _, read = needs_of(part.trace, part.form.adjoint, False, part.trace.params)
    return part.trace.program.inputs["s_0"] in read


@Remembered
def _forward(part: Fused, several: bool) -> Any:
    run = part.program()
    return build(step_source(run.trace, run.rows), "forward", part.dtype, several)


@Remembered
def _backward(part: Fused, several: bool, by_params: Tuple[str, ...]) -> Any:
    run, by = part.program(), numbers_of(part.params, by_params)
    source = step_back_source(run.trace, part.form.adjoint, run.rows, run.recorded, by)
    return build(source, "backward", part.dtype, several)

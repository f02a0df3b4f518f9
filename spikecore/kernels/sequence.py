"""Runs over time on NumPy arrays, for steps that are elementwise: the arrays that the Numba kernels get and fill.

A row of neurons, its chunks and the *period* of a parameter are explained at the head of ``sequence_numba.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.kernels.base import Gradients, Kernels, Request, Results, Upstream, Wanted, reduced
from spikecore.kernels.form import indices_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.kernel import Kernel
from spikecore.kernels.sequence_numba import backward_source, forward_source
from spikecore.kernels.sinks import LONG, Sink, workers
from spikecore.kernels.sizes import has_numba, no_numba, suited
from spikecore.kernels.tiles import VECTOR

SHORTEST, WIDE = 8, 128  # periods: chunks add up sums per period from the first on; that of a parameter of one number


@dataclass(frozen=True, eq=False)
class SequenceNumba(Kernels):
    """Kernels with the loop over time inside, each thread with some of the neurons.

    Args:
        step: see ``Kernels``.
        sink: what becomes of the spikes.
    """

    sink: Sink = Sink()

    @classmethod
    def missing(cls) -> str:
        return "" if has_numba() else no_numba()

    @property
    def params(self) -> Tuple[str, ...]:
        return (*self.sink.params, *self.step.params)

    @property
    def unread(self) -> Tuple[str, ...]:
        return self.sink.unread

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        return self.sink.out_shape(shape)

    def recipes(self, wanted: Optional[Wanted], constant: bool) -> Optional[List[KernelRecipe]]:
        recipes = [recipe_forward(self, self.sink), *self.sink.recipes(self.step.dtype, back=False)]
        if wanted is not None:
            sink, by_x, by_params = self._backward_arguments(self.sink, wanted, constant)
            recipes += [recipe_backward(self, sink, by_x, by_params), *sink.recipes(self.step.dtype, back=True)]
        return recipes

    def _backward_arguments(self, sink: Sink, wanted: Wanted, constant: bool) -> Tuple[Sink, str, Tuple[str, ...]]:
        """The arguments of ``recipe_backward``: the sink; how the gradient by the input is made, see
        ``backward_source``; and the neuron's parameters whose gradients are wanted, by their indices.
        """
        by_x = ("sum" if constant else "rows") if wanted.inputs else ""
        of_neuron = (p for p in wanted.params if p in self.step.params)
        return sink.wanting(wanted.params), by_x, indices_of(self.step.params, of_neuron)

    def forward(self, request: Request, keep: bool = True) -> Results:
        step, shape, steps, sink = self.step, request.shape, request.steps, suited(self.sink, request, self.states)
        out = sink.out(shape, steps, step.dtype)
        recorded = [allocator.empty((steps, *shape), step.dtype) for _ in step.record]
        final = [allocator.empty(shape, step.dtype) for _ in step.states]
        kept = [allocator.empty(s, step.dtype) for s in self.saved_shapes(steps if keep else 0, shape)]
        chunk = sink.chunk_of(shape)
        x, params = in_rows(request.inputs, step.dtype), self.given(request.params, shape, chunk)
        arrays = x, *params, *map(self.first, request.state)
        # without states to keep, the kernel still takes as many arrays; it does not touch them
        results = *map(flat, (out, *recorded)), *final, *(map(flat, kept) if kept else final)
        behind = sink.arrays(request.params, shape, step.dtype, back=False)
        numbers = (
            steps,
            math.prod(shape),
            chunk,
            int(bool(kept)),
            *sink.table(shape, step.dtype, back=False),
        )
        forward_of(self, sink)(workers(shape), numbers, (*arrays, *results, *behind))
        return Results(out, recorded, final, tuple(kept) if keep else ())

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of the states before every block of steps. Of a single block they are in the request."""
        blocks = -(-steps // self.sink.every)
        return [(blocks, *shape) for _ in self.states] if blocks > 1 else []

    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        step, shape, sink = self.step, request.shape, suited(self.sink, request, self.states)
        sink, *_ = arguments = self._backward_arguments(sink, wanted, request.constant)
        names = tuple(p for p in wanted.params if p in step.params)
        by_x = allocator.empty(request.inputs.shape if wanted.inputs else (1, 1), step.dtype)
        chunk, table = sink.chunk_of(shape, True, request.steps), sink.table(shape, step.dtype, back=True)
        by_state = [allocator.empty(shape, step.dtype) for _ in step.states]
        shapes = (_sums_shape(np.shape(request.params[name]), shape, chunk) for name in names)
        sums = [allocator.empty(sums_shape, step.dtype) for sums_shape in shapes]
        over_time = [in_rows(a, step.dtype) for a in (upstream.outputs, *upstream.recorded)]
        over_time += map(flat, upstream.saved) if upstream.saved else map(self.first, request.state)
        params, scratch = self.given(request.params, shape, chunk), self.scratch(shape, chunk, len(names))
        arrays = in_rows(request.inputs, step.dtype), *params, *over_time, scratch
        behind = sink.arrays(request.params, shape, step.dtype, back=True)
        arrays = *arrays, *map(self.first, upstream.final), *by_state, flat(by_x), *sums, *behind
        kernel = backward_of(self, *arguments)
        kernel(workers(shape), (request.steps, math.prod(shape), chunk, wanted.window, *table), arrays)
        by_params = by_parameter(request, names, sums)
        return Gradients(by_x if wanted.inputs else None, by_state, {**by_params, **sink.results(behind, shape)})

    def scratch(self, shape: Tuple[int, ...], chunk: int, sums: int) -> Any:
        """Room in which each worker of a run backwards computes states again, and this many sums over time."""
        sink = self.sink
        room = (len(self.states) * (sink.every + 1) + sums) * chunk + sink.room(shape)
        return allocator.empty((workers(shape), room + -room % VECTOR), self.step.dtype)  # a multiple of whole vectors

    def first(self, state: Any) -> Any:
        """States with which a run begins, or gradients by states with which a run back begins, as one row of neurons.

        If it is None, or one zero that is broadcast (all strides are 0), as from ``engines/torch/memory.py``, it is one
        chunk of zeros, from which a kernel reads for every chunk.
        """
        if state is None or state.size and not any(state.strides) and not state.item(0):
            return _chunk_of_zeros(self.step.dtype)
        return np.ascontiguousarray(state, self.step.dtype).reshape(-1)

    def given(self, params: Dict[str, Any], shape: Tuple[int, ...], chunk: int) -> List[Any]:
        """The neuron's parameters and its constants, as a kernel that takes chunks reads them.

        A number is an array of one element. Other parameters are one row with a value for each neuron. Where it takes
        less room, they are the period instead, repeated so often that a chunk fits in wherever in the first
        period it begins: a chunk that begins at neuron ``lo`` reads from place ``lo % period`` on.
        """
        dtype = self.step.dtype
        arrays: List[Any] = []
        for i, name in zip(self.step.trace.params, self.step.params):
            a = params[name]
            if i not in self.step.rows:
                arrays.append(np.ascontiguousarray(a, dtype).reshape(-1))
                continue
            period = _period(np.shape(a), shape)
            repeats = -(-chunk // math.prod(period)) + 1  # one more, for chunks that begin within a period
            if repeats * math.prod(period) < math.prod(shape):
                repeated = allocator.copy(a.reshape(a.shape[-len(period) :]), (repeats, *period), dtype)
                arrays.append(repeated.reshape(repeats, -1))
            else:
                a = a if a.shape == shape else allocator.copy(a, shape, dtype)
                arrays.append(np.ascontiguousarray(a, dtype).reshape(1, -1))
        return [*arrays, self.step.constant_array]


def _period(param: Tuple[int, ...], shape: Tuple[int, ...]) -> Tuple[int, ...]:
    """The extents of a period: the last axes of a layer of ``shape`` (batch, ...), from the first on along which the
    values of a parameter of shape ``param`` differ. For (4, 1, 1) in (8, 4, 6, 6) they are (4, 6, 6); () for one value.
    """
    differing = (i for i, n in enumerate(param) if n != 1)
    return shape[len(shape) - len(param) + next(differing, len(param)) :]


def _sums_shape(param: Tuple[int, ...], shape: Tuple[int, ...], chunk: int) -> Tuple[int, ...]:
    """The shape of the sums over time from which the gradient by a parameter is made: a value for each neuron; or for
    each chunk one period, into which the chunk has added up its neurons, which is less to write: any, for one number.
    """
    period, chunks = _period(param, shape) or (WIDE,), -(-math.prod(shape) // chunk)
    if chunks > 1 and SHORTEST <= math.prod(period) <= chunk // 2:
        return (chunks, *(1,) * (len(shape) - len(period)), *period)
    return (1, *shape)


def by_parameter(request: Request, names: Sequence[str], sums: Sequence[Any]) -> Dict[str, Any]:
    """Gradients by parameters, from sums over time that have the shape ``_sums_shape``."""
    return {name: summed(total, np.shape(request.params[name])) for name, total in zip(names, sums)}


def summed(total: Any, shape: Tuple[int, ...]) -> Any:
    """Sums over time, of the shape ``_sums_shape``, as a gradient of a parameter's shape."""
    if total.size == math.prod(shape):  # each value is a sum already
        return total.reshape(shape)
    return np.asarray(reduced(total.astype("float64"), shape), total.dtype)


def in_rows(a: Any, dtype: str) -> Any:
    """(time, batch, ...) as (time, neurons) of a type, each row without gaps."""
    rows = flat(a)
    if rows.dtype != dtype or not rows.flags.aligned or rows.strides[1] != rows.itemsize:
        rows = np.ascontiguousarray(rows, dtype)
    return rows


def flat(a: Any) -> Any:
    """(time, batch, ...) as (time, neurons), without a copy where strides allow."""
    return a.reshape(a.shape[0], math.prod(a.shape[1:]))


@lru_cache(maxsize=None)
def _chunk_of_zeros(dtype: str) -> Any:
    return allocator.zeros((1, LONG), dtype)


@Remembered
def recipe_forward(kernels: SequenceNumba, sink: Sink) -> KernelRecipe:
    """The recipe of the forward run."""
    return recipe_of_run(forward_source(kernels.step, sink), "forward", kernels.step.dtype, sink.every)


@Remembered
def recipe_backward(kernels: SequenceNumba, sink: Sink, by_x: str, by_params: Tuple[str, ...]) -> KernelRecipe:
    """The recipe of the backward run; arguments as for ``backward_source``."""
    source = backward_source(kernels.step, sink, by_x, by_params)
    return recipe_of_run(source, "backward", kernels.step.dtype, sink.every)


@Remembered
def forward_of(kernels: SequenceNumba, sink: Sink) -> Kernel:
    """The compiled forward run."""
    return kernel_of(recipe_forward(kernels, sink), kernels.step.dtype)


@Remembered
def backward_of(kernels: SequenceNumba, *arguments: Any) -> Kernel:
    """The compiled backward run."""
    return kernel_of(recipe_backward(kernels, *arguments), kernels.step.dtype)

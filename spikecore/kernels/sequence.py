"""Fused runs over time on NumPy arrays, for steps that are elementwise."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from spikecore.kernels.adjoint import adjoint
from spikecore.kernels.form import Form, form_of, numbers_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import CHUNK, EVERY, build_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sequence_numba import Run, Wanted, backward_source, forward_source
from spikecore.kernels.sizes import has_numba
from spikecore.kernels.trace import NotElementwise, Trace, trace

LONG = 8 * CHUNK
CORES = os.cpu_count() or 1
_parallel = True  # until a fork: OpenMP does not survive one


def _forked() -> None:
    global _parallel  # noqa: PLW0603
    _parallel = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@Remembered
def traced(stepper: Any, constants: Tuple[Tuple[str, Any], ...], record: Tuple[str, ...]) -> Any:
    """Trace and adjoint of a stepper whose parameters are floats (given) or arrays (None); else why there are none."""
    if not has_numba():
        return 'Numba is not installed (pip install "spikecore[kernels]")'
    try:
        found = trace(stepper, dict(constants))
        return found, adjoint(found, record)
    except NotElementwise as reason:
        return f"{type(stepper).__name__}.step is not elementwise: {reason}"


def several(shape: Tuple[int, ...]) -> bool:
    """Whether a kernel over so many neurons should use threads: there are some, and more than one chunk."""
    return _parallel and math.prod(shape) > CHUNK


class Made(NamedTuple):
    """What a forward run returns: (steps, batch, ...) outputs and recorded states, final states; and what the way back
    needs besides the inputs.
    """

    outputs: Any
    recorded: List[Any]
    final: List[Any]
    saved: Tuple[Any, ...] = ()


class Gradients(NamedTuple):
    """What a backward run returns; None where it was not asked for."""

    x: Any
    state: List[Any]
    params: Dict[str, Any]


@dataclass(frozen=True, eq=False)  # one object per kind of run, see fused
class Fused:
    """One stepper's kernels for one kind of parameters.

    Args:
        form: the step and its derivative.
        states, params: names of the states, and of the parameters that are arrays, in the form's order.
        record: states returned for every step.
        rows: parameters with one value per neuron.
        dtype: "float32" or "float64".
    """

    form: Form
    states: Tuple[str, ...]
    params: Tuple[str, ...]
    record: Tuple[str, ...]
    rows: Tuple[str, ...]
    dtype: str

    language: ClassVar[str] = "Numba"
    shares: ClassVar[bool] = False  # whether what a run saves may lie in the memory of what it returns
    unread: ClassVar[Tuple[str, ...]] = ()  # parameters whose values the way back does not need

    @property
    def trace(self) -> Trace:
        """The step, with numbers in place of names."""
        return self.form.trace

    @cached_property
    def constants(self) -> Any:
        """The constants of the step and its derivative, as an array."""
        return np.array(self.form.constants, self.dtype)

    def program(self, outs: int = 0) -> Run:
        """What the kernels of a run are made of; ``outs``: see ``Run``."""
        rows, record = numbers_of(self.params, self.rows), numbers_of(self.states, self.record)
        return Run(self.trace, rows, record, outs)

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's output, from that of its input."""
        return shape

    def forward(self, x: Any, state: Sequence[Any], params: Dict[str, Any], steps: int, keep: bool = True) -> Made:
        """A run of ``steps`` steps; ``keep`` says that a backward run will follow."""
        shape = tuple(x.shape[1:])
        out, *recorded = (allocator.empty((steps, *shape), self.dtype) for _ in ("out", *self.record))
        final = [allocator.empty(shape, self.dtype) for _ in state]
        kept = [allocator.empty(s, self.dtype) for s in self.saved_shapes(steps if keep else 0, shape)]
        numbers = steps, math.prod(shape), chunk_of(shape), int(keep)
        first = (self.start_of(s) for s in state)
        arrays = self.rows_of(x), *self.held(params, shape), *first, *map(flat, (out, *recorded)), *final
        forward_of(self)(workers(shape), numbers, (*arrays, *map(flat, kept)))
        return Made(out, recorded, final, tuple(kept) if keep else ())

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of what ``forward`` saves: the states before every block of steps."""
        return [((steps + EVERY - 1) // EVERY, *shape) for _ in self.states]

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
        """Gradients by input, first state and the parameters named in ``by_params``; ``saved``: of ``forward``.

        None among the gradients by the final states is zero.
        """
        shape, steps = tuple(x.shape[1:]), g.shape[0]
        summed = x.shape[0] == 1 < steps  # a constant input's gradient
        gx = allocator.empty(x.shape if by_x else (1, 1), self.dtype)
        ginit, sums = ([allocator.empty(shape, self.dtype) for _ in some] for some in (g_final, by_params))
        by = numbers_of(self.params, by_params)
        kernel = backward_of(self, Wanted(("sum" if summed else "rows") if by_x else "", by))
        upstream = (self.rows_of(a) for a in (g, *g_recorded))
        held = *(self.rows_of(a) for a in saved), self.scratch(shape), *map(self.start_of, g_final)
        arrays = self.rows_of(x), *self.held(params, shape), *upstream, *held, *ginit, flat(gx), *sums
        kernel(workers(shape), (steps, math.prod(shape), CHUNK, window or 0), arrays)
        found = {name: reduced(total, np.shape(params[name])) for name, total in zip(by_params, sums)}
        return Gradients(gx if by_x else None, ginit, found)

    def scratch(self, shape: Tuple[int, ...]) -> Any:
        """Room in which each worker of a backward run computes states again."""
        return allocator.empty((workers(shape), len(self.states) * (EVERY + 1) * CHUNK), self.dtype)

    def rows_of(self, a: Any) -> Any:
        """(time, batch, ...) as (time, neurons), each row without gaps."""
        rows = flat(a)
        if rows.dtype != self.dtype or not rows.flags.aligned or rows.strides[1] != rows.itemsize:
            rows = np.ascontiguousarray(rows, self.dtype)
        return rows

    def start_of(self, state: Any) -> Any:
        """What a run, or a run back, begins with in one row: states, or gradients by them. Where all are zero, also as
        None, one chunk for all.
        """
        if state is None or state.size and not any(state.strides) and not state.item(0):
            return _chunk_of_zeros(self.dtype)
        return np.ascontiguousarray(state, self.dtype).reshape(-1)

    def given(self, params: Dict[str, Any], shape: Tuple[int, ...]) -> List[Any]:
        """The parameters that are arrays, one value per neuron or a number, and behind them the constants."""
        number = np.dtype(self.dtype).type
        found = [
            np.ascontiguousarray(np.broadcast_to(params[p], shape), self.dtype).reshape(-1)
            if p in self.rows
            else number(np.reshape(params[p], ()))
            for p in self.params
        ]
        return [*found, self.constants]

    def held(self, params: Dict[str, Any], shape: Tuple[int, ...]) -> List[Any]:
        """The same, numbers as arrays of one element."""
        return [np.atleast_1d(p) for p in self.given(params, shape)]


def workers(shape: Tuple[int, ...]) -> int:
    """How many threads a run over a layer of ``shape``, batch included, is worth."""
    return most_threads() if several(shape) else 1


def chunk_of(shape: Tuple[int, ...]) -> int:
    """How many neurons a forward run does at once: rows are read and written, so the longer, the better, if there are
    some for each core.
    """
    return LONG if math.prod(shape) >= 2 * LONG * CORES else CHUNK


@lru_cache(maxsize=None)
def _chunk_of_zeros(dtype: str) -> Any:
    return allocator.zeros((1, LONG), dtype)


@Remembered
def forward_of(fused: Fused) -> Any:
    """The compiled forward run."""
    return build_run(forward_source(fused.program()), "forward", fused.dtype)


@Remembered
def backward_of(fused: Fused, wanted: Wanted) -> Any:
    """The compiled backward run; its chunks, in which it recomputes the states, stay in cache."""
    return build_run(backward_source(fused.program(), fused.form.adjoint, wanted), "backward", fused.dtype)


@Remembered
def fused(stepper: Any, constants: Any, record: Tuple[str, ...], rows: Tuple[str, ...], dtype: str) -> Any:
    """The Numba kernels of a stepper, or a text that says why there are none.

    Args:
        stepper: the neuron.
        constants: its prepared parameters by dotted name: a float is a constant, None stands for an array.
        record: states to return for every step.
        rows: parameters with more than one value.
        dtype: "float32" or "float64".
    """
    found = traced(stepper, constants, record)
    if isinstance(found, str):
        return found
    step = found[0]
    return Fused(form_of(*found), step.states, step.params, record, rows, dtype)


def flat(a: Any) -> Any:
    """(time, batch, ...) as (time, neurons), without a copy where strides allow."""
    return a.reshape(a.shape[0], math.prod(a.shape[1:]))


def reduced(total: Any, shape: Tuple[int, ...]) -> Any:
    """Sums per neuron (batch, ...) as one gradient of the parameter's shape: in float64, in one order."""
    wide = total.astype("float64")
    extra = wide.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1))
    return np.asarray(wide.sum(axis=axes)).reshape(shape).astype(total.dtype)

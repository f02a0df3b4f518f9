"""Runs over time on a GPU: what Triton and CUDA C kernels have in common, whatever the arrays."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Dict, List, Sequence, Tuple, Type

from spikecore.kernels.base import Gradients, Kernels, Request, Results, Upstream, Wanted, reduced
from spikecore.kernels.form import indices_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.sequence_gpu import GpuSource, backward_kernel, forward_kernel
from spikecore.kernels.target import INPUT_TYPED, Target


@dataclass(frozen=True, eq=False)
class OnDevice(Kernels):
    """Kernels that take one neuron per thread through time.

    A subclass names its language, its arrays and how a kernel is started. The input may be of a half-precision type:
    then outputs and the gradient by the input are, too, while states and parameters stay in the step's type.

    Args:
        step: see ``Kernels``.
        placed: numbers as arrays, by device: the step's constants, and a zero.
    """

    placed: Dict[Any, Any] = field(default_factory=dict, init=False)

    target: ClassVar[Type[Target]]
    shares: ClassVar[bool] = True

    # ---- arrays and kernels of the subclass ----

    @abstractmethod
    def empty(self, like: Any, shape: Tuple[int, ...], own: bool) -> Any:
        """A new array where ``like`` is, of its type or (``own``) of the states' type."""

    @abstractmethod
    def packed(self, a: Any, like: Any = None) -> Any:
        """The same values without gaps in memory, in the type of ``like`` or else of the states."""

    @abstractmethod
    def spread(self, a: Any, shape: Tuple[int, ...]) -> Any:
        """Broadcast to ``shape``."""

    @abstractmethod
    def cast(self, a: Any, dtype: Any) -> Any:
        """The same values in another type, "float64" or an array's."""

    @abstractmethod
    def multiply(self, a: Any, b: Any, out: Any, add: bool = False) -> None:
        """Write the product of two matrices to ``out``, or add it there."""

    @abstractmethod
    def clear(self, a: Any) -> None:
        """Make all values zero: to assign a number would copy it from the host, which waits for the device."""

    def without_first(self, rows: Any) -> Any:
        """All rows but the first one, in the same memory."""
        return rows[1:]

    @abstractmethod
    def stride(self, a: Any) -> int:
        """Distance of the first rows of an array; 0 where all are the same memory."""

    @abstractmethod
    def start(self, kernel: GpuSource, arrays: List[Any], numbers: List[int], x: Any, count: int) -> None:
        """Start a kernel on ``count`` neurons, where the input ``x`` is and for its type."""

    # ---- runs ----

    def forward(self, request: Request, keep: bool = True) -> Results:
        x, shape, steps, step = request.inputs, request.shape, request.steps, self.step
        kept, states = kept_states(self) if keep else (), step.trace.states
        final = [self.empty(x, shape, True) for _ in states]
        saved = tuple(self.empty(x, (steps + 1, *shape), True) for _ in kept)
        rows = dict(zip(kept, saved))  # what is kept begins with the first state, and the rest of it is the record
        recorded = [
            self.without_first(rows[s]) if s in rows else self.empty(x, (steps, *shape), True) for s in step.recorded
        ]
        results = Results(self.empty(x, (steps, *shape), False), recorded, final, saved)
        arrays = {**self.given(request, shape), **named("init", states, map(self.packed, request.state))}
        arrays.update({"out": results.outputs, **named("rec", step.recorded, recorded)})
        arrays.update({**named("fin", states, final), **named("kept", kept, saved)})
        self._run(forward_of(self, keep, request.constant), arrays, {"x": x}, steps)
        return results

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of the states before the first step and after each."""
        return [(steps + 1, *shape)] * len(kept_states(self))

    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        x, shape, step = request.inputs, request.shape, self.step
        states, by = step.trace.states, indices_of(step.params, wanted.params)
        by_x = self.empty(x, tuple(x.shape), False) if wanted.inputs else None
        first = [self.empty(x, shape, True) for _ in states]
        sums = [self.empty(x, shape, True) for _ in by]
        last = [self.packed(self.spread(self._placed(x, [0.0]), shape) if g is None else g) for g in upstream.final]
        arrays = {**self.given(request, shape), **named("c", states, last), **named("ginit", states, first)}
        arrays.update({**named("kept", kept_states(self), upstream.saved), "gx": by_x, **named("gp", by, sums)})
        rows = {"x": x, "g": upstream.outputs, **named("r", step.recorded, upstream.recorded)}
        kernel = backward_of(self, wanted.inputs, by, request.constant, bool(wanted.window))
        self._run(kernel, arrays, rows, request.steps, wanted.window)
        likes = (request.params[p] for p in wanted.params)
        totals = (self.cast(reduced(self.cast(s, "float64"), tuple(p.shape)), p.dtype) for s, p in zip(sums, likes))
        return Gradients(by_x, first, dict(zip(wanted.params, totals)))

    def given(self, request: Request, shape: Tuple[int, ...]) -> Dict[str, Any]:
        """The parameters and constants of a run of neurons of a shape, by their names in a kernel."""
        step = self.step
        params = zip(step.trace.params, (request.params[p] for p in step.params))
        arrays = {f"p_{i}": self.packed(self.spread(a, shape) if i in step.rows else a) for i, a in params}
        return {**arrays, "constants": self._placed(request.inputs, step.constants)}

    def _placed(self, like: Any, values: Sequence[float]) -> Any:
        """Numbers as an array where ``like`` is. They are put there once, since the host waits for each of them."""
        key = str(getattr(like, "device", "")), tuple(values)
        if key not in self.placed:
            array = self.empty(like, (len(values),), True)
            for i, value in enumerate(values):
                array[i] = value
            self.placed[key] = array
        return self.placed[key]

    def _run(
        self, kernel: GpuSource, arrays: Dict[str, Any], rows: Dict[str, Any], steps: int, window: int = 0
    ) -> None:
        """Start a kernel on arrays by name; those in ``rows`` may be the same at every step."""
        count = math.prod(rows["x"].shape[1:])
        numbers = {"count": count, "steps": steps, "window": window, **self.place_rows(kernel, arrays, rows)}
        if count:
            arguments = [arrays[n] for n in kernel.arrays], [numbers[n] for n in kernel.numbers]
            self.start(kernel, *arguments, rows["x"], count)

    def place_rows(self, kernel: GpuSource, arrays: Dict[str, Any], rows: Dict[str, Any]) -> Dict[str, int]:
        """Add to ``arrays`` those over time that the kernel reads; returns how far apart their rows are, by name."""
        steps = {}
        for name in set(rows) & set(kernel.arrays):
            moves = rows[name].shape[0] > 1 and self.stride(rows[name]) != 0
            seen = rows[name] if moves else rows[name][:1, ...]
            arrays[name] = self.packed(seen, rows["x"] if name in INPUT_TYPED else None)
            steps[f"step_{name}"] = math.prod(rows[name].shape[1:]) if moves else 0
        return steps


def named(kind: str, names: Any, arrays: Any) -> Dict[str, Any]:
    """Arrays by their names in a kernel, "kind_name"."""
    return {f"{kind}_{name}": array for name, array in zip(names, arrays)}


@Remembered
def kept_states(kernels: OnDevice) -> Tuple[str, ...]:
    """The states, by index, that the forward kernel writes down since a run backwards may read them."""
    arrays = backward_of(kernels, True, kernels.step.trace.params, False, False).arrays
    return tuple(s for s in kernels.step.trace.states if f"kept_{s}" in arrays)


@Remembered
def forward_of(kernels: OnDevice, keep: bool, constant: bool) -> GpuSource:
    """The forward kernel; ``constant``: the input is the same at every step."""
    kept = kept_states(kernels) if keep else ()
    return forward_kernel(kernels.target(kernels.step.dtype), kernels.step, kept, constant)


@Remembered
def backward_of(kernels: OnDevice, by_x: bool, by_params: Tuple[str, ...], constant: bool, windowed: bool) -> GpuSource:
    """The backward kernel for the gradients that are wanted, by parameters' indices."""
    return backward_kernel(kernels.target(kernels.step.dtype), kernels.step, by_x, by_params, constant, windowed)

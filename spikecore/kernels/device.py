"""Runs over time on a GPU: what Triton and CUDA C kernels have in common, whatever the arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Dict, List, Sequence, Tuple, Type, TypeVar

from spikecore.kernels.adjoint import adjoint
from spikecore.kernels.form import Form, form_of, numbers_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.sequence import Gradients, Made
from spikecore.kernels.sequence_gpu import Kernel, backward_kernel, forward_kernel
from spikecore.kernels.target import INPUT_TYPED, Target
from spikecore.kernels.trace import NotElementwise, Trace, trace

Constants = Tuple[Tuple[str, Any], ...]
D = TypeVar("D", bound="OnDevice")


@dataclass(frozen=True, eq=False)  # one object per kind of run, see ``made``
class OnDevice:
    """One stepper's kernels for one kind of parameters; called like ``spikecore.kernels.sequence.Fused``.

    A subclass names its language, its arrays and how a kernel is started. The input may be of a half-precision type:
    then outputs and the gradient by the input are, too, while states and parameters stay in ``dtype``.

    Args:
        form: the step and its derivative.
        states, params: names of the states, and of the parameters that are arrays, in the form's order.
        record: states returned for every step.
        rows: parameters with one value per neuron.
        dtype: "float32" or "float64", of states and parameters.
        placed: the form's constants as an array, by device.
    """

    form: Form
    states: Tuple[str, ...]
    params: Tuple[str, ...]
    record: Tuple[str, ...]
    rows: Tuple[str, ...]
    dtype: str
    placed: Dict[str, Any] = field(default_factory=dict, init=False)

    target: ClassVar[Type[Target]]
    language: ClassVar[str]
    shares: ClassVar[bool] = False  # see ``Fused``
    unread: ClassVar[Tuple[str, ...]] = ()

    # ---- arrays and kernels of the subclass ----

    def _empty(self, like: Any, shape: Tuple[int, ...], own: bool) -> Any:
        """A new array where ``like`` is, of its type or (``own``) of the states' type."""
        raise NotImplementedError

    def _packed(self, a: Any, like: Any = None) -> Any:
        """The same values without gaps in memory, in the type of ``like`` or else of the states."""
        raise NotImplementedError

    def _spread(self, a: Any, shape: Tuple[int, ...]) -> Any:
        """Broadcast to ``shape``, without gaps."""
        raise NotImplementedError

    def _repeats(self, a: Any) -> bool:
        """Whether all rows of an array over time are the same memory."""
        raise NotImplementedError

    def _reduced(self, sums: Any, like: Any) -> Any:
        """Sums per neuron as one gradient in the shape and type of a parameter: added up in float64, in one order."""
        raise NotImplementedError

    def _start(self, kernel: Kernel, arrays: List[Any], numbers: List[int], x: Any, count: int) -> None:
        """Start a kernel on ``count`` neurons, where the input ``x`` is and for its type."""
        raise NotImplementedError

    # ---- runs ----

    @property
    def trace(self) -> Trace:
        """The step, with numbers in place of names."""
        return self.form.trace

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's output, from that of its input."""
        return shape

    def forward(self, x: Any, state: Sequence[Any], params: Dict[str, Any], steps: int, keep: bool = True) -> Made:
        """A run of ``steps`` steps; ``keep`` says that a backward run will follow."""
        shape, kept = tuple(x.shape[1:]), kept_states(self) if keep else ()
        recorded = [self._empty(x, (steps, *shape), True) for _ in self.record]
        final = [self._empty(x, shape, True) for _ in self.states]
        saved = tuple(self._empty(x, (steps + 1, *shape), True) for _ in kept)
        results = Made(self._empty(x, (steps, *shape), False), recorded, final, saved)
        arrays = {**self._given(x, params), **self._named("init", self.trace.states, state)}
        arrays.update({"out": results.outputs, **_named("rec", numbers_of(self.states, self.record), recorded)})
        arrays.update({**_named("fin", self.trace.states, final), **_named("kept", kept, saved)})
        self._run(forward_of(self, keep, x.shape[0] == 1 < steps), arrays, {"x": x}, steps)
        return results

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of what ``forward`` saves: states before the first step and after each."""
        return [(steps + 1, *shape)] * len(kept_states(self))

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
        window: Any,
        saved: Tuple[Any, ...] = (),
    ) -> Gradients:
        """Gradients by input, first state and the parameters named in ``by_params``; ``saved``: of the forward run."""
        shape, steps = tuple(x.shape[1:]), g.shape[0]
        gx = self._empty(x, tuple(x.shape), False) if by_x else None
        first = [self._empty(x, shape, True) for _ in self.states]
        sums = [self._empty(x, shape, True) for _ in by_params]
        last = [self._zeros(x, shape) if one is None else one for one in g_final]
        arrays = {**self._given(x, params), **self._named("c", self.trace.states, last)}
        arrays.update({**_named("kept", kept_states(self), saved), **_named("ginit", self.trace.states, first)})
        by = numbers_of(self.params, by_params)
        arrays.update({"gx": gx, **_named("gp", by, sums)})
        rows = {"x": x, "g": g, **_named("r", numbers_of(self.states, self.record), g_recorded)}
        kernel = backward_of(self, by_x, by, x.shape[0] == 1 < steps, bool(window))
        self._run(kernel, arrays, rows, steps, window)
        found = {p: self._reduced(total, params[p]) for p, total in zip(by_params, sums)}
        return Gradients(gx, first, found)

    def _zeros(self, like: Any, shape: Tuple[int, ...]) -> Any:
        made = self._empty(like, shape, True)
        made[...] = 0.0
        return made

    def _given(self, x: Any, params: Dict[str, Any]) -> Dict[str, Any]:
        shape = tuple(x.shape[1:])
        arrays = (self._spread(params[p], shape) if p in self.rows else self._packed(params[p]) for p in self.params)
        return {**_named("p", self.trace.params, arrays), "constants": self._constants(x)}

    def _constants(self, like: Any) -> Any:
        """The constants of the step and its derivative, made once for each device."""
        place = str(getattr(like, "device", ""))
        if place not in self.placed:
            made = self._empty(like, (len(self.form.constants),), True)
            for i, value in enumerate(self.form.constants):
                made[i] = value
            self.placed[place] = made
        return self.placed[place]

    def _named(self, kind: str, names: Any, arrays: Sequence[Any]) -> Dict[str, Any]:
        return _named(kind, names, (self._packed(a) for a in arrays))

    def _run(
        self, kernel: Kernel, arrays: Dict[str, Any], rows: Dict[str, Any], steps: int, window: Any = None
    ) -> None:
        """Start a kernel on arrays by name; those in ``rows`` may be the same at every step."""
        count = math.prod(rows["x"].shape[1:])
        numbers = {"count": count, "steps": steps, "window": window}
        for name in set(rows) & set(kernel.arrays):
            moves = rows[name].shape[0] > 1 and not self._repeats(rows[name])
            seen = rows[name] if moves else rows[name][:1, ...]
            arrays[name] = self._packed(seen, rows["x"] if name in INPUT_TYPED else None)
            numbers[f"step_{name}"] = count if moves else 0
        if count:
            given = [arrays[n] for n in kernel.arrays], [numbers[n] for n in kernel.numbers]
            self._start(kernel, *given, rows["x"], count)


def _named(kind: str, names: Any, arrays: Any) -> Dict[str, Any]:
    return {f"{kind}_{name}": array for name, array in zip(names, arrays)}


@Remembered
def kept_states(runs: OnDevice) -> Tuple[str, ...]:
    """The states that a backward run reads, whatever gradients it is asked for, by their numbers."""
    arrays = backward_of(runs, True, runs.trace.params, False, False).arrays
    return tuple(s for s in runs.trace.states if f"kept_{s}" in arrays)


@Remembered
def forward_of(runs: OnDevice, keep: bool, constant: bool) -> Kernel:
    """The forward kernel; ``constant``: the input is the same at every step."""
    kept = kept_states(runs) if keep else ()
    rows, record = numbers_of(runs.params, runs.rows), numbers_of(runs.states, runs.record)
    return forward_kernel(runs.target(runs.dtype), runs.trace, rows, record, kept, constant)


@Remembered
def backward_of(runs: OnDevice, by_x: bool, by_params: Tuple[str, ...], constant: bool, windowed: bool) -> Kernel:
    """The backward kernel for the gradients that are wanted, by parameters' numbers."""
    target, rows = runs.target(runs.dtype), numbers_of(runs.params, runs.rows)
    return backward_kernel(target, runs.trace, runs.form.adjoint, rows, by_x, by_params, constant, windowed)


@Remembered
def made(
    stepper: Any, kind: Type[D], constants: Constants, record: Tuple[str, ...], rows: Tuple[str, ...], dtype: str
) -> Any:
    """A stepper's kernels of one kind, or a text that says why there are none."""
    try:
        found = trace(stepper, dict(constants))
        return kind(form_of(found, adjoint(found, record)), found.states, found.params, record, rows, dtype)
    except NotElementwise as reason:
        return f"{type(stepper).__name__}.step is not elementwise: {reason}"


def explain(kind: Type[OnDevice], stepper: Any, limit: str = "") -> str:
    """What ``engine.explain`` says of a stepper that has kernels of this kind; ``limit`` says from which size on."""
    return f"fused: {kind.language} kernels of {type(stepper).__name__}.step with the loop over time inside{limit}"

"""One step as a kernel, for loops over time that are the user's own.

Forward it is the step; backward it goes from the states before and after the step to the gradients, and reads only what
these depend on: the input itself is mostly not among that, so it need not be kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional, Tuple

from spikecore.api.core.graph import Value, run
from spikecore.kernels.elementwise import Elementwise, elementwise
from spikecore.kernels.form import ParamValues, Step, constants_in, step_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.openmp import several
from spikecore.kernels.sequence import summed
from spikecore.kernels.sizes import LONGEST, has_numba

Arrays = Dict[str, Any]
WIDE = 1 << 16  # neurons from which on a step is long enough for several threads


@dataclass(frozen=True, eq=False)  # one object per kind of step, see ``step_kernel``
class StepKernel:
    """One neuron's step for one kind of parameters.

    Arrays are flat, one value per neuron of the batch, and go by the names in the step, where states and parameters
    have numbers: "x", "s_<state>" before and "a_<state>" after the step, "p_<parameter>", "g" the gradient by the
    output, "c_<state>" by the state after the step.
    """

    step: Step

    def forward(self, given: Arrays, count: int, threads: bool) -> List[Any]:
        """The output and the states after a step of ``count`` neurons."""
        kernel = _forward(self)
        outs = [allocator.empty((count,), self.step.dtype) for _ in kernel.outs]
        kernel(given, self.step.constant_array, outs, threads and several(count, WIDE))
        return outs

    def backward(self, given: Arrays, count: int, threads: bool, wanted: Tuple[str, ...]) -> Arrays:
        """The gradients by the ``wanted`` inputs, "x", "s_<state>" and "p_<parameter>", one value per neuron; those
        that are zero are absent.
        """
        kernel = _backward(self, wanted)
        outs = {name: allocator.empty((count,), self.step.dtype) for name in kernel.outs}
        kernel(given, self.step.constant_array, outs.values(), threads and several(count, WIDE))
        return outs

    def reads(self, wanted: Tuple[str, ...]) -> Tuple[str, ...]:
        """The names of what ``backward`` reads."""
        return _backward(self, wanted).reads

    def derivative(self, engine: Any, given: Arrays, wanted: Tuple[str, ...]) -> Arrays:
        """``backward`` in the words of an engine, on its arrays of any shape: for gradients of gradients."""
        step, outs = self.step, _gradients(self.step, wanted)
        graph = step.trace.graph
        ops, leaves = graph.needed(outs.values(), step.known.values())
        values = {value: given[name] for name, value in step.known.items() if value in leaves}
        for name, place in constants_in(graph).items():
            values[graph.inputs[name]] = step.constants[place]
        run(array_words(engine), ops, values)
        return {name: values[v] if type(v) is Value else None for name, v in outs.items()}

    def summed(self, total: Any, shape: Tuple[int, ...], like: Tuple[int, ...]) -> Any:
        """A gradient per neuron of a batch of ``shape`` as one of a parameter's shape."""
        return summed(total.reshape(shape), like)


@Remembered
def step_kernel(stepper: Any, param_values: ParamValues, rows: Tuple[str, ...], dtype: str) -> Optional[StepKernel]:
    """The kernels of a neuron, or None if there are none; arguments as for ``step_of``."""
    step = step_of(stepper, param_values, (), rows, dtype) if has_numba() else ""
    return None if isinstance(step, str) or len(step.trace.graph.ops) > LONGEST else StepKernel(step)


@Remembered
def _forward(kernel: StepKernel) -> Elementwise:
    step, trace = kernel.step, kernel.step.trace
    outs = {"out": trace.output, **{f"a_{s}": value for s, value in zip(trace.states, trace.after)}}
    return elementwise("forward", trace.graph, step.inputs, outs, step.dtype, numbers=step.scalars)


@Remembered
def _backward(kernel: StepKernel, wanted: Tuple[str, ...]) -> Elementwise:
    step, outs = kernel.step, _gradients(kernel.step, wanted)
    return elementwise("backward", step.trace.graph, step.known, outs, step.dtype, numbers=step.scalars)


def _gradients(step: Step, wanted: Tuple[str, ...]) -> Arrays:
    """The wanted gradients that are not zero, as values of the step's graph, by the names of the inputs."""
    return {name: value for name, value in step.gradients.items() if name in wanted and value is not None}


def array_words(engine: Any) -> Any:
    """The words of an engine for operations on single elements: with numbers where some engines need arrays."""
    xp = engine.xp

    def on_arrays(word: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: word(*[engine.asarray(a) if isinstance(a, float) else a for a in args])

    with_arrays = {name: on_arrays(getattr(xp, name)) for name in ("maximum", "minimum", "where")}
    return SimpleNamespace(**{**vars(xp), **with_arrays, "astype": lambda x: xp.astype(x, engine.dtype)})

"""One step as a kernel, for loops over time that are the user's own.

Forward it is the step; backward it goes from the states before and after the step to the gradients, and reads only what
these depend on: the input itself is mostly not among that, so it need not be kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from spikecore.kernels.elementwise import Elementwise, elementwise
from spikecore.kernels.form import Constants, Step, constants_in, step_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.program import Op
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
        program = step.trace.program
        ops, leaves = program.needed([v for v in outs.values() if type(v) is int], step.known.values())
        values = {value: given[name] for name, value in step.known.items() if value in leaves}
        for name, place in constants_in(program).items():
            values[program.inputs[name]] = step.constants[place]
        for op in ops:
            values[op.out] = worded(engine, op, [values[a] if type(a) is int else a for a in op.args])
        return {name: values[v] if type(v) is int else None for name, v in outs.items()}

    def summed(self, total: Any, shape: Tuple[int, ...], like: Tuple[int, ...]) -> Any:
        """A gradient per neuron of a batch of ``shape`` as one of a parameter's shape."""
        return summed(total.reshape(shape), like)


@Remembered
def step_kernel(stepper: Any, constants: Constants, rows: Tuple[str, ...], dtype: str) -> Optional[StepKernel]:
    """The kernels of a neuron, or None if there are none; arguments as for ``step_of``."""
    step = step_of(stepper, constants, (), rows, dtype) if has_numba() else ""
    return None if isinstance(step, str) or len(step.trace.program.ops) > LONGEST else StepKernel(step)


@Remembered
def _forward(kernel: StepKernel) -> Elementwise:
    step, trace = kernel.step, kernel.step.trace
    outs = {"out": trace.output, **{f"a_{s}": value for s, value in zip(trace.states, trace.after)}}
    return elementwise("forward", trace.program, step.before, outs, step.dtype, numbers=step.numbers)


@Remembered
def _backward(kernel: StepKernel, wanted: Tuple[str, ...]) -> Elementwise:
    step, outs = kernel.step, _gradients(kernel.step, wanted)
    return elementwise("backward", step.trace.program, step.known, outs, step.dtype, numbers=step.numbers)


def _gradients(step: Step, wanted: Tuple[str, ...]) -> Arrays:
    """The gradients that are asked for and not zero, as values of the step's program."""
    return {name: value for name, value in step.gradients.items() if name in wanted and value is not None}


def worded(engine: Any, op: Op, args: List[Any]) -> Any:
    """One operation on arrays of an engine."""
    xp, word = engine.xp, op.word
    if word in ("maximum", "minimum", "where"):
        args = [engine.asarray(a) if isinstance(a, float) else a for a in args]
    if word == "float":
        return xp.astype(args[0], engine.dtype)
    if word == "stop_gradient":
        return engine.stop_gradient(*args)
    return engine.spike(args[0], op.option) if word == "spike" else getattr(xp, word)(*args)

"""The step that names the place from which the gradient by a spike is read.

The way back through a step is linear in the gradient by its spike. Its factors are what is left when that gradient is
one and everything else that comes from later steps is zero. Where all of them are zero, whatever the gradient is makes
no difference. That is so away from the threshold for surrogates that end somewhere: triangles, windows, parabolas, and
all others where an engine truncates them (``sparse_backward``).
"""

from __future__ import annotations

from typing import Any, Dict

from spikecore.kernels.form import Step
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.program import Op, Program
from spikecore.kernels.trace import Trace


@Remembered
def reading(step: Step) -> Step:
    """The same step with another output: whether some factor of the gradient by the spike is not zero."""
    given = step.trace.program
    later = {
        value: float(name == "g") for name, value in given.inputs.items() if name == "g" or name[:2] in ("c_", "r_")
    }
    inputs = {name: value for name, value in given.inputs.items() if value not in later}
    ops = [Op(op.out, op.word, tuple(_fixed(a, later) for a in op.args), op.option) for op in given.ops]
    program = Program(inputs, ops, list(given.kinds))
    factors = [_fixed(value, later) for value in step.gradients.values() if value is not None]
    total = 0.0
    for factor in factors:
        size = program.add("abs", (factor,), "float")
        total = size if total == 0.0 else program.add("add", (total, size), "float")  # type: ignore[assignment]
    small = program.add("less_equal", (total, 0.0), "bool")  # false for a NaN, which is read
    output = program.add("float", (program.add("logical_not", (small,), "bool"),), "float")
    trace = Trace(program, step.trace.states, step.trace.params, output, step.trace.after)
    return Step(trace, {}, step.constants, step.states, step.params, (), step.rows, step.dtype)


def _fixed(value: Any, later: Dict[int, float]) -> Any:
    return later.get(value, value) if type(value) is int else value

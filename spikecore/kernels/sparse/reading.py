"""The step that names the place from which the gradient by a spike is read.

The way back through a step is linear in the gradient by its spike. Its factors are what is left when that gradient is
one and everything else that comes from later steps is zero. Where all of them are zero, whatever the gradient is makes
no difference. That is so away from the threshold for surrogates that end somewhere: triangles, windows, parabolas, and
all others where an engine truncates them (``sparse_backward``).
"""

from __future__ import annotations

from typing import Any, Dict

from spikecore.api.core.graph import BOOL, Value, WordGraph
from spikecore.kernels.form import Step
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.trace import Trace


@Remembered
def reading(step: Step) -> Step:
    """The same step with another output: whether some factor of the gradient by the spike is not zero."""
    known = step.trace.graph
    later = {
        value: float(name == "g") for name, value in known.inputs.items() if name == "g" or name[:2] in ("c_", "r_")
    }
    inputs = {name: value for name, value in known.inputs.items() if value not in later}
    ops = [op._replace(args=tuple(_fixed(a, later) for a in op.args)) for op in known.ops]
    graph = WordGraph(inputs, ops, list(known.types))
    factors = [_fixed(value, later) for value in step.gradients.values() if value is not None]
    total: Any = 0.0
    for factor in factors:
        size = graph.add("abs", (factor,))
        total = size if total == 0.0 else graph.add("add", (total, size))
    small = graph.add("less_equal", (total, 0.0), BOOL)  # false for a NaN, which is read
    output = graph.add("astype", (graph.add("logical_not", (small,), BOOL),))
    trace = Trace(graph, step.trace.states, step.trace.params, output, step.trace.after)
    return Step(trace, {}, step.constants, step.states, step.params, (), step.rows, step.dtype)


def _fixed(value: Any, later: Dict[Value, float]) -> Any:
    return later.get(value, value) if type(value) is Value else value

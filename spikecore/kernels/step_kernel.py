"""One step as a kernel, for loops over time that are the user's own.

Forward it is the step; backward it goes from the states before and after the step to the gradients, and reads only what
these depend on: the input itself is mostly not among that, so it need not be kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.kernels import sequence
from spikecore.kernels.emit import constant_lines, spelled, value_of
from spikecore.kernels.form import Form, constants_in, form_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.program import Op
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import build
from spikecore.kernels.sequence import reduced, traced
from spikecore.kernels.sizes import LONGEST

Arrays = Dict[str, Any]
WIDE = 1 << 16  # neurons from which on a step is long enough for several threads


@dataclass(frozen=True, eq=False)  # one object per kind of step, see ``single``
class Single:
    """One stepper's step for one kind of parameters.

    Args:
        form: the step and its derivative.
        states, params: names of the states, and of the parameters that are not constants, in the form's order.
        rows: parameters with one value per neuron; the others are numbers.
        dtype: "float32" or "float64".

    Arrays are flat, one value per neuron of the batch, and go by name: "x", "s_<state>" before and "a_<state>" after
    the step, "p_<parameter>", "g" the gradient by the output, "c_<state>" by the state after the step.
    """

    form: Form
    states: Tuple[str, ...]
    params: Tuple[str, ...]
    rows: Tuple[str, ...]
    dtype: str

    @cached_property
    def names(self) -> Dict[str, str]:
        """What the form's inputs and results are called here."""
        found = {f"p_{i}": f"p_{p}" for i, p in enumerate(self.params)}
        found.update({f"{kind}_{i}": f"{kind}_{s}" for i, s in enumerate(self.states) for kind in "sac"})
        return {"x": "x", "g": "g", **found}

    @cached_property
    def constants(self) -> Any:
        """The constants of the step and its derivative."""
        return np.array(self.form.constants, self.dtype)

    def forward(self, given: Arrays, count: int, threads: bool) -> List[Any]:
        """The output and the states after a step of ``count`` neurons."""
        names, kernel = _forward(self, _several(threads, count))
        made = [allocator.empty((count,), self.dtype) for _ in range(1 + len(self.states))]
        kernel(*(given[self.names[name]] for name in names), self.constants, *made)
        return made

    def backward(self, given: Arrays, count: int, threads: bool, wanted: Tuple[str, ...]) -> Arrays:
        """The gradients by the ``wanted`` inputs, "x", "s_<state>" and "p_<parameter>", one value per neuron; None
        where there is none.
        """
        names, filled, kernel = _backward(self, wanted, _several(threads, count))
        made = {self.names[name]: allocator.empty((count,), self.dtype) for name in filled}
        kernel(*(given[self.names[name]] for name in names), self.constants, *made.values())
        return {name: made.get(name) for name in wanted}

    def reads(self, wanted: Tuple[str, ...]) -> Tuple[str, ...]:
        """The names of what ``backward`` reads."""
        return tuple(self.names[name] for name in _backward(self, wanted, False)[0])

    def derivative(self, engine: Any, given: Arrays, wanted: Tuple[str, ...]) -> Arrays:
        """``backward`` in the words of an engine, on its arrays of any shape: for gradients of gradients."""
        names, outs, ops = self._way_back(wanted)
        program, values = self.form.trace.program, {}
        for name, value in self._values().items():
            if name in names:
                values[value] = given[self.names[name]]
        for name, place in constants_in(program).items():
            values[program.inputs[name]] = self.form.constants[place]
        for op in ops:
            values[op.out] = _worded(engine, op, [values[a] if type(a) is int else a for a in op.args])
        return {self.names[name]: values[v] if type(v) is int else None for name, v in outs.items()}

    def _values(self) -> Dict[str, int]:
        """By name in the form, the values of inputs and of the states after the step."""
        trace = self.form.trace
        return {**{f"a_{s}": v for s, v in zip(trace.states, trace.after)}, **trace.program.inputs}

    def _way_back(self, wanted: Tuple[str, ...]) -> Tuple[Tuple[str, ...], Arrays, List[Op]]:
        """What a backward step reads, the values it makes by name, and the operations in between."""
        trace, found = self.form.trace, self.form.adjoint
        by = {"x": found.x, **{f"s_{s}": v for s, v in zip(trace.states, found.before)}}
        by.update({f"p_{p}": v for p, v in zip(trace.params, found.params)})
        outs = {name: v for name, v in by.items() if self.names[name] in wanted and v is not None}
        inputs = trace.program.inputs
        after = {f"a_{s}": v for s, v in zip(trace.states, trace.after) if v not in inputs.values()}
        ops, leaves = trace.program.needed([v for v in outs.values() if type(v) is int], after.values())
        read = (name for name, value in {**inputs, **after}.items() if value in leaves)
        return tuple(name for name in read if name in self.names), outs, ops  # constants are handed in together

    def summed(self, total: Any, shape: Tuple[int, ...], like: Tuple[int, ...]) -> Any:
        """A gradient per neuron of a batch of ``shape`` as one of a parameter's shape."""
        return reduced(total.reshape(shape), like)


@Remembered
def single(stepper: Any, constants: Any, rows: Tuple[str, ...], dtype: str) -> Optional[Single]:
    """The kernels of a stepper whose parameters are constants (floats) or inputs (None); None if there are none."""
    found = traced(stepper, constants, ())
    if isinstance(found, str):
        return None
    step = found[0]
    if len(step.program.ops) > LONGEST:
        return None
    return Single(form_of(*found), step.states, step.params, tuple(n for n in step.params if n in rows), dtype)


@Remembered
def _forward(made: Single, threads: bool) -> Any:
    trace = made.form.trace
    ops, leaves = trace.program.needed([trace.output, *trace.after])
    names = [name for name, value in trace.program.inputs.items() if value in leaves and name in made.names]
    outs = {"out": trace.output, **{f"a_{s}": value for s, value in zip(trace.states, trace.after)}}
    source = _source("forward", names, outs, ops, made)
    return names, build(source, "forward", made.dtype, threads)


@Remembered
def _backward(made: Single, wanted: Tuple[str, ...], threads: bool) -> Any:
    names, outs, ops = made._way_back(wanted)
    source = _source("backward", names, outs, ops, made)
    return names, tuple(outs), build(source, "backward", made.dtype, threads)


def _worded(engine: Any, op: Op, args: List[Any]) -> Any:
    """One operation on arrays of an engine."""
    xp, word = engine.xp, op.word
    if word in ("maximum", "minimum", "where"):
        args = [engine.asarray(a) if isinstance(a, float) else a for a in args]
    if word == "float":
        return xp.astype(args[0], engine.dtype)
    if word == "stop_gradient":
        return engine.stop_gradient(*args)
    return engine.spike(args[0], op.option) if word == "spike" else getattr(xp, word)(*args)


def _several(threads: bool, count: int) -> bool:
    return threads and count >= WIDE and sequence._parallel  # which a fork ends: OpenMP does not survive it


def _is_number(made: Single, name: str) -> bool:
    return name.startswith("p_") and made.names[name][2:] not in made.rows


def _source(kind: str, names: Sequence[str], outs: Arrays, ops: Sequence[Op], made: Single) -> str:
    """A kernel over chunks of neurons that stores values, each under its name."""
    program, values, targets = made.form.trace.program, made._values(), [f"to_{name}" for name in outs]
    rows = [*(name for name in names if not _is_number(made, name)), *targets]
    loads = {name: name if _is_number(made, name) else f"row_{name}[j]" for name in names}
    loads.update({name: name for name in constants_in(program)})
    lines = [*(f"v{values[name]} = {load}" for name, load in loads.items()), *(spelled(op, value_of) for op in ops)]
    head = [
        f"def {kind}({', '.join((*names, 'constants', *targets))}):",
        f"    count = {targets[0]}.shape[0]",
        *(f"    {line}" for line in constant_lines(program)),
        "    for chunk in prange((count + CHUNK - 1) // CHUNK):",
        "        lo = chunk * CHUNK",
        "        hi = min(count, lo + CHUNK)",
        *(f"        row_{row} = {row}[lo:hi]" for row in rows),  # rows of their own, so that the loop vectorises
        "        for j in range(hi - lo):",
    ]
    stores = [f"row_{target}[j] = {value_of(value)}" for target, value in zip(targets, outs.values())]
    return "\n".join([*head, *(" " * 12 + line for line in (*lines, *stores))]) + "\n"

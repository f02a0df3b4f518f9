"""Programs as Python source for Numba: what all kernels for the CPU have in common, and those of a single step.

The innermost loop runs over rows that lie contiguously in memory, so it vectorises. Every constant is typed, nothing is
contracted or re-associated: each operation is the one that the loop over steps would do, so the bits agree.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Sequence

from spikecore.kernels.adjoint import Adjoint
from spikecore.kernels.form import constants_in
from spikecore.kernels.program import Op, Program
from spikecore.kernels.trace import Trace

SPELLING = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "abs": "abs({0})",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",  # a NaN stays one
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "clip": "min(max({0}, {1}), {2})",
    "where": "{1} if {0} else {2}",
    "exp": "exp({0})",
    "log": "np.log({0})",
    "sqrt": "np.sqrt({0})",
    "tanh": "np.tanh({0})",
    "atan": "np.arctan({0})",
    "sign": "np.sign({0})",
    "floor": "np.floor({0})",
    "ceil": "np.ceil({0})",
    "round": "np.rint({0})",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "logical_and": "{0} and {1}",
    "logical_or": "{0} or {1}",
    "logical_not": "not {0}",
    "float": "F(1.0) if {0} else F(0.0)",
    "spike": "F(1.0) if {0} > F(0.0) else F(0.0)",
    "stop_gradient": "{0}",
}


def spelled(op: Op, name: Callable[[Any], str]) -> str:
    """One operation as an assignment; ``name`` says what a value is called."""
    args = [name(a) for a in op.args]
    if op.word == "pow":
        exponent = op.args[1] if type(op.args[1]) is float else None  # an int is the number of a value
        text = (
            f"{args[0]} * {args[0]}" if exponent == 2.0 else args[0] if exponent == 1.0 else f"{args[0]} ** {args[1]}"
        )
    else:
        text = SPELLING[op.word].format(*args)
    return f"{name(op.out)} = {text}"


class Source:
    """Lines of code at a depth."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def add(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def step_source(trace: Trace, rows: Sequence[str]) -> str:
    """One step of a recurrence, for loops over time that stand outside: from the states before to those after it.

    The first state is the output and goes to ``out``.
    """
    program, source = trace.program, Source()
    after = {f"after_{s}": v for s, v in zip(trace.states[1:], trace.after[1:])}
    arrays = ["x", *(f"before_{s}" for s in trace.states)]
    outs = ["out", *after]
    source.add(0, f"def forward({', '.join((*arrays, *(f'p_{p}' for p in trace.params), 'constants', *outs))}):")
    source.add(1, "count = out.shape[0]", *constant_lines(program))
    chunks(source, rows)
    source.add(2, *(f"row_{a} = {a}[lo:hi]" for a in (*arrays, *outs)), "for j in range(width):")
    ops, leaves = program.needed([trace.output, *trace.after])
    loads = {"x": "row_x[j]", **{f"s_{s}": f"row_before_{s}[j]" for s in trace.states}, **param_loads(trace, rows)}
    source.add(3, *load_lines(program.inputs, leaves, loads), *(spelled(op, value_of) for op in ops))
    source.add(3, f"row_out[j] = v{trace.output}", *(f"row_{a}[j] = v{v}" for a, v in after.items()))
    return source.text()


def step_back_source(trace: Trace, found: Adjoint, rows: Sequence[str], recorded: Sequence[str], by_params: Any) -> str:
    """One step backwards, for loops over time that stand outside: the states before and after it are given."""
    states, program, source = trace.states, trace.program, Source()
    given = ["x", *(f"before_{s}" for s in states), *(f"after_{s}" for s in states)]
    grads = ["g", *(f"rec_{s}" for s in recorded), *(f"next_{s}" for s in states)]
    outs = [*(f"prev_{s}" for s in states), *(f"gp_{p}" for p in by_params)]
    params = *(f"p_{p}" for p in trace.params), "constants"
    source.add(0, f"def backward({', '.join((*given, *params, *grads, *outs))}):")
    source.add(1, "count = g.shape[0]", *constant_lines(program))
    chunks(source, rows)
    source.add(2, *(f"row_{a} = {a}[lo:hi]" for a in (*given, *grads, *outs)), "for j in range(width):")
    results, ops, leaves = needs_of(trace, found, False, by_params)
    own = {"x": "x", "g": "g", **{f"s_{s}": f"before_{s}" for s in states}, **{f"c_{s}": f"next_{s}" for s in states}}
    own.update({f"r_{s}": f"rec_{s}" for s in recorded})
    loads = {**{name: f"row_{array}[j]" for name, array in own.items()}, **param_loads(trace, rows)}
    source.add(3, *load_lines(program.inputs, leaves, loads))
    known = leaves - set(program.inputs.values())
    source.add(3, *(f"v{v} = row_after_{s}[j]" for s, v in zip(states, trace.after) if v in known))
    source.add(3, *(spelled(op, value_of) for op in ops))
    source.add(3, *(f"row_prev_{s}[j] = {value_of(results[f's_{s}'])}" for s in states))
    source.add(3, *(f"row_gp_{p}[j] += {value_of(results[f'p_{p}'])}" for p in by_params))
    return source.text()


def needs_of(trace: Trace, found: Adjoint, by_x: bool, by_params: Sequence[str], output: bool = False) -> Any:
    """The gradients a backward kernel computes by name of input, the operations for them, and the leaves these read;
    with ``output`` the step's output is computed, too.
    """
    results = {**({"x": found.x} if by_x else {}), **{f"s_{s}": v for s, v in zip(trace.states, found.before)}}
    wanted = dict(zip(trace.params, found.params))
    results.update({f"p_{p}": wanted[p] for p in by_params})
    ends = [v for v in results.values() if type(v) is int] + ([trace.output] if output else [])
    ops, leaves = trace.program.needed(ends, trace.after)
    return results, ops, leaves


def copied(row: str, value: str) -> List[str]:
    """A row filled by a loop: for a slice Numba would first compile the error of unequal shapes, for seconds."""
    return ["for j in range(width):", f"    {row}[j] = {value}"]


def chunks(source: Source, rows: Sequence[str]) -> None:
    """The head of a step's kernel: chunks of neurons in parallel."""
    source.add(1, "for chunk in prange((count + CHUNK - 1) // CHUNK):")
    source.add(2, "lo = chunk * CHUNK", "hi = min(count, lo + CHUNK)", "width = hi - lo")
    source.add(2, *(f"row_p_{p} = p_{p}[lo:hi]" for p in rows))


def constant_lines(program: Program, array: str = "constants") -> List[str]:
    """One assignment for each constant, from an array of them."""
    return [f"{name} = {array}[{i}]" for name, i in constants_in(program).items()]


def param_loads(trace: Trace, rows: Sequence[str]) -> Dict[str, str]:
    """Where the values of parameters and constants are, by name of input."""
    own = {f"p_{p}": f"row_p_{p}[j]" if p in rows else f"p_{p}" for p in trace.params}
    return {**own, **{name: name for name in constants_in(trace.program)}}


def load_lines(inputs: Dict[str, int], leaves: Any, loads: Dict[str, str]) -> List[str]:
    """One assignment for each input that is read."""
    return [f"v{value} = {loads[name]}" for name, value in inputs.items() if value in leaves]


def value_of(value: Any) -> str:
    """A value by its number, or a constant of the kernel's type; None is zero."""
    if type(value) is int:
        return f"v{value}"
    number = 0.0 if value is None else float(value)
    return f"F({number!r})" if math.isfinite(number) else f"F(float('{number!r}'))"

"""Programs as Python source for Numba: one loop over chunks of neurons, inside it time, innermost the neurons.

The innermost loop runs over rows that lie contiguously in memory, so it vectorises; a chunk's states stay in cache
for all of its time steps. The way back needs all of them: the forward kernel keeps those before every ``EVERY``-th
step, and the backward kernel computes the others again, block by block, in scratch memory that fits the cache however
long the sequence is. Every constant is typed, nothing is contracted or re-associated: each operation is the one that
the loop over steps would do, so the bits agree.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Sequence

from spikecore.kernels.adjoint import Adjoint
from spikecore.kernels.program import Op
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


def spelled(op: Op) -> str:
    """One operation as an assignment."""
    args = [value_of(a) for a in op.args]
    if op.word == "pow":
        exponent = op.args[1]
        text = (
            f"{args[0]} * {args[0]}" if exponent == 2.0 else args[0] if exponent == 1.0 else f"{args[0]} ** {args[1]}"
        )
    else:
        text = SPELLING[op.word].format(*args)
    return f"v{op.out} = {text}"


class Source:
    """Lines of code at a depth."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def add(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def name_of(param: str) -> str:
    """A dotted parameter name as an identifier."""
    return param.replace(".", "_")


def forward_source(
    trace: Trace, rows: Sequence[str], recorded: Sequence[str], constant: bool, keeps: bool = False
) -> str:
    """The forward kernel.

    Its running state lives in the arrays of the final state.

    Args:
        trace: the step.
        rows: the parameters that come as one value per neuron; the others are numbers.
        recorded: states to return for every step.
        constant: the input is the same at every step.
        keeps: there are arrays for the states before every ``EVERY``-th step but the first; without rows, nothing is
            kept.
    """
    program, source, states = trace.program, Source(), trace.states
    arrays = [*(f"init_{s}" for s in states), *(f"p_{name_of(p)}" for p in trace.params)]
    outs = [*(f"rec_{s}" for s in recorded), *(f"fin_{s}" for s in states)]
    outs += [f"kept_{s}" for s in states if keeps]
    source.add(0, f"def forward(x, {', '.join((*arrays, 'out', *outs))}):")
    source.add(1, "steps, count = out.shape")
    chunks(source, rows)
    for s in states:
        source.add(2, f"now_{s} = fin_{s}[lo:hi]", *copied(f"now_{s}", f"init_{s}[lo + j]"))
    source.add(2, "for t in range(steps):")
    if keeps and states:
        source.add(3, f"if t % EVERY == 0 and 0 < t <= EVERY * kept_{states[0]}.shape[0]:")
        for s in states:
            source.add(4, f"row_{s} = kept_{s}[t // EVERY - 1, lo:hi]", *copied(f"row_{s}", f"now_{s}[j]"))
    source.add(3, f"row_x = x[{_row(constant)}, lo:hi]", "row_out = out[t, lo:hi]")
    source.add(3, *(f"row_{s} = rec_{s}[t, lo:hi]" for s in recorded))
    source.add(3, "for j in range(width):")
    ops, leaves = program.needed([trace.output, *trace.after])
    loads = {"x": "row_x[j]", **{f"s_{s}": f"now_{s}[j]" for s in states}, **_param_loads(trace, rows)}
    source.add(4, *load_lines(program.inputs, leaves, loads), *(spelled(op) for op in ops))
    source.add(4, f"row_out[j] = v{trace.output}")
    for s, value in zip(states, trace.after):
        source.add(4, f"now_{s}[j] = v{value}")
        if s in recorded:
            source.add(4, f"row_{s}[j] = v{value}")
    return source.text()


def backward_source(
    trace: Trace,
    found: Adjoint,
    rows: Sequence[str],
    recorded: Sequence[str],
    by_x: bool,
    by_params: Sequence[str],
    constant: bool,
) -> str:
    """The backward kernel: from the last block of ``EVERY`` steps to the first, each forwards for its states, and back.

    Each worker has a part of ``scratch`` (workers, states, EVERY + 1, CHUNK), or fewer rows where the run is shorter.
    ``by_params`` names the parameters whose gradient is wanted; each gets one sum over time per neuron.
    """
    source, states = Source(), trace.states
    arrays = [*(f"init_{s}" for s in states), *(f"p_{name_of(p)}" for p in trace.params)]
    grads = [*(f"rec_{s}" for s in recorded), *(f"fin_{s}" for s in states)]
    held = [*(f"kept_{s}" for s in states), "scratch"]
    outs = ["gx", *(f"ginit_{s}" for s in states), *(f"gp_{name_of(p)}" for p in by_params)]
    source.add(0, f"def backward(x, {', '.join((*arrays, 'g', *grads, 'window', *held, *outs))}):")
    source.add(1, "steps, count = g.shape", "workers = scratch.shape[0]")
    source.add(1, "chunks = (count + CHUNK - 1) // CHUNK", "for worker in prange(workers):")
    source.add(2, "for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):")
    bounds(source, 3, rows)
    for i, s in enumerate(states):
        source.add(3, f"all_{s} = scratch[worker, {i}]", f"first_{s} = all_{s}[0]")
        source.add(3, f"now_{s} = ginit_{s}[lo:hi]", *copied(f"now_{s}", f"fin_{s}[lo + j]"))
    source.add(3, *(f"sum_{name_of(p)} = gp_{name_of(p)}[lo:hi]" for p in by_params))
    source.add(3, "for block in range((steps - 1) // EVERY, -1, -1):")
    source.add(4, "begin = block * EVERY", "length = min(EVERY, steps - begin)", "if block > 0:")
    for s in states:
        source.add(5, f"row_{s} = kept_{s}[block - 1, lo:hi]", *copied(f"first_{s}", f"row_{s}[j]"))
    source.add(5, "pass")
    source.add(4, "else:")
    for s in states:
        source.add(5, *copied(f"first_{s}", f"init_{s}[lo + j]"))
    source.add(5, "pass")
    loads = {"x": "row_x[j]", **{f"s_{s}": f"before_{s}[j]" for s in states}, **_param_loads(trace, rows)}
    _recompute(source, trace, loads, constant)
    _go_back(source, trace, found, recorded, by_x, by_params, constant, loads)
    return source.text()


def _recompute(source: Source, trace: Trace, loads: Dict[str, str], constant: bool) -> None:
    """The states of a block, from its first to its last step."""
    ops, leaves = trace.program.needed(trace.after)
    source.add(4, "for i in range(length):", f"    row_x = x[{_row(constant, 'begin + i')}, lo:hi]")
    source.add(5, *_around(trace.states))
    source.add(5, "for j in range(width):")
    source.add(6, *load_lines(trace.program.inputs, leaves, loads), *(spelled(op) for op in ops))
    source.add(6, *(f"after_{s}[j] = v{value}" for s, value in zip(trace.states, trace.after)), "pass")


def _go_back(
    source: Source,
    trace: Trace,
    found: Adjoint,
    recorded: Sequence[str],
    by_x: bool,
    by_params: Sequence[str],
    constant: bool,
    loads: Dict[str, str],
) -> None:
    """A block's steps from the last to the first."""
    states, after = trace.states, dict(zip(trace.states, trace.after))
    source.add(4, "for i in range(length - 1, -1, -1):")
    source.add(5, "t = begin + i", f"row_x = x[{_row(constant)}, lo:hi]", f"row_gx = gx[{_row(constant)}, lo:hi]")
    source.add(5, "row_g = g[t, lo:hi]", *(f"row_{s} = rec_{s}[t, lo:hi]" for s in recorded))
    source.add(5, *_around(states))
    source.add(5, "for j in range(width):")
    results, ops, leaves = needs_of(trace, found, by_x, by_params)
    given = {
        "g": "row_g[j]",
        **{f"c_{s}": f"now_{s}[j]" for s in states},
        **{f"r_{s}": f"row_{s}[j]" for s in recorded},
    }
    source.add(6, *load_lines(trace.program.inputs, leaves, {**loads, **given}))
    known = leaves - set(trace.program.inputs.values())
    source.add(6, *(f"v{v} = after_{s}[j]" for s, v in after.items() if v in known))
    source.add(6, *(spelled(op) for op in ops))
    if by_x:
        source.add(6, f"row_gx[j] {'+=' if constant else '='} {value_of(results['x'])}")
    source.add(6, *(f"now_{s}[j] = {value_of(results[f's_{s}'])}" for s in states))
    source.add(6, *(f"sum_{name_of(p)}[j] += {value_of(results[f'p_{p}'])}" for p in by_params), "pass")
    source.add(5, "if window > 0 and t > 0 and t % window == 0:", "    for j in range(width):")
    source.add(7, *(f"now_{s}[j] = 0" for s in states), "pass")


def _around(states: Sequence[str]) -> List[str]:
    """States before and after step ``i`` of a block."""
    return [f"{when}_{s} = all_{s}[{row}]" for s in states for when, row in (("before", "i"), ("after", "i + 1"))]


def step_back_source(trace: Trace, found: Adjoint, rows: Sequence[str], recorded: Sequence[str], by_params: Any) -> str:
    """One step backwards, for loops over time that stand outside: the states before and after it are given."""
    states, program, source = trace.states, trace.program, Source()
    given = ["x", *(f"before_{s}" for s in states), *(f"after_{s}" for s in states)]
    grads = ["g", *(f"rec_{s}" for s in recorded), *(f"next_{s}" for s in states)]
    outs = [*(f"prev_{s}" for s in states), *(f"gp_{name_of(p)}" for p in by_params)]
    source.add(0, f"def backward({', '.join((*given, *(f'p_{name_of(p)}' for p in trace.params), *grads, *outs))}):")
    source.add(1, "count = g.shape[0]")
    chunks(source, rows)
    source.add(2, *(f"row_{a} = {a}[lo:hi]" for a in (*given, *grads, *outs)), "for j in range(width):")
    results, ops, leaves = needs_of(trace, found, False, by_params)
    own = {"x": "x", "g": "g", **{f"s_{s}": f"before_{s}" for s in states}, **{f"c_{s}": f"next_{s}" for s in states}}
    own.update({f"r_{s}": f"rec_{s}" for s in recorded})
    loads = {**{name: f"row_{array}[j]" for name, array in own.items()}, **_param_loads(trace, rows)}
    source.add(3, *load_lines(program.inputs, leaves, loads))
    known = leaves - set(program.inputs.values())
    source.add(3, *(f"v{v} = row_after_{s}[j]" for s, v in zip(states, trace.after) if v in known))
    source.add(3, *(spelled(op) for op in ops))
    source.add(3, *(f"row_prev_{s}[j] = {value_of(results[f's_{s}'])}" for s in states))
    source.add(3, *(f"row_gp_{name_of(p)}[j] += {value_of(results[f'p_{p}'])}" for p in by_params))
    return source.text()


def needs_of(trace: Trace, found: Adjoint, by_x: bool, by_params: Sequence[str]) -> Any:
    """The gradients a backward kernel computes by name of input, the operations for them, and the leaves these read."""
    results = {**({"x": found.x} if by_x else {}), **{f"s_{s}": v for s, v in zip(trace.states, found.before)}}
    wanted = dict(zip(trace.params, found.params))
    results.update({f"p_{p}": wanted[p] for p in by_params})
    ops, leaves = trace.program.needed([v for v in results.values() if type(v) is int], trace.after)
    return results, ops, leaves


def copied(row: str, value: str) -> List[str]:
    """A row filled by a loop: for a slice Numba would first compile the error of unequal shapes, for seconds."""
    return ["for j in range(width):", f"    {row}[j] = {value}"]


def chunks(source: Source, rows: Sequence[str]) -> None:
    """The head of most kernels: chunks of neurons in parallel."""
    source.add(1, "for chunk in prange((count + CHUNK - 1) // CHUNK):")
    bounds(source, 2, rows)


def bounds(source: Source, depth: int, rows: Sequence[str]) -> None:
    """Where a chunk begins and ends, and the parameters of its neurons."""
    source.add(depth, "lo = chunk * CHUNK", "hi = min(count, lo + CHUNK)", "width = hi - lo")
    source.add(depth, *(f"row_p_{name_of(p)} = p_{name_of(p)}[lo:hi]" for p in rows))


def _row(constant: bool, t: str = "t") -> str:
    return "0" if constant else t


def _param_loads(trace: Trace, rows: Sequence[str]) -> Dict[str, str]:
    return {f"p_{p}": f"row_p_{name_of(p)}[j]" if p in rows else f"p_{name_of(p)}" for p in trace.params}


def load_lines(inputs: Dict[str, int], leaves: Any, loads: Dict[str, str]) -> List[str]:
    """One assignment for each input that is read."""
    return [f"v{value} = {loads[name]}" for name, value in inputs.items() if value in leaves]


def value_of(value: Any) -> str:
    """A value by its number, or a constant of the kernel's type; None is zero."""
    if type(value) is int:
        return f"v{value}"
    number = 0.0 if value is None else float(value)
    return f"F({number!r})" if math.isfinite(number) else f"F(float('{number!r}'))"

"""One step as a kernel, for loops over time that are the user's own.

Forward it is the step; backward it goes from the states before and after the step to the gradients, and reads only what
these depend on: the input itself is mostly not among that, so it need not be kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, Optional, Sequence, Tuple

from spikecore.kernels import fused, memory
from spikecore.kernels.adjoint import Adjoint
from spikecore.kernels.cache import build
from spikecore.kernels.emit import name_of, spelled, value_of
from spikecore.kernels.fused import reduced, traced
from spikecore.kernels.program import Op
from spikecore.kernels.sizes import LONGEST
from spikecore.kernels.trace import Trace

Arrays = Dict[str, Any]
WIDE = 1 << 16  # neurons from which on a step is long enough for several threads


@dataclass(frozen=True, eq=False)  # one object per kind of step, see ``single``
class Single:
    """One stepper's step for one kind of parameters.

    Args:
        trace, adjoint: the step and its derivative.
        rows: parameters with one value per neuron; the others are numbers.
        dtype: "float32" or "float64".

    Arrays are flat, one value per neuron of the batch, and go by name: "x", "s_<state>" before and "a_<state>" after
    the step, "p_<parameter>", "g" the gradient by the output, "c_<state>" by the state after the step.
    """

    trace: Trace
    adjoint: Adjoint
    rows: Tuple[str, ...]
    dtype: str

    def forward(self, given: Arrays, count: int, threads: bool) -> List[Any]:
        """The output and the states after a step of ``count`` neurons."""
        names, kernel = _forward(self, _several(threads, count))
        made = [memory.empty((count,), self.dtype) for _ in range(1 + len(self.trace.states))]
        kernel(*(given[name] for name in names), *made)
        return made

    def backward(self, given: Arrays, count: int, threads: bool, wanted: Tuple[str, ...]) -> Arrays:
        """The gradients by the ``wanted`` inputs, "x", "s_<state>" and "p_<parameter>", one value per neuron; None
        where there is none.
        """
        names, filled, kernel = _backward(self, wanted, _several(threads, count))
        made = {name: memory.empty((count,), self.dtype) for name in filled}
        kernel(*(given[name] for name in names), *made.values())
        return {name: made.get(name) for name in wanted}

    def reads(self, wanted: Tuple[str, ...]) -> Tuple[str, ...]:
        """The names of what ``backward`` reads."""
        return _backward(self, wanted, False)[0]

    def derivative(self, engine: Any, given: Arrays, wanted: Tuple[str, ...]) -> Arrays:
        """``backward`` in the words of an engine, on its arrays of any shape: for gradients of gradients."""
        names, outs, ops = self._way_back(wanted)
        trace = self.trace
        after = {f"a_{s}": v for s, v in zip(trace.states, trace.after)}
        values = {value: given[name] for name, value in {**trace.program.inputs, **after}.items() if name in names}
        for op in ops:
            values[op.out] = _worded(engine, op, [values[a] if type(a) is int else a for a in op.args])
        return {name: values[v] if type(v) is int else None for name, v in outs.items()}

    def _way_back(self, wanted: Tuple[str, ...]) -> Tuple[Tuple[str, ...], Arrays, List[Op]]:
        """What a backward step reads, the values it makes by name, and the operations in between."""
        trace, found = self.trace, self.adjoint
        by = {"x": found.x, **{f"s_{s}": v for s, v in zip(trace.states, found.before)}}
        by.update({f"p_{p}": v for p, v in zip(trace.params, found.params)})
        outs = {name: by[name] for name in wanted if by.get(name) is not None}
        inputs = trace.program.inputs
        after = {f"a_{s}": v for s, v in zip(trace.states, trace.after) if v not in inputs.values()}
        ops, leaves = trace.program.needed([v for v in outs.values() if type(v) is int], after.values())
        return tuple(name for name, value in {**inputs, **after}.items() if value in leaves), outs, ops

    def summed(self, total: Any, shape: Tuple[int, ...], like: Tuple[int, ...]) -> Any:
        """A gradient per neuron of a batch of ``shape`` as one of a parameter's shape."""
        return reduced(total.reshape(shape), like)


@lru_cache(maxsize=1024)
def single(stepper: Any, constants: Any, rows: Tuple[str, ...], dtype: str) -> Optional[Single]:
    """The kernels of a stepper whose parameters are compiled in (floats) or inputs (None); None if there are none."""
    found = traced(stepper, constants, ())
    if isinstance(found, str):
        return None
    trace, backward = found
    if len(trace.program.ops) > LONGEST:
        return None
    return Single(trace, backward, tuple(name for name in trace.params if name in rows), dtype)


@lru_cache(maxsize=None)
def _forward(made: Single, threads: bool) -> Any:
    trace = made.trace
    ops, leaves = trace.program.needed([trace.output, *trace.after])
    names = [name for name, value in trace.program.inputs.items() if value in leaves]
    outs = {"out": trace.output, **{f"a_{s}": value for s, value in zip(trace.states, trace.after)}}
    loads = [f"v{trace.program.inputs[name]} = {_load(made, name)}" for name in names]
    source = _source("forward", names, outs, [*loads, *(spelled(op, value_of) for op in ops)], made)
    return names, build(source, "forward", made.dtype, threads)


@lru_cache(maxsize=None)
def _backward(made: Single, wanted: Tuple[str, ...], threads: bool) -> Any:
    trace = made.trace
    names, outs, ops = made._way_back(wanted)
    values = {**{f"a_{s}": v for s, v in zip(trace.states, trace.after)}, **trace.program.inputs}
    loads = [f"v{values[name]} = {_load(made, name)}" for name in names]
    source = _source("backward", names, outs, [*loads, *(spelled(op, value_of) for op in ops)], made)
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
    return threads and count >= WIDE and fused._parallel  # which a fork ends: OpenMP does not survive it


def _load(made: Single, name: str) -> str:
    return name_of(name) if _is_number(made, name) else f"row_{name_of(name)}[j]"


def _is_number(made: Single, name: str) -> bool:
    return name.startswith("p_") and name[2:] not in made.rows


def _source(kind: str, names: Sequence[str], outs: Arrays, lines: Sequence[str], made: Single) -> str:
    """A kernel over chunks of neurons that stores values, each under its name."""
    targets = [f"to_{name_of(name)}" for name in outs]
    rows = [*(name_of(name) for name in names if not _is_number(made, name)), *targets]
    head = [
        f"def {kind}({', '.join((*map(name_of, names), *targets))}):",
        f"    count = {targets[0]}.shape[0]",
        "    for chunk in prange((count + CHUNK - 1) // CHUNK):",
        "        lo = chunk * CHUNK",
        "        hi = min(count, lo + CHUNK)",
        *(f"        row_{row} = {row}[lo:hi]" for row in rows),  # rows of their own, so that the loop vectorises
        "        for j in range(hi - lo):",
    ]
    stores = [f"row_{target}[j] = {value_of(value)}" for target, value in zip(targets, outs.values())]
    return "\n".join([*head, *(" " * 12 + line for line in (*lines, *stores))]) + "\n"

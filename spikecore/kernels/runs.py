"""Whole runs over time as Python source for Numba: a loop over chunks of neurons, in it time, innermost the neurons.

A chunk's states stay in cache for all of its time steps. The way back needs all of them: the forward kernel keeps those
before every block of ``EVERY`` steps, and the backward kernel computes the others again, block by block, in scratch
memory that fits the cache however long the sequence is.

Where the memory keeps up, it is the states' way from and to the cache that takes the time. So the innermost loops do
two steps at once, and states and gradients pass from one to the other in registers.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Sequence, Tuple

from spikecore.kernels.adjoint import Adjoint
from spikecore.kernels.emit import Source, bounds, copied, name_of, needs_of, param_loads, spelled, value_of
from spikecore.kernels.trace import Trace

PAIR = 2  # steps at once; four are little faster than two, and large steps then no longer vectorise


class Names:
    """What values are called in one of several steps; those in ``known`` have names of their own."""

    def __init__(self, step: int, known: Dict[Any, str]) -> None:
        self.step, self.known = step, known

    def __call__(self, value: Any) -> str:
        if type(value) is not int:
            return value_of(value)
        return self.known.get(value, f"v{value}_{self.step}")


class Run(NamedTuple):
    """What a kernel is made for.

    Args:
        trace: the step.
        rows: the parameters that come as one value per neuron; the others are numbers.
        recorded: states that are returned for every step.
        constant: the input is the same at every step.
    """

    trace: Trace
    rows: Tuple[str, ...]
    recorded: Tuple[str, ...]
    constant: bool

    def arguments(self, *arrays: str) -> str:
        """The names of a kernel's arguments, which begin alike."""
        return ", ".join(("x", *(f"p_{name_of(p)}" for p in self.trace.params), *arrays))

    def row(self, t: str) -> str:
        """Which row of the input belongs to step ``t``."""
        return "0" if self.constant else t

    def params(self, source: Source, depth: int, leaves: Any) -> Dict[Any, str]:
        """Read the parameters; what their values are called."""
        known, loads = {}, param_loads(self.trace, self.rows)
        for name, value in self.trace.program.inputs.items():
            if name in loads and value in leaves:
                source.add(depth, f"v{value} = {loads[name]}")
                known[value] = f"v{value}"
        return known


def forward_source(run: Run) -> str:
    """The forward kernel.

    ``now_<state>`` are the states before the first step, and then those after the last one. ``kept_<state>`` has a row
    for each block of ``EVERY`` steps, the state before it; or no rows, and nothing is kept.
    """
    source, states = Source(), run.trace.states
    arrays = "out", *(f"rec_{s}" for s in run.recorded), *(f"now_{s}" for s in states), *(f"kept_{s}" for s in states)
    source.add(0, f"def forward({run.arguments(*arrays)}):", "    steps, count = out.shape")
    source.add(1, "for chunk in prange((count + CHUNK - 1) // CHUNK):")
    bounds(source, 2, run.rows)
    source.add(2, *(f"row_now_{s} = now_{s}[lo:hi]" for s in states))
    source.add(2, "for begin in range(0, steps, EVERY):", "    length = min(EVERY, steps - begin)")
    for s in states:
        source.add(3, f"if kept_{s}.shape[0] > 0:", f"    row_kept_{s} = kept_{s}[begin // EVERY, lo:hi]")
        source.add(4, *copied(f"row_kept_{s}", f"row_now_{s}[j]"))
    source.add(3, "for t in range(begin, begin + length - 1, 2):")
    _steps(source, run, PAIR)
    source.add(3, "if length % 2 == 1:", "    t = begin + length - 1")
    _steps(source, run, 1)
    return source.text()


def _steps(source: Source, run: Run, n: int) -> None:
    """Some steps forwards from step t."""
    trace, inputs = run.trace, run.trace.program.inputs
    for k in range(n):
        source.add(4, f"row_{k}_x = x[{run.row(f't + {k}')}, lo:hi]", f"row_{k}_out = out[t + {k}, lo:hi]")
        source.add(4, *(f"row_{k}_r_{s} = rec_{s}[t + {k}, lo:hi]" for s in run.recorded))
    source.add(4, "for j in range(width):")
    ops, leaves = trace.program.needed([trace.output, *trace.after])
    known, current = run.params(source, 5, leaves), {f"s_{s}": f"row_now_{s}[j]" for s in trace.states}
    for k in range(n):
        name = _named(source, 5, k, {**current, "x": f"row_{k}_x[j]"}, inputs, known)
        source.add(5, *(spelled(op, name) for op in ops), f"row_{k}_out[j] = {name(trace.output)}")
        current = {f"s_{s}": name(value) for s, value in zip(trace.states, trace.after)}
        source.add(5, *(f"row_{k}_r_{s}[j] = {current[f's_{s}']}" for s in run.recorded))
    source.add(5, *(f"row_now_{s}[j] = {current[f's_{s}']}" for s in trace.states))


def _named(
    source: Source, depth: int, k: int, reads: Dict[str, str], values: Dict[str, int], known: Dict[Any, str]
) -> Names:
    """Read what the k-th step begins with; the names of all its values."""
    source.add(depth, *(f"{name}_{k} = {text}" for name, text in reads.items()))
    return Names(k, {**known, **{values[name]: f"{name}_{k}" for name in reads}})


def backward_source(run: Run, found: Adjoint, by_x: bool, by_params: Sequence[str]) -> str:
    """The backward kernel: from the last block of ``EVERY`` steps to the first, each forwards for its states, and back.

    ``now_<state>`` are the gradients by the last states, and then those by the first. Each worker has a part of
    ``scratch`` (workers, states, EVERY + 1, CHUNK), with fewer rows where the run is shorter.

    Args:
        run: what for.
        found: the derivative.
        by_x: whether the gradient by the input is wanted.
        by_params: the parameters whose gradients are; each gets one sum over time per neuron.
    """
    source, states = Source(), run.trace.states
    arrays = "g", *(f"rec_{s}" for s in run.recorded), *(f"kept_{s}" for s in states), "scratch", "window"
    outs = *(f"now_{s}" for s in states), "gx", *(f"gp_{name_of(p)}" for p in by_params)
    source.add(0, f"def backward({run.arguments(*arrays, *outs)}):")
    source.add(1, "steps, count = g.shape", "workers = scratch.shape[0]")
    source.add(1, "chunks = (count + CHUNK - 1) // CHUNK", "for worker in prange(workers):")
    source.add(2, "for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):")
    bounds(source, 3, run.rows)
    source.add(3, *(f"all_{s} = scratch[worker, {i}]" for i, s in enumerate(states)))
    source.add(3, *(f"row_now_{s} = now_{s}[lo:hi]" for s in states))
    source.add(3, *(f"sum_{name_of(p)} = gp_{name_of(p)}[lo:hi]" for p in by_params))
    source.add(3, "for begin in range((steps - 1) // EVERY * EVERY, -1, -EVERY):")
    source.add(4, "length = min(EVERY, steps - begin)")
    for s in states:
        source.add(4, f"first_{s} = all_{s}[0]", f"row_kept_{s} = kept_{s}[begin // EVERY, lo:hi]")
        source.add(4, *copied(f"first_{s}", f"row_kept_{s}[j]"))
    _states_again(source, run)
    source.add(4, "paired = 0 if window > 0 else length - length % 2")
    source.add(4, "for i in range(length - 1, paired - 1, -1):", "    t = begin + i")
    _steps_back(source, run, found, by_x, by_params, 1)
    source.add(4, "for i in range(paired - 1, 0, -2):", "    t = begin + i")
    _steps_back(source, run, found, by_x, by_params, PAIR)
    return source.text()


def _states_again(source: Source, run: Run) -> None:
    """The states after all steps of a block, two at once.

    If the number of steps is odd, a step too many is done, with the last step's input: nobody reads its state.
    """
    trace, inputs = run.trace, run.trace.program.inputs
    ops, leaves = trace.program.needed(trace.after)
    source.add(4, "for i in range(0, length, 2):", f"    row_0_x = x[{run.row('begin + i')}, lo:hi]")
    source.add(5, f"row_1_x = x[{run.row('min(begin + i + 1, steps - 1)')}, lo:hi]")
    source.add(5, *(f"row_{k}_{s} = all_{s}[i + {k}]" for s in trace.states for k in range(PAIR + 1)))
    source.add(5, "for j in range(width):")
    known, current = run.params(source, 6, leaves), {f"s_{s}": f"row_0_{s}[j]" for s in trace.states}
    for k in range(PAIR):
        name = _named(source, 6, k, {**current, "x": f"row_{k}_x[j]"}, inputs, known)
        current = {f"s_{s}": name(value) for s, value in zip(trace.states, trace.after)}
        source.add(6, *(spelled(op, name) for op in ops))
        source.add(6, *(f"row_{k + 1}_{s}[j] = {current[f's_{s}']}" for s in trace.states))


def _steps_back(source: Source, run: Run, found: Adjoint, by_x: bool, by_params: Sequence[str], n: int) -> None:
    """Some steps backwards from step t, the block's step i. Single ones cut the gradient at a window's border."""
    trace, inputs = run.trace, run.trace.program.inputs
    results, ops, leaves = needs_of(trace, found, by_x, by_params)
    values = {**{f"a_{s}": v for s, v in zip(trace.states, trace.after)}, **inputs}
    reads = [read for read, v in values.items() if v in leaves and read[:2] not in ("p_", "c_")]
    for k in range(n):
        places = _places(run, k)
        rows = [*reads, "gx"] if by_x else reads
        source.add(5, *(f"row_{k}_{row} = {places[row]}" for row in rows))
    sums = {f"sum_{name_of(p)}": results[f"p_{p}"] for p in by_params}
    if by_x and run.constant:
        source.add(5, "sum_ = row_0_gx")
        sums["sum_"] = results["x"]
    if n == 1:
        source.add(5, "cut = window > 0 and t > 0 and t % window == 0")
    source.add(5, "for j in range(width):")
    known, totals = run.params(source, 6, leaves), {row: f"{row}[j]" for row in sums}
    carried = {f"c_{s}": f"row_now_{s}[j]" for s in trace.states}
    for k in range(n):
        name = _named(source, 6, k, {**{read: f"row_{k}_{read}[j]" for read in reads}, **carried}, values, known)
        source.add(6, *(spelled(op, name) for op in ops))
        totals = {row: f"{total} + {name(sums[row])}" for row, total in totals.items()}
        if by_x and not run.constant:
            source.add(6, f"row_{k}_gx[j] = {name(results['x'])}")
        carried = {f"c_{s}": name(results[f"s_{s}"]) for s in trace.states}
    stop = "F(0.0) if cut else " if n == 1 else ""
    source.add(6, *(f"row_now_{s}[j] = {stop}{carried[f'c_{s}']}" for s in trace.states))
    source.add(6, *(f"{row}[j] = {total}" for row, total in totals.items()), "pass")


def _places(run: Run, k: int) -> Dict[str, str]:
    """Where the k-th step backwards from step t reads and writes."""
    states, x, t = run.trace.states, run.row(f"t - {k}"), f"t - {k}"
    found = {"x": f"x[{x}, lo:hi]", "gx": f"gx[{x}, lo:hi]", "g": f"g[{t}, lo:hi]"}
    found.update({f"r_{s}": f"rec_{s}[{t}, lo:hi]" for s in run.recorded})
    found.update({f"s_{s}": f"all_{s}[i - {k}]" for s in states})
    found.update({f"a_{s}": f"all_{s}[i + 1 - {k}]" for s in states})
    return found

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
from spikecore.kernels.emit import Source, constant_lines, copied, needs_of, param_loads, spelled, value_of
from spikecore.kernels.form import CONSTANT
from spikecore.kernels.tiles import VECTOR
from spikecore.kernels.trace import Trace

NUMBERS = "steps", "count", "chunk", "option"  # with which a kernel's table begins
TILES = "product", "by_rows", "by_weight"  # addresses of functions (tiles.py) that multiply spikes
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
        outs: 0, outputs are spikes; else they are products of the spikes with a matrix of so many rows, ``weight``,
            plus ``bias``. Then a chunk is some whole rows of ``inner`` neurons, and their spikes are in ``spikes`` for
            a moment.
    """

    trace: Trace
    rows: Tuple[str, ...]
    recorded: Tuple[str, ...]
    outs: int = 0

    def begin(self, name: str, arrays: Sequence[str]) -> Source:
        """The head of a kernel: its arguments, and the chunks that are this worker's."""
        source, params = Source(), [f"p_{p}" for p in self.trace.params]
        numbers = (*NUMBERS, "inner", "wide", "parts", *TILES) if self.outs else NUMBERS
        source.add(0, f"def {name}(worker, workers, table):")
        source.add(1, *(f"{number} = table[{i}]" for i, number in enumerate(numbers)))
        behind = ["weight", *(["bias"] if name == "forward" else []), "spikes"] if self.outs else []
        for i, array in enumerate(("x", *params, "constants", *arrays, *behind)):
            at = len(numbers) + 2 * i
            source.add(1, f"{array}, step_{array} = table[{at}], table[{at + 1}]")
        source.add(1, *(f"p_{p} = row(p_{p})[0]" for p in self.trace.params if p not in self.rows))
        source.add(1, "fixed = row(constants)", *constant_lines(self.trace.program, "fixed"))
        source.add(1, "chunks = (count + chunk - 1) // chunk")
        border = "{} * parts // workers * chunks // parts" if self.outs else "{} * chunks // workers"
        source.add(1, f"for own in range({border.format('worker')}, {border.format('(worker + 1)')}):")
        source.add(2, "lo = own * chunk", "width = min(chunk, count - lo)")
        source.add(2, *(f"row_p_{p} = {row(f'p_{p}')}" for p in self.rows))
        if self.outs:
            source.add(2, "rows_done, rows_before = width // inner, lo // inner")
            source.add(2, *(f"spikes_{k} = spikes + (worker * step_spikes + {k} * chunk) * SIZE" for k in range(PAIR)))
        return source

    def spikes(self, k: int, otherwise: str) -> str:
        """Where the spikes of the k-th step at once are, or the gradients by them."""
        return f"row(spikes_{k})" if self.outs else otherwise

    def narrow(self, array: str, t: str) -> str:
        """The address of the chunk's part of row ``t`` of products, or of the gradients by them."""
        return f"{array} + (({t}) * step_{array} + rows_before * {self.outs}) * SIZE"

    def params(self, source: Source, depth: int, leaves: Any) -> Dict[Any, str]:
        """Read parameters and constants; what their values are called."""
        known, loads = {}, param_loads(self.trace, self.rows)
        for name, value in self.trace.program.inputs.items():
            if name in loads and value in leaves:
                source.add(depth, f"v{value} = {loads[name]}")
                known[value] = f"v{value}"
        return known


class Wanted(NamedTuple):
    """Which gradients a backward kernel makes, besides those by the first states.

    Args:
        x: how that by the input is wanted: "" not at all, "rows" for each step, "sum" over all steps.
        params: the parameters whose gradients are; each gets one sum over time per neuron.
        weight: whether those by the matrix behind the neuron and by its bias are; each part, some chunks, gets one of
            its size.
    """

    x: str
    params: Tuple[str, ...]
    weight: bool = False


def row(array: str, t: str = "") -> str:
    """The chunk's part of row ``t`` of an array over time, or of an array with one value per neuron."""
    return f"row({array} + (({t}) * step_{array} + lo) * SIZE)" if t else f"row({array} + lo * SIZE)"


def first_row(array: str) -> str:
    """The chunk's part of one value per neuron, or of a row that repeats: a chunk, the same for all."""
    return f"row({array} + lo * step_{array} * SIZE)"


def forward_source(run: Run) -> str:
    """The forward kernel.

    ``now_<state>`` are in the end the states after the last step. ``kept_<state>``, written if ``option`` is not zero,
    has a row for each block of ``EVERY`` steps: the state before it.
    """
    states = run.trace.states
    arrays = *(f"init_{s}" for s in states), "out", *(f"rec_{s}" for s in run.recorded)
    source = run.begin("forward", (*arrays, *(f"now_{s}" for s in states), *(f"kept_{s}" for s in states)))
    for s in states:
        source.add(2, f"row_now_{s} = {row(f'now_{s}')}", f"row_init_{s} = {first_row(f'init_{s}')}")
        source.add(2, *copied(f"row_now_{s}", f"row_init_{s}[j]"))
    source.add(2, "for begin in range(0, steps, EVERY):", "    length = min(EVERY, steps - begin)")
    source.add(3, "if option != 0:", "    pass")
    for s in states:
        source.add(4, f"row_kept_{s} = {row(f'kept_{s}', 'begin // EVERY')}")
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
        source.add(4, f"row_{k}_x = {row('x', f't + {k}')}", f"row_{k}_out = {run.spikes(k, row('out', f't + {k}'))}")
        source.add(4, *(f"row_{k}_r_{s} = {row(f'rec_{s}', f't + {k}')}" for s in run.recorded))
    source.add(4, "for j in range(width):")
    ops, leaves = trace.program.needed([trace.output, *trace.after])
    known, current = run.params(source, 5, leaves), {f"s_{s}": f"row_now_{s}[j]" for s in trace.states}
    for k in range(n):
        name = _named(source, 5, k, {**current, "x": f"row_{k}_x[j]"}, inputs, known)
        source.add(5, *(spelled(op, name) for op in ops), f"row_{k}_out[j] = {name(trace.output)}")
        current = _after(trace, name)
        source.add(5, *(f"row_{k}_r_{s}[j] = {current[f's_{s}']}" for s in run.recorded))
    source.add(5, *(f"row_now_{s}[j] = {current[f's_{s}']}" for s in trace.states))
    for k in range(n if run.outs else 0):
        place = run.narrow("out", f"t + {k}")
        source.add(4, f"call(product, spikes_{k}, weight, bias, {place}, rows_done, inner, wide)")


def _after(trace: Trace, name: Names) -> Dict[str, str]:
    """The states after a step, as the next one begins with them: numbers, even if they were made by comparing."""
    kinds = trace.program.kinds
    texts = ((s, name(v), kinds[v] == "bool") for s, v in zip(trace.states, trace.after))
    return {f"s_{s}": f"F({text})" if compared else text for s, text, compared in texts}


def _named(
    source: Source, depth: int, k: int, reads: Dict[str, str], values: Dict[str, int], known: Dict[Any, str]
) -> Names:
    """Read what the k-th step begins with; the names of all its values."""
    source.add(depth, *(f"{name}_{k} = {text}" for name, text in reads.items()))
    return Names(k, {**known, **{values[name]: f"{name}_{k}" for name in reads}})


def backward_source(run: Run, found: Adjoint, wanted: Wanted) -> str:
    """The backward kernel: from the last block of ``EVERY`` steps to the first, each forwards for its states, and back.

    ``last_<state>`` are the gradients by the last states, ``now_<state>`` in the end those by the first. Each worker
    has a row of ``scratch``, in it for each state EVERY + 1 chunks, and before them room for a block's gradient by the
    weight: a sum over many steps would lose digits if one step after the other were added to it. ``option`` is the
    window of truncated BPTT, or zero. ``found`` is the derivative of the step.
    """
    states = run.trace.states
    over_time = "g", *(f"rec_{s}" for s in run.recorded), *(f"kept_{s}" for s in states)
    arrays = *over_time, "scratch", *(f"last_{s}" for s in states)
    outs = *(f"now_{s}" for s in states), "gx", *(f"gp_{p}" for p in wanted.params)
    source = run.begin("backward", (*arrays, *outs, *(["gw"] if wanted.weight else [])))
    source.add(2, "room = scratch + worker * step_scratch * SIZE")
    if wanted.weight:
        source.add(2, f"recent, size = room, {run.outs} * wide + {VECTOR}")
        source.add(2, "some, room = row(recent), room + size * SIZE")
    source.add(2, *(f"all_{s} = room + {i} * (EVERY + 1) * chunk * SIZE" for i, s in enumerate(states)))
    for s in states:
        source.add(2, f"row_now_{s} = {row(f'now_{s}')}", f"row_last_{s} = {first_row(f'last_{s}')}")
        source.add(2, *copied(f"row_now_{s}", f"row_last_{s}[j]"))
    sums = {f"sum_{p}": f"gp_{p}" for p in wanted.params}
    for total, array in {**({"sum_": "gx"} if wanted.x == "sum" else {}), **sums}.items():
        source.add(2, f"{total} = {row(array)}", *copied(total, "F(0.0)"))
    if wanted.weight:
        source.add(2, "part = ((own + 1) * parts - 1) // chunks", "sums = row(gw + part * step_gw * SIZE)")
        source.add(2, "if own == part * chunks // parts:", "    for j in range(size):", "        sums[j] = F(0.0)")
    source.add(2, "for begin in range((steps - 1) // EVERY * EVERY, -1, -EVERY):")
    source.add(3, "length = min(EVERY, steps - begin)")
    for s in states:
        source.add(3, f"first_{s} = {_state(s, '0')}", f"row_kept_{s} = {row(f'kept_{s}', 'begin // EVERY')}")
        source.add(3, *copied(f"first_{s}", f"row_kept_{s}[j]"))
    if wanted.weight:
        source.add(3, "for j in range(size):", "    some[j] = F(0.0)")
    _states_again(source, run)
    source.add(3, "paired = 0 if option > 0 else length - length % 2")
    source.add(3, "for i in range(length - 1, paired - 1, -1):", "    t = begin + i")
    _steps_back(source, run, found, wanted, 1)
    source.add(3, "for i in range(paired - 1, 0, -2):", "    t = begin + i")
    _steps_back(source, run, found, wanted, PAIR)
    if wanted.weight:
        source.add(3, "for j in range(size):", "    sums[j] += some[j]")
    return source.text()


def _state(state: str, i: str) -> str:
    """A state before step ``i`` of a block, in scratch memory."""
    return f"row(all_{state} + ({i}) * chunk * SIZE)"


def _states_again(source: Source, run: Run) -> None:
    """The states after all steps of a block, two at once.

    If the number of steps is odd, a step too many is done, with the last step's input: nobody reads its state.
    """
    trace, inputs = run.trace, run.trace.program.inputs
    ops, leaves = trace.program.needed(trace.after)
    source.add(3, "for i in range(0, length, 2):", f"    row_0_x = {row('x', 'begin + i')}")
    source.add(4, f"row_1_x = {row('x', 'min(begin + i + 1, steps - 1)')}")
    source.add(4, *(f"row_{k}_s_{s} = {_state(s, f'i + {k}')}" for s in trace.states for k in range(PAIR + 1)))
    source.add(4, "for j in range(width):")
    known, current = run.params(source, 5, leaves), {f"s_{s}": f"row_0_s_{s}[j]" for s in trace.states}
    for k in range(PAIR):
        name = _named(source, 5, k, {**current, "x": f"row_{k}_x[j]"}, inputs, known)
        current = _after(trace, name)
        source.add(5, *(spelled(op, name) for op in ops))
        source.add(5, *(f"row_{k + 1}_s_{s}[j] = {current[f's_{s}']}" for s in trace.states))


def _steps_back(source: Source, run: Run, found: Adjoint, wanted: Wanted, n: int) -> None:
    """Some steps backwards from step t, the block's step i. Single ones cut the gradient at a window's border."""
    trace, inputs = run.trace, run.trace.program.inputs
    results, ops, leaves = needs_of(trace, found, bool(wanted.x), wanted.params, output=wanted.weight)
    values = {**{f"a_{s}": v for s, v in zip(trace.states, trace.after)}, **inputs}
    reads = [read for read, v in values.items() if v in leaves and read[:2] not in ("p_", "c_", CONSTANT)]
    for k in range(n):
        places = _places(run, k)
        touched = {*reads, *(["gx"] if wanted.x == "rows" else []), *(["g"] if run.outs else [])}
        source.add(4, *(f"row_{k}_{a} = {places[a]}" for a in sorted(touched)))
    sums = {
        **({"sum_": results["x"]} if wanted.x == "sum" else {}),
        **{f"sum_{p}": results[f"p_{p}"] for p in wanted.params},
    }
    for k in range(n if run.outs else 0):
        source.add(4, f"call(by_rows, {run.narrow('g', f't - {k}')}, weight, spikes_{k}, rows_done, inner, wide)")
    if n == 1:
        source.add(4, "cut = option > 0 and t > 0 and t % option == 0")
    source.add(4, "for j in range(width):")
    known, totals = run.params(source, 5, leaves), {total: f"{total}[j]" for total in sums}
    carried = {f"c_{s}": f"row_now_{s}[j]" for s in trace.states}
    for k in range(n):
        name = _named(source, 5, k, {**{read: f"row_{k}_{read}[j]" for read in reads}, **carried}, values, known)
        source.add(5, *(spelled(op, name) for op in ops))
        totals = {total: f"{text} + {name(sums[total])}" for total, text in totals.items()}
        if wanted.x == "rows":
            source.add(5, f"row_{k}_gx[j] = {name(results['x'])}")
        if wanted.weight:  # the gradients by them have been read
            source.add(5, f"row_{k}_g[j] = {name(trace.output)}")
        carried = {f"c_{s}": name(results[f"s_{s}"]) for s in trace.states}
    stop = "F(0.0) if cut else " if n == 1 else ""
    source.add(5, *(f"row_now_{s}[j] = {stop}{carried[f'c_{s}']}" for s in trace.states))
    source.add(5, *(f"{total}[j] = {text}" for total, text in totals.items()), "pass")
    for k in range(n if wanted.weight else 0):
        source.add(4, f"call(by_weight, {run.narrow('g', f't - {k}')}, spikes_{k}, recent, rows_done, inner, wide)")


def _places(run: Run, k: int) -> Dict[str, str]:
    """Where the k-th step backwards from step t reads and writes."""
    found = {a: row(a, f"t - {k}") for a in ("x", "gx")}
    found["g"] = run.spikes(k, row("g", f"t - {k}"))
    found.update({f"r_{s}": row(f"rec_{s}", f"t - {k}") for s in run.recorded})
    found.update({f"s_{s}": _state(s, f"i - {k}") for s in run.trace.states})
    found.update({f"a_{s}": _state(s, f"i + 1 - {k}") for s in run.trace.states})
    return found

"""Whole runs over time as Python source for Numba: a loop over chunks of neurons, in it time, innermost the neurons.

The forward kernel of ``sc.Leaky(beta=0.9)``, whose graph is at the head of ``api/core/graph.py``::

    def forward(worker, workers, table):                    # one of several threads
        steps = table[0]                                    # the table: some numbers, then for each array its address
        x, step_x = table[4], table[5]                      # and the distance of its rows; 0 if all are the same one
        k_0 = fixed[0]                                      # beta
        for own in range(worker * chunks // workers, (worker + 1) * chunks // workers):
            lo = own * chunk                                # the chunk's first neuron
            for begin in range(0, steps, EVERY):            # a block of steps
                for t in range(begin, begin + length - 1, 2):        # two steps at once, with _0 and _1 at names
                    row_0_x = row(x + ((t + 0) * step_x + lo) * SIZE)
                    for j in range(width):                  # the chunk's neurons
                        v21 = k_0
                        s_0_0 = row_now_0[j]                # the state: numbered 0
                        v2_0 = s_0_0 > F(1.0)               # v2 = greater(v0, 1.0)
                        v4_0 = v21 * s_0_0
                        row_0_out[j] = v9_0                 # the spike
                        s_0_1 = v7_0                        # the state goes on to step 1 in a register
                        row_now_0[j] = v7_1

A layer (batch, ...) is one long row of neurons, which a kernel takes in chunks (``Sink.chunk_of``). Along this row the
values of a parameter of shape (features,) repeat after ``features`` neurons: its *period*.

A chunk's states stay in cache for all of its time steps. The way back needs all of them: the forward kernel keeps those
before every block of ``EVERY`` steps, and the backward kernel computes the others again, block by block, in scratch
memory that fits the cache however long the sequence is.

If main memory is fast enough, most of the time goes into loading states from the cache and storing them there. So the
innermost loops do two steps at once, and states and gradients pass from one to the other in registers.

A ``Sink`` (``sinks.py``) says where spikes go and where their gradients come from. The plain one stores and reads rows:
at a first reading, ``sink.spikes`` does that, ``sink.first_chunk`` is a worker's first chunk, others do nothing.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

from spikecore.api.core.graph import BOOL, Value
from spikecore.kernels.emit import Source, constant_lines, filled, loads_of, row_code, spelled, value_of
from spikecore.kernels.form import CONSTANT, Step
from spikecore.kernels.sinks import PAIR, Sink

#: A kernel's table begins with them: time steps, neurons, neurons of a chunk; ``option`` is forwards whether states are
#: kept, and backwards the window of truncated BPTT, or 0.
NUMBERS = "steps", "count", "chunk", "option"


class _Run(Source):
    """The source of a kernel for one step and one sink."""

    def __init__(self, step: Step, sink: Sink, back: bool, arrays: Sequence[str]) -> None:
        super().__init__()
        self.step, self.trace, self.sink = step, step.trace, sink
        numbers = (*NUMBERS, *sink.numbers)
        self.add(0, f"def {'backward' if back else 'forward'}(worker, workers, table):")
        self.add(1, *(f"{number} = table[{i}]" for i, number in enumerate(numbers)))
        params = (f"p_{p}" for p in self.trace.params)
        for i, array in enumerate(("x", *params, "constants", *arrays, *sink.behind(back))):
            at = len(numbers) + 2 * i
            place = f"at_{array}" if array in step.scalars else array  # a name has one type, so that LLVM compiles it
            self.add(1, f"{place}, step_{array} = table[{at}], table[{at + 1}]")
        self.add(1, *(f"{p} = row(at_{p})[0]" for p in step.scalars))
        self.add(1, "fixed = row(constants)", *constant_lines(self.trace.graph, "fixed"))
        self.add(1, "chunks = (count + chunk - 1) // chunk")
        first, first_of_next = (sink.first_chunk.format(worker=w) for w in ("worker", "(worker + 1)"))
        self.add(1, f"for own in range({first}, {first_of_next}):", "    lo = own * chunk")
        self.add(2, "width = min(chunk, count - lo)")
        # a parameter is one row of neurons (step 0), or repeated periods (step: their length): ``SequenceNumba.given``
        for p in step.rows:
            self.add(2, f"row_p_{p} = row(p_{p} + (lo % step_p_{p} if step_p_{p} != 0 else lo) * SIZE)")

    def begin(self, now: str, first: str) -> None:
        """Code that copies a chunk of all states from one group of arrays to another, e.g. from init_0 to now_0.

        Args:
            now, first: the beginnings of the arrays' names, of those that are written and of those that are read.
        """
        # the step is here the distance of elements: 1 in a row of neurons, 0 for a chunk of zeros that all chunks read:
        # ``SequenceNumba.first``
        for s in self.trace.states:
            self.add(2, f"row_{now}_{s} = {self.sink.row(f'{now}_{s}')}")
            self.add(2, f"row_{first}_{s} = row({first}_{s} + lo * step_{first}_{s} * SIZE)")
            self.add(2, *filled(f"row_{now}_{s}", f"row_{first}_{s}[j]"))

    def loop(self, leaves: Any) -> Dict[Any, str]:
        """Code: the head of a loop over neurons, which reads parameters and constants.

        Returns:
            the names of the variables that hold them, by the graph's values.
        """
        self.add(4, "for j in range(width):")
        places = {f"p_{p}": f"row_p_{p}[j]" if p in self.step.rows else f"p_{p}" for p in self.trace.params}
        loads = loads_of(self.trace.graph, leaves, places)
        self.add(5, *(f"{value} = {place}" for value, place in loads.items()))
        return {value: str(value) for value in loads}

    def names(
        self, k: int, reads: Dict[str, str], values: Dict[str, Value], known: Dict[Any, str]
    ) -> Callable[..., str]:
        """Code that reads the inputs of the k-th of some steps.

        Args:
            k: the number of the step among those of the loop; its variables end in ``_k``.
            reads: where each input stands, by its name, e.g. {"x": "row_0_x[j]"}.
            values: the graph's inputs by name.
            known: the result of ``loop``.

        Returns:
            a function that gives the variable's name for a value of the graph, and the text of a number.
        """
        self.add(5, *(f"{name}_{k} = {text}" for name, text in reads.items()))
        names = {**known, **{values[name]: f"{name}_{k}" for name in reads}}
        return lambda value: names.get(value, f"{value}_{k}") if type(value) is Value else value_of(value)

    def after(self, name: Callable[..., str]) -> Dict[str, str]:
        """The states as the ``reads`` of the next step, given the ``name`` of this one's variables: numbers, even where
        a comparison has made them.
        """
        kinds = self.trace.graph.types
        texts = ((s, name(v), kinds[v.number] == BOOL) for s, v in zip(self.trace.states, self.trace.after))
        return {f"s_{s}": f"F({text})" if compared else text for s, text, compared in texts}


def forward_source(step: Step, sink: Sink) -> str:
    """The forward kernel.

    ``now_<state>`` are in the end the states after the last step. ``kept_<state>``, written if ``option`` is not zero,
    has a row for each block of ``EVERY`` steps: the state before it.
    """
    states = step.trace.states
    arrays = *(f"init_{s}" for s in states), "out", *(f"rec_{s}" for s in step.recorded)
    run = _Run(step, sink, False, (*arrays, *(f"now_{s}" for s in states), *(f"kept_{s}" for s in states)))
    run.add(2, *sink.chunk(False))
    run.begin("now", "init")
    run.add(2, "for begin in range(0, steps, EVERY):", "    length = min(EVERY, steps - begin)")
    run.add(3, "if option != 0:", "    pass")
    for s in states:
        run.add(4, f"row_kept_{s} = {row_code(f'kept_{s}', 'begin // EVERY')}")
        run.add(4, *filled(f"row_kept_{s}", f"row_now_{s}[j]"))
    run.add(3, "for t in range(begin, begin + length - 1, 2):")
    _steps(run, PAIR)
    run.add(3, "if length % 2 == 1:", "    t = begin + length - 1")
    _steps(run, 1)
    run.add(1, *sink.end(states))
    return run.text()


def _steps(run: _Run, n: int) -> None:
    """Some steps forwards from step t."""
    trace, sink, at = run.trace, run.sink, [f"t + {k}" for k in range(n)]
    for k, t in enumerate(at):
        run.add(4, f"row_{k}_x = {row_code('x', t)}", f"row_{k}_out = {sink.spikes('out', k, t)}")
        run.add(4, *(f"row_{k}_r_{s} = {sink.row(f'rec_{s}', k, t)}" for s in run.step.recorded))
    if n == PAIR:  # next come two steps more, or the next chunk
        run.add(4, *sink.ahead("x", "t + 2 if t + 2 < steps else 0", "lo if t + 2 < steps else lo + chunk"))
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    known, current = run.loop(leaves), {f"s_{s}": f"row_now_{s}[j]" for s in trace.states}
    for k in range(n):
        name = run.names(k, {**current, "x": f"row_{k}_x[j]"}, trace.graph.inputs, known)
        run.add(5, *(spelled(op, name) for op in ops), f"row_{k}_out[j] = {name(trace.output)}")
        current = run.after(name)
        run.add(5, *(f"row_{k}_r_{s}[j] = {current[f's_{s}']}" for s in run.step.recorded))
    run.add(5, *(f"row_now_{s}[j] = {current[f's_{s}']}" for s in trace.states))
    run.add(4, *sink.written(["out", *(f"rec_{s}" for s in run.step.recorded)], at))
    for k, t in enumerate(at):
        run.add(4, *sink.made(k, t))


def backward_source(step: Step, sink: Sink, by_x: str, by_params: Tuple[str, ...]) -> str:
    """The backward kernel: from the last block of ``EVERY`` steps to the first, each forwards for its states, and back.

    ``last_<state>`` are the gradients by the last states, ``now_<state>`` in the end those by the first. Each worker
    has a row of ``scratch``: the sink's room, for each state EVERY + 1 chunks, for each parameter a chunk of sums.

    Args:
        step, sink: see ``Step`` and ``Sink``.
        by_x: how the gradient by the input is wanted: "" not at all, "rows" for each step, "sum" over all steps.
        by_params: the parameters whose gradients are, by index; each gets one sum over time per neuron, or, if its
            array has rows of a period, such a row for each chunk.
    """
    states = step.trace.states
    over_time = "g", *(f"rec_{s}" for s in step.recorded), *(f"kept_{s}" for s in states)
    arrays = *over_time, "scratch", *(f"last_{s}" for s in states)
    run = _Run(step, sink, True, (*arrays, *(f"now_{s}" for s in states), "gx", *(f"gp_{p}" for p in by_params)))
    run.add(2, "room = scratch + worker * step_scratch * SIZE", *sink.chunk(True))
    run.add(2, *(f"all_{s} = room + {i} * (EVERY + 1) * chunk * SIZE" for i, s in enumerate(states)))
    run.begin("now", "last")
    if by_x == "sum":
        run.add(2, f"sum_ = {row_code('gx')}", *filled("sum_", "F(0.0)"))
    for i, p in enumerate(by_params):  # step != 0: gp_ has a row, a period, per chunk, folded at the end from scratch
        in_scratch = f"room + ({len(states)} * (EVERY + 1) + {i}) * chunk * SIZE"
        run.add(
            2, f"sum_{p} = row({in_scratch} if step_gp_{p} != 0 else gp_{p} + lo * SIZE)", *filled(f"sum_{p}", "F(0.0)")
        )
    run.add(2, "last = (steps - 1) // EVERY * EVERY", "for begin in range(last, -1, -EVERY):")
    run.add(3, "length = min(EVERY, steps - begin)", *sink.block())
    # of a single block nothing is kept: ``kept`` is then the first state, or, with step 0, the chunk of zeros
    for s in states:
        run.add(3, f"first_{s} = {_state(s, '0')}")
        run.add(3, f"row_kept_{s} = {row_code(f'kept_{s}', 'begin // EVERY')} if step_kept_{s} != 0 else row(kept_{s})")
        run.add(3, *filled(f"first_{s}", f"row_kept_{s}[j]"))
    _states_again(run)
    # with a window, steps go one by one, since a border may lie between two; else an odd number's last one alone
    run.add(3, "paired = 0 if option > 0 else length - length % 2")
    run.add(3, "for i in range(length - 1, paired - 1, -1):", "    t = begin + i")
    _steps_back(run, by_x, by_params, 1)
    run.add(3, "for i in range(paired - 1, 0, -2):", "    t = begin + i")
    _steps_back(run, by_x, by_params, PAIR)
    run.add(3, *sink.block_end())
    for p in by_params:
        run.add(2, *_folded(f"sum_{p}", f"gp_{p}"))
    run.add(1, *sink.end(states))
    return run.text()


def _folded(sums: str, array: str) -> List[str]:
    """Code that adds up a chunk's sums, one per neuron, into its period, if the array has such a row for each chunk."""
    return [
        f"period = step_{array}",
        "if period != 0:",
        f"    folded, place, done = row({array} + own * period * SIZE), lo % period, 0",
        *(f"    {line}" for line in filled("folded", "F(0.0)", "period")),
        "    while done < width:",
        "        length = min(period - place, width - done)",
        "        for j in range(length):",
        f"            folded[place + j] += {sums}[done + j]",
        "        place, done = 0, done + length",
    ]


def _state(state: str, i: str) -> str:
    """A state before step ``i`` of a block, in scratch memory."""
    return f"row(all_{state} + ({i}) * chunk * SIZE)"


def _states_again(run: _Run) -> None:
    """The states after all steps of a block, two at once.

    If the number of steps is odd, a step too many is done, with the last step's input: nobody reads its state.
    """
    trace = run.trace
    ops, leaves = trace.graph.needed(trace.after)
    run.add(3, "for i in range(0, length, 2):", f"    row_0_x = {row_code('x', 'begin + i')}")
    run.add(4, f"row_1_x = {row_code('x', 'min(begin + i + 1, steps - 1)')}")
    run.add(4, *(f"row_{k}_s_{s} = {_state(s, f'i + {k}')}" for s in trace.states for k in range(PAIR + 1)))
    run.add(4, *run.sink.ahead("g", "begin + i"))
    known, current = run.loop(leaves), {f"s_{s}": f"row_0_s_{s}[j]" for s in trace.states}
    for k in range(PAIR):
        name = run.names(k, {**current, "x": f"row_{k}_x[j]"}, trace.graph.inputs, known)
        current = run.after(name)
        run.add(5, *(spelled(op, name) for op in ops))
        run.add(5, *(f"row_{k + 1}_s_{s}[j] = {current[f's_{s}']}" for s in trace.states))


def _steps_back(run: _Run, by_x: str, by_params: Tuple[str, ...], n: int) -> None:
    """Some steps backwards from step t, the block's step i. Single ones cut the gradient at a window's border."""
    trace, sink, at = run.trace, run.sink, [f"t - {k}" for k in range(n)]
    results, ops, leaves = run.step.way_back(bool(by_x), by_params, output=sink.remakes)
    values = {**run.step.known, **trace.graph.inputs}
    reads = [read for read, v in values.items() if v in leaves and read[:2] not in ("p_", "c_", CONSTANT)]
    touched = sorted({*reads, "g", *(["gx"] if by_x == "rows" else [])})
    for k, t in enumerate(at):
        run.add(4, *(f"row_{k}_{array} = {_place(sink, array, k, t)}" for array in touched), *sink.gradients(k, t))
    before = f"t - {n - 1} + (last if begin == 0 else -EVERY)"  # the block before, or the last one of the next chunk
    run.add(4, *sink.ahead("x", before, "lo + chunk if begin == 0 else lo", n))
    if n == 1:
        run.add(4, "cut = option > 0 and t > 0 and t % option == 0")
    # what is summed over time: the array of the sums, and the gradient that is added
    sums = {**({"sum_": "x"} if by_x == "sum" else {}), **{f"sum_{p}": f"p_{p}" for p in by_params}}
    known, totals = run.loop(leaves), {total: f"{total}[j]" for total in sums}
    carried = {f"c_{s}": f"row_now_{s}[j]" for s in trace.states}
    for k in range(n):
        name = run.names(k, {**{read: f"row_{k}_{read}[j]" for read in reads}, **carried}, values, known)
        run.add(5, *(spelled(op, name) for op in ops))
        totals = {total: f"{text} + {name(results[sums[total]])}" for total, text in totals.items()}
        stores = {"gx": results["x"]} if by_x == "rows" else {}
        if sink.remakes:  # spikes in place of the gradients by them, which have been read
            stores["g"] = trace.output
        run.add(5, *(f"row_{k}_{array}[j] = {name(value)}" for array, value in stores.items()))
        carried = {f"c_{s}": name(results[f"s_{s}"]) for s in trace.states}
    stop = "F(0.0) if cut else " if n == 1 else ""
    run.add(5, *(f"row_now_{s}[j] = {stop}{carried[f'c_{s}']}" for s in trace.states))
    run.add(5, *(f"{total}[j] = {text}" for total, text in totals.items()), "pass")  # if there is nothing to do
    run.add(4, *sink.written(["gx"] if by_x == "rows" else [], at))
    for k, t in enumerate(at):
        run.add(4, *sink.remade(k, t))


def _place(sink: Sink, array: str, k: int, t: str) -> str:
    """The place that the k-th step backwards, step t of the run, reads or writes."""
    kind, state = array[:2], array[2:]
    if kind in ("s_", "a_"):
        return _state(state, f"i - {k}" if kind == "s_" else f"i + 1 - {k}")
    code = row_code(f"rec_{state}", t) if kind == "r_" else sink.row(array, k, t)
    return sink.spikes("g", k, t) if array == "g" else code

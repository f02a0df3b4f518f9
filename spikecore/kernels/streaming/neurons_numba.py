"""A neuron's step as Numba source: over blocks of neurons, of which those that sleep are left out.

A block sleeps if nothing arrives at it and all its neurons are in their quiet box (``quiet.py``), where they cannot
fire. When something arrives, or when somebody asks for the states, the missed steps are done, by the same operations
one after the other: the bits are those of a run that leaves nothing out. Where a step changes nothing, the rest of them
is left out.

The code of ``sc.Leaky(beta=0.9)``::

    def layer(address):
        for b in range(blocks):
            if settling == 0 and awake[b] == 0 and touched[b] == 0:      # it sleeps
                continue
            for _ in range(now - reached[b]):                            # steps that it has missed, without input
                for j in range(width):
                    v1 = row_idle[j]
            for j in range(width):                                       # this step
                v0 = row_s_0[j]
                v1 = row_x[j]
                v2 = v0 > F(1.0)
                row_out[j] = v9
                row_s_0[j] = v7
            for j in range(width):                                       # neurons that are not in their box
                restless += 0 if row_lo_0[j] <= row_s_0[j] <= row_hi_0[j] else 1
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from spikecore.api.core.graph import BOOL
from spikecore.kernels.emit import Source, constant_lines, loads_of, spelled, value_of
from spikecore.kernels.form import Step

#: A table begins with the signals that a step reads and writes, the numbers of neurons and blocks, whether states are
#: only to be brought up to date, and the addresses of the clock, of the steps that each block has done and of how many
#: of its neurons are awake.
HEAD, SETTLING = 8, 4


def arrays_of_neuron(step: Step, fed: bool, sleeps: bool) -> List[str]:
    """The arrays whose addresses follow the head of a table, by name."""
    states = step.trace.states
    borders = [f"{border}_{s}" for s in states for border in ("lo", "hi")] if sleeps else []
    return [
        *(f"p_{p}" for p in step.trace.params),
        "constants",
        *(f"s_{s}" for s in states),
        *(["fed"] if fed else []),
        *borders,
    ]


def neuron_source(step: Step, fed: bool, sleeps: bool) -> str:
    """The code of a neuron's step.

    Args:
        step: the step.
        fed: whether the first state is read from the array ``fed``: there, a recurrence leaves the product of the last
            spikes. What is written is the spikes.
        sleeps: whether blocks may sleep; their quiet boxes are ``lo_<state>`` and ``hi_<state>``.
    """
    trace, source = step.trace, Source()
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    arrays = arrays_of_neuron(step, fed, sleeps)
    source.add(0, "def layer(address):", "    table = integers(address)")
    source.add(1, "source, target, count, blocks = integers(table[0]), integers(table[1]), table[2], table[3]")
    source.add(
        1, "settling, now, reached, awake = table[4], integers(table[5])[0], integers(table[6]), integers(table[7])"
    )
    source.add(1, *(f"all_{name} = table[{HEAD + i}]" for i, name in enumerate(arrays)))
    source.add(1, *(f"{p} = row(all_{p})[0]" for p in step.scalars))
    source.add(1, "fixed = row(all_constants)", *constant_lines(trace.graph, "fixed"))
    source.add(1, "touched = integers(source[TOUCHED])", "if settling == 0:", "    clear(table[1])")
    source.add(1, "for b in range(blocks):")
    if sleeps:
        source.add(2, "if settling == 0 and awake[b] == 0 and touched[b] == 0:", "    continue")
    source.add(2, "first = b * BLOCK * SIZE", "width = min(BLOCK, count - b * BLOCK)")
    source.add(2, "row_x, row_out = row(source[VALUE] + first), row(target[VALUE] + first)")
    rows = [name for name in arrays if name != "constants" and name not in step.scalars]
    source.add(2, *(f"row_{name} = row(all_{name} + first)" for name in rows))

    def loop(depth: int, x: str) -> Callable[[Any], str]:
        """A loop over neurons that computes a step from the input ``x``; what its values are called."""
        places: Dict[str, str] = {"x": f"{x}[j]"}
        places.update({f"p_{p}": f"row_p_{p}[j]" if p in step.rows else f"p_{p}" for p in trace.params})
        places.update({f"s_{s}": f"row_s_{s}[j]" for s in trace.states})
        if fed:
            places["s_0"] = "row_fed[j]"
        source.add(depth, "for j in range(width):")
        source.add(depth + 1, *(f"{v} = {place}" for v, place in loads_of(trace.graph, leaves, places).items()))
        source.add(depth + 1, *map(spelled, ops))
        return lambda value: f"F({value_of(value)})" if trace.graph.type_of(value) == BOOL else value_of(value)

    if sleeps:
        source.add(2, "row_idle = row(source[IDLE] + first)", "for _ in range(now - reached[b]):", "    changed = 0")
        name = loop(3, "row_idle")
        for s, v in zip(trace.states, trace.after):
            source.add(4, f"changed += 1 if {name(v)} != row_s_{s}[j] else 0")
        source.add(4, *(f"row_s_{s}[j] = {name(v)}" for s, v in zip(trace.states, trace.after)))
        source.add(3, "if changed == 0:", "    break")
        source.add(2, "reached[b] = now + 1 - settling")
    source.add(2, "if settling == 0:", "    fired = restless = 0")
    name = loop(3, "row_x")
    source.add(4, f"row_out[j] = {name(trace.output)}")
    source.add(4, *(f"row_s_{s}[j] = {name(v)}" for s, v in zip(trace.states, trace.after)))
    source.add(3, "for j in range(width):", "    fired += 1 if row_out[j] != F(0.0) else 0")
    source.add(3, "if fired != 0:", "    touch(table[1], b * BLOCK, b * BLOCK + 1)")
    if sleeps:
        for s in trace.states:
            source.add(3, "for j in range(width):")
            source.add(4, f"restless += 0 if row_lo_{s}[j] <= row_s_{s}[j] <= row_hi_{s}[j] else 1")
        source.add(3, "awake[b] = restless")
    source.add(1, "if settling == 0:", "    gather(table[1])")
    return source.text()

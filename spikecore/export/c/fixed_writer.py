"""A quantised network as C99 in fixed point: what ``dtype="fixed"`` writes.

It has a function that turns numbers into the integers that the network takes::

    void net_step(net_state *state, const net_input *in, net_output *out)
    void net_quantise(const float *numbers, net_input *in)
"""

from __future__ import annotations

from typing import List, Mapping, Tuple

from spikecore.export.c.files import INT_CHECKS, SIZES, Pieces, StateField, title
from spikecore.export.c.fixed import Fixed
from spikecore.export.c.fixed_source import FixedSource, rest_of
from spikecore.export.c.fixed_step import FixedStep
from spikecore.export.c.fixed_words import COUNTER, HELPERS, literal
from spikecore.export.c.readme import readme

QUANTISE = """/* The nearest integers that the network takes, halves upwards, and no number beyond its range. */
void {p}_quantise(const float *numbers, {p}_input *in)
{{
    for (int i = 0; i < {P}_INPUTS; ++i) {{
        const {real} n = {number} * {scale} + {half};
        in[i] = {low};
        if (n >= {above}) {{
            in[i] = {high};
        }} else if (n > {below}) {{
            const {kind} whole = ({kind})n;
            in[i] = ({kind})(({real})whole > n ? whole - 1 : whole);
        }}
    }}
}}"""
#: What is said otherwise in the example.
MAIN = {
    "GUARD": "",
    "DECLARATIONS": (
        "static float numbers[{P}_INPUTS];\n"
        "    static {p}_input in[{P}_INPUTS];\n"
        "    static {p}_output out[{P}_OUTPUTS];\n"
        "    static double sum[{P}_OUTPUTS];"
    ),
    "READ": "numbers",
    "        CONVERT\n": "        {p}_quantise(numbers, in);\n",
    "PRINTED": "sum[o] * {P}_OUTPUT_STEP",
    "sum[o] += out[o];": "sum[o] += (double)out[o];",
}
#: What is said otherwise on the page about the network.
USAGE = (
    ("static {p}_state state;", "all memory that the network needs"),
    ("float numbers[{up}_INPUTS];", "{inputs}, row-major"),
    ("{p}_input in[{up}_INPUTS];", "integers times {up}_INPUT_STEP"),
    ("{p}_output out[{up}_OUTPUTS];", "{outputs}: integers times {up}_OUTPUT_STEP"),
    ("", ""),
    ("{p}_reset(&state);", "before each sequence"),
    ("{p}_quantise(numbers, in);", "the only function with floating point; leave it out if integers come in"),
    ("{p}_step(&state, in, out);", "once per time step"),
)
NUMBERS = """## Numbers

It computes in integers alone. Each number is an integer times a power of two.

| | bits | behind the binary point | range |
|---|---|---|---|
FORMATS

Integers from {up}_INPUT_LOWEST to {up}_INPUT_HIGHEST may come in. Then nothing overflows, whatever the input: ranges
follow from the weights. Where a quantiser of the network cuts a number off, `state.saturations` counts it.

"""
EXACT = """\
Every number is that of the model on NumPy in {dtype}, to the bit: nothing is rounded but where the network's quantisers
round."""


def fixed_network(step: FixedStep, prefix: str) -> Tuple[Pieces, str, Mapping[str, str], Tuple[str, ...]]:
    """A step in integers as pieces of C, the page about it, its example, and notes."""
    source = FixedSource(step, prefix)
    net = _pieces(step, source, prefix)
    notes = (
        f"fixed point: equal to the model on NumPy in {step.graph.dtype}, to the bit",
        *step.table().splitlines(),
    )
    return net, _page(net, step, source), MAIN, notes


def _pieces(step: FixedStep, source: FixedSource, prefix: str) -> Pieces:
    graph, plan, body = step.graph, source.plan, source.body()
    states = []
    for index, state in enumerate(graph.states):
        kind = source.type_of(state.before)
        rest = rest_of(step, index).astype(kind[:-2])
        note = f", integers times 2^{-step.formats[state.before].fraction}"
        shape = graph.shapes[state.before][1:]
        states.append(StateField(source.state_names[state.name], state.name, shape, rest, kind, note))
    pools = sorted(plan.memory.pools, key=lambda pool: -int(pool[3:]))
    scratch = [(f"{pool}_t", source.pool_name(pool), plan.memory.pools[pool]) for pool in pools]
    helpers = [HELPERS[name].replace("PREFIX", prefix) for name in source.fixed_words.helpers]
    return Pieces(
        prefix,
        title(graph),
        graph.shapes[graph.x][1:],
        graph.shapes[graph.output][1:],
        states,
        scratch,
        source.tables,
        [*helpers, *source.kernels.functions.values()],
        body,
        input_type=f"{prefix}_input",
        output_type=f"{prefix}_output",
        input_size=SIZES[source.type_of(graph.x)],
        output_size=SIZES[source.type_of(step.tasks.output)],
        counters=[COUNTER],
        checks=INT_CHECKS,
        macros=_macros(step, source, prefix),
        prototypes=[f"void {prefix}_quantise(const float *numbers, {prefix}_input *in);"],
        entries=[_quantise(step, source, prefix)],
    )


def _macros(step: FixedStep, source: FixedSource, prefix: str) -> List[str]:
    up, lines = prefix.upper(), [""]
    for what, value in (("input", step.graph.x), ("output", step.tasks.output)):
        kind = step.formats[value]
        low, high = (literal(end, 64 if kind.width == 64 else 32).text for end in (kind.low, kind.high))
        lines += [
            f"/* {what.capitalize()}s are integers times {up}_{what.upper()}_STEP, which is 2^{-kind.fraction}. */",
            f"typedef {source.type_of(value)} {prefix}_{what};",
            f"#define {up}_{what.upper()}_STEP {2.0**-kind.fraction!r}",
            f"#define {up}_{what.upper()}_FRACTION ({kind.fraction})",
            f"#define {up}_{what.upper()}_LOWEST ({low})",
            f"#define {up}_{what.upper()}_HIGHEST ({high})",
        ]
    return lines


def _quantise(step: FixedStep, source: FixedSource, prefix: str) -> str:
    kind, mark = step.formats[step.graph.x], "f" if step.graph.dtype == "float32" else ""
    return QUANTISE.format(
        p=prefix,
        P=prefix.upper(),
        real="float" if mark else "double",
        number="numbers[i]" if mark else "(double)numbers[i]",
        scale=f"{2.0**kind.fraction!r}{mark}",
        half=f"0.5{mark}",
        low=literal(kind.low).text,
        high=literal(kind.high).text,
        below=f"{float(kind.low)!r}{mark}",
        above=f"{float(kind.high)!r}{mark}",
        kind=source.type_of(step.graph.x),
    )


def _page(net: Pieces, step: FixedStep, source: FixedSource) -> str:
    rows = [
        ("input", step.formats[step.graph.x]),
        *((f"`{f.name}`, {f.dotted}", step.formats[s.before]) for f, s in zip(net.states, step.graph.states)),
        *((f"sums of {task.where}", part) for task, part in step.connections()),
        ("output", step.formats[step.tasks.output]),
    ]
    exact = EXACT.format(dtype=step.graph.dtype)
    return readme(net, source.plan, USAGE, exact, NUMBERS.replace("FORMATS", "\n".join(_format(*row) for row in rows)))


def _format(name: str, kind: Fixed) -> str:
    low, high = kind.span
    return f"| {name} | {kind.width} | {kind.fraction} | {low:g} to {high:g} |"

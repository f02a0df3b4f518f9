"""A quantised network as C99 in fixed point: what ``dtype="fixed"`` writes."""

from __future__ import annotations

from typing import List, Mapping, Tuple

from spikecore.export.c.files import Pieces, StateField, sizes, title
from spikecore.export.c.fixed import Fixed
from spikecore.export.c.fixed_point import FixedStep
from spikecore.export.c.fixed_source import FixedSource, rest_of
from spikecore.export.c.fixed_words import COUNTER, HELPERS, literal
from spikecore.export.c.readme import operations

CHECKS = (
    "#include <limits.h>",
    "",
    "#if INT_MAX < 2147483647",
    '#error "this code is for machines whose int has 32 bits or more"',
    "#endif",
)
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
    "DECLARATIONS": (
        "float numbers[{P}_INPUTS];\n"
        "    {p}_input in[{P}_INPUTS];\n"
        "    {p}_output out[{P}_OUTPUTS];\n"
        "    double sum[{P}_OUTPUTS];"
    ),
    "READ": "numbers",
    "        CONVERT\n": "        {p}_quantise(numbers, in);\n",
    "PRINTED": "sum[o] * {P}_OUTPUT_STEP",
    "sum[o] += out[o];": "sum[o] += (double)out[o];",
}


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
        counters=[COUNTER],
        checks=CHECKS,
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
    formats = [_format(f"`{f.name}`, {f.dotted}", s) for f, s in zip(net.states, _states(step))]
    return PAGE.format(
        p=net.prefix,
        up=net.prefix.upper(),
        title=net.title,
        inputs=sizes(net.input_shape),
        outputs=sizes(net.output_shape),
        state=net.state_bytes,
        scratch=net.scratch_bytes,
        constant=net.constant_bytes,
        dtype=step.graph.dtype,
        formats="\n".join(
            [
                _format("input", step.formats[step.graph.x]),
                *formats,
                *(_format(f"sums of {t.where}", part) for t, part in step.connections()),
                _format("output", step.formats[step.tasks.output]),
            ]
        ),
        rows="\n".join(f"| {layer} | {s:,} | {o:,} |" for layer, (s, o) in operations(source.plan).items()),
    )


def _states(step: FixedStep) -> List[Fixed]:
    return [step.formats[state.before] for state in step.graph.states]


def _format(name: str, kind: Fixed) -> str:
    low, high = kind.span
    return f"| {name} | {kind.width} | {kind.fraction} | {low:g} to {high:g} |"


PAGE = """# {p}

{title}

It computes in integers alone. Each number is an integer times a power of two.

```c
#include "{p}.h"

static {p}_state state;              /* all memory that the network needs */
float numbers[{up}_INPUTS];          /* {inputs}, row-major */
{p}_input in[{up}_INPUTS];           /* integers times {up}_INPUT_STEP */
{p}_output out[{up}_OUTPUTS];        /* {outputs}: integers times {up}_OUTPUT_STEP */

{p}_reset(&state);                   /* before each sequence */
{p}_quantise(numbers, in);           /* the only function with floating point; leave it out if integers come in */
{p}_step(&state, in, out);           /* once per time step */
```

`make` builds an example, `main.c`, which reads numbers on stdin. `make size` shows what the network needs of a machine.

## Numbers

| | bits | behind the binary point | range |
|---|---|---|---|
{formats}

Integers from {up}_INPUT_LOWEST to {up}_INPUT_HIGHEST may come in. Then nothing overflows, whatever the input: ranges
follow from the weights. Where a quantiser of the network cuts a number off, `state.saturations` counts it.

## Memory

| | bytes | macro |
|---|---|---|
| states, which pass from step to step, and the counter | {state:,} | `{up}_STATE_BYTES` |
| scratch of a step | {scratch:,} | `{up}_SCRATCH_BYTES` |
| weights and other tables, in flash | {constant:,} | `{up}_CONSTANT_BYTES` |

`sizeof({p}_state)` is states and scratch together. There is no other memory but the stack, and no `malloc`. Networks
with a state each may run side by side. Code comes on top of the tables: `make size`.

## Operations of a step

| layer | weights added up, at most | other operations |
|---|---|---|
{rows}

Only inputs that are not zero cost anything: of weights that spikes carry, the share that fires.

## How exact it is

Every number is that of the model on NumPy in {dtype}, to the bit: nothing is rounded but where the network's quantisers
round.
"""

"""The page about a network in C: sizes, operations, how to call it, how exact it is."""

from __future__ import annotations

import math
from typing import Dict, Sequence, Tuple

from spikecore.export.c.files import Pieces, sizes
from spikecore.export.c.plan import ProgramPlan
from spikecore.export.c.tasks import Task

#: Lines of C that call a network, and what they do.
USAGE = (
    ("static {p}_state state;", "all memory that the network needs"),
    ("float in[{up}_INPUTS];", "{inputs}, row-major"),
    ("float out[{up}_OUTPUTS];", "{outputs}"),
    ("", ""),
    ("{p}_reset(&state);", "before each sequence"),
    ("{p}_step(&state, in, out);", "once per time step"),
)
EXACT = """\
Each operation is that of the library, in float32 and in the same order of sums; compile without `-ffast-math`, and with
`-ffp-contract=off`, as the Makefile does. Then neurons give the same bits. Two things may differ in the last bit: sums
of real numbers that the library's matrix product adds in another order, and `exp`, `tanh`, `sin`, `cos`, `log`,
`pow` of another C library."""
PAGE = """# {p}

{title}

```c
#include "{p}.h"

{usage}
```

`make` builds an example, `main.c`, which reads numbers on stdin. `make size` shows what the network needs of a machine.

{numbers}## Memory

| | bytes | macro |
|---|---|---|
| states, which pass from step to step | {state:,} | `{up}_STATE_BYTES` |
| scratch of a step | {scratch:,} | `{up}_SCRATCH_BYTES` |
| weights and other tables, in flash | {constant:,} | `{up}_CONSTANT_BYTES` |

`sizeof({p}_state)` is states and scratch together. There is no other memory but the stack, and no `malloc`. Networks
with a state each may run side by side. Code comes on top of the tables: `make size`.

| in `{p}_state` | state | shape |
|---|---|---|
{states}

## Operations of a step

| layer | weights added up, at most | other operations |
|---|---|---|
{rows}

Only inputs that are not zero cost anything: of weights that spikes carry, the share that fires.

## How exact it is

{exact}
"""


def readme(
    net: Pieces, plan: ProgramPlan, usage: Sequence[Tuple[str, str]] = USAGE, exact: str = EXACT, numbers: str = ""
) -> str:
    """The page, in Markdown.

    Args:
        net: the network.
        plan: its step.
        usage: lines of C that call it, and what they do.
        exact: a paragraph about rounding.
        numbers: a section about the numbers that it computes with; default: none.
    """
    fill = {
        "p": net.prefix,
        "up": net.prefix.upper(),
        "inputs": sizes(net.input_shape),
        "outputs": sizes(net.output_shape),
    }
    lines = [(code.format(**fill), what.format(**fill)) for code, what in usage]
    longest = max(len(code) for code, _ in lines)
    return PAGE.format(
        **fill,
        title=net.title,
        usage="\n".join(f"{code:{longest}}  /* {what} */" if code else "" for code, what in lines),
        numbers=numbers.format(**fill),
        state=net.state_bytes,
        scratch=net.scratch_bytes,
        constant=net.constant_bytes,
        rows="\n".join(f"| {layer} | {sums:,} | {others:,} |" for layer, (sums, others) in operations(plan).items()),
        states="\n".join(f"| `{s.name}` | {s.dotted} | {sizes(s.shape)} |" for s in net.states) or "| none | | |",
        exact=exact,
    )


def operations(plan: ProgramPlan) -> Dict[str, Tuple[int, int]]:
    """For each layer: weights that are added up if every input is there, and other operations."""
    found: Dict[str, Tuple[int, int]] = {}
    for stage in plan.stages:
        for task in stage.tasks:
            sums, others = found.get(task.where, (0, 0))
            found[task.where] = sums + _weighed(task), others + _others(task)
    return {layer: counts for layer, counts in found.items() if any(counts)}


def _weighed(task: Task) -> int:
    """Number of weights that a task adds up if all inputs differ from zero; borders of maps are counted as inside."""
    if task.word == "product":
        weight = task.options["weight"]
        return int((weight != 0).sum()) * (task.to.size // weight.shape[1])
    if task.word == "convolve":
        weight, x = task.options["weight"], task.views()[0]
        places = math.prod(x.shape[2:] if task.options["transposed"] else task.to.shape[2:])
        return int((weight != 0).sum()) * places
    if task.word == "matmul":
        return task.to.size * task.views()[0].shape[-1]
    return 0


def _others(task: Task) -> int:
    if task.word == "window":
        return task.to.size * math.prod(task.options["kernel"])
    if task.elementwise:
        return task.to.size if task.word not in ("copy", "astype") else 0
    return 0 if task.word in ("product", "convolve", "matmul") else task.views()[0].size

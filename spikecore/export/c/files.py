"""Header and source of a network in C, around the body of its step.

A table for each constant, and two functions::

    static const float weight_0[24] = {
    void net_reset(net_state *state)
    void net_step(net_state *state, const float *in, float *out)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Mapping, Sequence, Tuple

import numpy as np

from spikecore.export.c.float_words import literal
from spikecore.export.c.source import remark, wrapped
from spikecore.export.step_graph import Shape, StepGraph

#: Bytes of the types of numbers.
SIZES = {"bool": 1, "float": 4, "uint32_t": 4, **{f"int{bits}_t": bits // 8 for bits in (8, 16, 32, 64)}}
FLOAT_CHECKS = (
    "#include <float.h>",
    "#include <math.h>",
    "",
    "/* Each operation is rounded to float32 by itself, as where the network was trained. */",
    "#if FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2",
    '#error "this compiler computes with more digits than float has: on x86, add -msse2 -mfpmath=sse"',
    "#endif",
    "#ifdef __FAST_MATH__",
    '#error "-ffast-math and -Ofast change the order of sums and what is not a number: compile without them"',
    "#endif",
    "#ifdef __clang__",
    "#pragma STDC FP_CONTRACT OFF",
    "#endif",
)
#: Where ``int`` counts more numbers than 16 bits can.
INT_CHECKS = (
    "#include <limits.h>",
    "",
    "#if INT_MAX < 2147483647",
    '#error "this code is for machines whose int has 32 bits or more"',
    "#endif",
)


@dataclass(frozen=True)
class StateField:
    """A state in ``net_state``.

    Args:
        name: in C.
        dotted: in the library.
        shape: of a sample.
        rest: its numbers at the start of a sequence.
        kind: the type of the numbers.
        note: what else to say of them.
    """

    name: str
    dotted: str
    shape: Shape
    rest: np.ndarray
    kind: str = "float"
    note: str = ""


@dataclass(frozen=True)
class Pieces:
    """A network as pieces of C.

    Args:
        prefix: of its names.
        title: what it is, for comments.
        input_shape, output_shape: of one sample.
        states: what passes from step to step.
        scratch: memory of a step: (type, name, numbers), larger types first.
        tables: constants by name: (type, numbers, where they belong).
        functions: functions that the step calls.
        body: the lines of the step.
        input_type, output_type: the types of what the step reads and gives.
        input_size, output_size: bytes of a number of these types.
        counters: other members of ``net_state``, four bytes each; they begin at zero.
        checks: lines of the source that refuse a compiler that would compute something else.
        macros, prototypes: more lines of the header.
        entries: more functions for the user.
    """

    prefix: str
    title: str
    input_shape: Shape
    output_shape: Shape
    states: Sequence[StateField]
    scratch: Sequence[Tuple[str, str, int]]
    tables: Mapping[str, Tuple[str, np.ndarray, str]]
    functions: Sequence[str]
    body: Sequence[str]
    input_type: str = "float"
    output_type: str = "float"
    input_size: int = 4
    output_size: int = 4
    counters: Sequence[str] = ()
    checks: Sequence[str] = FLOAT_CHECKS
    macros: Sequence[str] = ()
    prototypes: Sequence[str] = ()
    entries: Sequence[str] = ()

    @property
    def inputs(self) -> int:
        """Numbers that a step reads."""
        return _count(self.input_shape)

    @property
    def outputs(self) -> int:
        """Numbers that a step gives."""
        return _count(self.output_shape)

    @property
    def caller_bytes(self) -> int:
        """Bytes of the arrays that the caller passes to a step."""
        return self.inputs * self.input_size + self.outputs * self.output_size

    @property
    def state_bytes(self) -> int:
        """Bytes of the states."""
        return sum(SIZES[field.kind] * field.rest.size for field in self.states) + 4 * len(self.counters)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the memory of a step, with what fills it up to whole words."""
        used = sum(SIZES[kind] * count for kind, count, _ in self.members)
        whole = max((SIZES[kind] for kind, _, _ in self.members), default=4)
        return max(-(-used // whole) * whole, 4) - self.state_bytes

    @property
    def members(self) -> List[Tuple[str, int, str]]:
        """The members of ``net_state``, larger types first, so that there are no gaps: type, numbers, text."""
        members = []
        for f in self.states:
            what = f"{f.dotted}: {sizes(f.shape)}{f.note}"
            members.append((f.kind, f.rest.size, f"{f.name}[{f.rest.size}]; /* {what} */"))
        members += [("uint32_t", 1, f"{name};") for name in self.counters]
        members += [(kind, count, f"{name}[{count}];") for kind, name, count in self.scratch]
        return sorted(members or [("float", 1, "scratch[1];")], key=lambda member: -SIZES[member[0]])

    @property
    def constant_bytes(self) -> int:
        """Bytes of weights and other tables."""
        rest = [SIZES[field.kind] * field.rest.size for field in self.states if not repeats(field.rest)]
        return sum(array.nbytes for _, array, _ in self.tables.values()) + sum(rest)


def _count(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


def repeats(array: np.ndarray) -> bool:
    """Whether all its numbers are one."""
    flat = array.reshape(-1)
    return flat.tobytes() == np.full_like(flat, flat[0]).tobytes()


def title(graph: StepGraph) -> str:
    """The network's title, in a line."""
    kinds = [kind for name, kind in graph.layers if name and "." not in name] or [graph.layers[0][1]]
    shown = kinds if len(kinds) <= 8 else [*kinds[:7], "..."]
    return remark(f"A spiking network, written by spikecore: {', '.join(shown)}.")


def sizes(shape: Shape) -> str:
    """A shape for readers: 1 x 28 x 28."""
    return " x ".join(map(str, shape)) or "1"


def header(net: Pieces) -> str:
    """The header."""
    p, up = net.prefix, net.prefix.upper()
    lines = [
        f"/* {net.title}",
        " *",
        f" * One time step per call. Begin each sequence with {p}_reset.",
        f" * in: {sizes(net.input_shape)} numbers, row-major. out: {sizes(net.output_shape)}. They may not overlap.",
        f" * All memory is in {p}_state: several networks may run side by side, each with a state of its own.",
        " */",
        f"#ifndef {p}_H",
        f"#define {p}_H",
        "",
        "#include <stdbool.h>",
        "#include <stdint.h>",
        "",
        f"#define {up}_INPUTS {net.inputs}",
        f"#define {up}_OUTPUTS {net.outputs}",
        f"#define {up}_STATE_BYTES {net.state_bytes} /* what passes from step to step */",
        f"#define {up}_SCRATCH_BYTES {net.scratch_bytes} /* memory of a step */",
        f"#define {up}_CONSTANT_BYTES {net.constant_bytes} /* weights and other tables, in flash */",
        *net.macros,
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"typedef struct {p}_state {{",
        *(f"    {kind} {text}" for kind, _, text in net.members),
        f"}} {p}_state;",
        "",
        f"void {p}_reset({p}_state *state);",
        f"void {p}_step({p}_state *state, const {net.input_type} *in, {net.output_type} *out);",
        *net.prototypes,
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def source(net: Pieces) -> str:
    """The source."""
    p, up = net.prefix, net.prefix.upper()
    largest = max([*(array.size for _, array, _ in net.tables.values()), *(n for _, n, _ in net.members), net.inputs])
    counted = [*INT_CHECKS, ""] if largest >= 1 << 15 and net.checks != INT_CHECKS else []
    lines = [
        f"/* {net.title} See {p}.h. */",
        f'#include "{p}.h"',
        "",
        *counted,
        *net.checks,
        "",
        f"typedef char {p}_sizes_are_right[sizeof({p}_state) == {up}_STATE_BYTES + {up}_SCRATCH_BYTES ? 1 : -1];",
        "",
    ]
    for name, (kind, array, where) in net.tables.items():
        shape = f"{sizes(array.shape)} of {where}" if where else sizes(array.shape)
        lines += [f"/* {remark(shape)} */", f"static const {kind} {name}[{array.size}] = {{", *table(array), "};", ""]
    for text in net.functions:
        lines += [text, ""]
    lines += _reset(net)
    signature = f"void {p}_step({p}_state *state, const {net.input_type} *in, {net.output_type} *out)"
    lines += [signature, "{", *_unused(net), *net.body, "}"]
    for text in net.entries:
        lines += ["", text]
    return "\n".join(lines) + "\n"


def _unused(net: Pieces) -> List[str]:
    body = "\n".join(line for line in net.body if not line.lstrip().startswith("/*"))
    return [f"    (void){name};" for name in ("state", "in") if not re.search(rf"\b{name}\b", body)]


def _reset(net: Pieces) -> List[str]:
    lines: List[str] = []
    rests: List[str] = []
    for field in net.states:
        n, flat = field.rest.size, field.rest.reshape(-1)
        if repeats(field.rest):
            value = literal(flat[0], "float32" if flat.dtype == np.float32 else "int64").text
        else:
            lines += [f"static const {field.kind} rest_of_{field.name}[{n}] = {{", *table(field.rest), "};", ""]
            value = f"rest_of_{field.name}[i]"
        rests += [f"    for (int i = 0; i < {n}; ++i) {{", f"        state->{field.name}[i] = {value};", "    }"]
    rests += [f"    state->{name} = 0;" for name in net.counters]
    rests = rests or ["    (void)state;"]
    return [*lines, f"void {net.prefix}_reset({net.prefix}_state *state)", "{", *rests, "}", ""]


def table(array: np.ndarray) -> List[str]:
    """The numbers of a table; they are read back to the bit."""
    flat = array.reshape(-1)
    if flat.dtype == np.float32 and np.isfinite(flat).all():  # millions of weights: what ``literal`` says, but faster
        return wrapped(t[:-2] if t.endswith(".0") and t != "-0.0" else f"{t}f" for t in flat.astype(str).tolist())
    kind = str(flat.dtype) if flat.dtype in (bool, np.float32) else "int64"
    return wrapped(literal(v, kind).text for v in flat)

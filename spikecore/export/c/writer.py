"""``sc.export(model, path, to="c")``: a trained network as C99.

It writes net.h and net.c; ``files.py``, ``float_source.py`` and ``fixed_source.py`` begin with parts of them.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Tuple

import numpy as np

from spikecore import Model
from spikecore.export.c.example import FLOAT_MAIN, starters
from spikecore.export.c.files import Pieces, StateField, header, source, title
from spikecore.export.c.fixed_step import fixed_step
from spikecore.export.c.fixed_writer import fixed_network
from spikecore.export.c.float_source import POOLS, StepSource
from spikecore.export.c.float_words import HELPERS, TYPES
from spikecore.export.c.plan import ProgramPlan, planned
from spikecore.export.c.readme import readme
from spikecore.export.c.source import KEYWORDS
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.export.recording import step_graph

#: Names of headers that every compiler has.
HEADERS = frozenset(
    (
        "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg "
        "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
    ).split()
)
#: Targets of the Makefile, and names that CMake keeps for itself.
TARGETS = frozenset("all clean help install size Makefile".split())


def files(model: Model, stem: str, *, dtype: str = "float32", inputs: Any = None, example: bool = True) -> Draft:
    """A network as C99, in float32 or in fixed point.

    Args:
        model: a model with weights.
        stem: name of the files and prefix of the names in them: a name of C.
        dtype: "float32", the default; or "fixed": integers alone, for a quantised network, equal to it to the bit.
        inputs: of dtype "fixed", the numbers that come in: "spikes" (0 and 1), or a ``FixedPoint``; None, the default:
            those of the quantiser that the network begins with.
        example: whether to write main.c, a Makefile, a CMakeLists.txt and a page about the network, too.

    Returns:
        STEM.h, STEM.c and, with ``example``, main.c, Makefile, CMakeLists.txt and STEM.md. Those that are there already
        and do not depend on the network (main.c, Makefile, CMakeLists.txt) stay as they are.

    Raises:
        ExportError: a layer has no form in C, or in integers; or ``stem`` is no name of C, or ``dtype`` and ``inputs``
            are something else.
    """
    if not isinstance(example, bool):
        raise TypeError(f"export: example={example!r} must be True or False")
    if stem in HEADERS or (example and stem in TARGETS):
        what = f"{stem}.h is a header of C itself" if stem in HEADERS else f"make {stem} does something else"
        raise ExportError(f'the files are to be called {stem!r}, but {what}: choose another name, e.g. "my_{stem}"')
    net, page, main, more_notes = network(model, stem, dtype, inputs)
    contents = {f"{stem}.c": source(net), f"{stem}.h": header(net)}
    more = starters(stem, main) if example else {}
    if example:
        contents[f"{stem}.md"] = page
    states, scratch = net.state_bytes, net.scratch_bytes
    notes = (
        *more_notes,
        f"RAM {states + scratch:,} bytes: {states:,} of states, {scratch:,} of scratch",
        f"flash {net.constant_bytes:,} bytes of weights and other tables, and the code",
    )
    encoded = {name: text.encode() for name, text in {**contents, **more}.items()}
    return Draft(encoded, notes, tuple(more))


def network(
    model: Model, stem: str = "net", dtype: str = "float32", inputs: Any = None
) -> Tuple[Pieces, str, Mapping[str, str], Tuple[str, ...]]:
    """The network as pieces of C, the page about it, its example, and notes; arguments and errors as of ``files``."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", stem) or stem in KEYWORDS:
        raise ExportError(
            f"the files are to be called {stem!r}, which is also the prefix of names in C: it must be letters, digits "
            'and underscores, begin with a letter and be no word of C: export(model, "folder/net")'
        )
    if dtype not in ("float32", "fixed"):
        raise ExportError(f'dtype={dtype!r} must be "float32" or "fixed"')
    if dtype == "fixed":
        return fixed_network(fixed_step(model, inputs), stem)
    if inputs is not None:
        raise ExportError(f'inputs={inputs!r} is for dtype="fixed"; in float32 any number may come in')
    plan = planned(step_graph(model))
    _label(plan, model)
    net = pieces(plan, stem)
    return net, readme(net, plan), FLOAT_MAIN, ()


def _label(plan: ProgramPlan, model: Model) -> None:
    """Name constants after the parameters that they are."""
    names = {np.asarray(array, plan.graph.dtype).tobytes(): name for name, array in model.params().items()}
    for value, array in plan.tasks.constants.items():
        if array.size > 1 and array.tobytes() in names:
            plan.tasks.labels[value] = names[array.tobytes()].rpartition(".")[2]


def pieces(plan: ProgramPlan, prefix: str) -> Pieces:
    """A plan as pieces of C in float32."""
    step = StepSource(plan, prefix)
    body = step.body()
    states = [
        StateField(step.state_names[s.name], s.name, plan.graph.shapes[s.before][1:], s.rest) for s in plan.tasks.states
    ]
    pools = plan.memory.pools
    scratch = [(TYPES[pool], POOLS[pool], pools[pool]) for pool in POOLS if pools.get(pool)]
    helpers = [HELPERS[name].replace("PREFIX", prefix) for name in step.words.helpers]
    graph = plan.graph
    return Pieces(
        prefix,
        title(plan.graph),
        graph.shapes[graph.x][1:],
        graph.shapes[graph.output][1:],
        states,
        scratch,
        step.tables,
        [*helpers, *step.kernels.functions.values()],
        body,
    )

"""A step of e-prop's traces, one per synapse and sample, and their share of the gradient, in one pass over memory.

    e_n[t] = sum_m J_nm e_m[t-1] + B_n z[t]              dL/dw += sum over samples and positions of sum_n v_n e_n[t-1]

for the states n of a neuron. J, B and v are one number per neuron and sample; traces that are the same for all neurons
of a layer are read like inputs. In words each term would be a pass over as many numbers as there are synapses times
samples, and these do not fit into a cache.

A worker takes some rows, that is some neurons or filters, of all samples: its sums are in one fixed order, so that they
do not depend on the number of threads.

The innermost loop for a neuron with two states and no shared traces, where J_01 and B_1 are zero; names end in the
numbers of the state and of the term::

    for j in range(synapses):
        z = row_z[j]
        old_0 = row_e_0[j]
        old_1 = row_e_1[j]
        row_to_0[j] = c_0_0 * old_0 + c_0_2 * z
        row_to_1[j] = c_1_0 * old_0 + c_1_1 * old_1
        row_g[j] = row_g[j] + (v_0 * old_0 + v_1 * old_1)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from spikecore.kernels.elementwise import workers
from spikecore.kernels.emit import Source
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import build_run
from spikecore.kernels.runtime.kernel import Kernel
from spikecore.kernels.runtime.openmp import several

LEAST = 1 << 16  # traces of a state from which on a kernel soon makes up for its compilation
WIDE = 1 << 17  # from which on several threads take less time
TILE = 1 << 12  # sums of a worker's rows that stay in the first-level cache
VALUES, NUMBER, ZERO = "values", "number", "zero"  # what a coefficient is: one per neuron and sample, one for all, none


class Form(NamedTuple):
    """The properties of a neuron that the code of a pass over its traces depends on.

    Args:
        moves: for each trace, what its coefficients are: by the traces, by those that are shared, and by the input.
        reads: for each trace, what its cotangent is.
        maps: whether a neuron's synapses have several positions each.
    """

    moves: Tuple[Tuple[str, ...], ...]
    reads: Tuple[str, ...]
    maps: bool


def step(
    traces: Sequence[Any], shared: Sequence[Any], pre: Any, moves: Sequence[Sequence[Any]], cotangents: Sequence[Any]
) -> Tuple[List[Any], Any]:
    """The traces after a step, and the gradient by the weights.

    Args:
        traces: e_n, each (batch, groups, rows, synapses, positions), without gaps.
        shared: traces that are the same for all rows (batch, groups, 1, synapses, positions).
        pre: the inputs z (batch, groups, synapses, positions).
        moves: for each trace its coefficients, J by the traces, J by the shared ones, and B: arrays (batch, *neurons),
            one value for each sample, group, row and position, or numbers.
        cotangents: v_n for each trace, likewise.

    Returns:
        the traces, and the gradient (groups, rows, synapses).
    """
    batch, groups, rows, synapses, positions = traces[0].shape
    dtype = traces[0].dtype
    form = Form(tuple(tuple(map(_kind, row)) for row in moves), tuple(map(_kind, cotangents)), positions > 1)
    kinds = (*(kind for row in form.moves for kind in row), *form.reads)
    coefficients = (*(c for row in moves for c in row), *cotangents)
    numbers = np.array([float(c) for kind, c in zip(kinds, coefficients) if kind == NUMBER] or [0.0], dtype)
    values = [np.ascontiguousarray(c, dtype) for kind, c in zip(kinds, coefficients) if kind == VALUES]
    after = [allocator.empty(e.shape, dtype) for e in traces]
    g = allocator.empty((groups, rows, synapses), dtype)
    threads = workers(several(traces[0].size, WIDE))
    room = allocator.empty((threads, positions), dtype)
    like = [np.ascontiguousarray(a, dtype) for a in (pre, *shared)]
    arrays = (*like, *map(np.ascontiguousarray, traces), *after, g, numbers, *values, room)
    table = (batch, groups, rows, synapses, positions, max(1, TILE // synapses))
    _kernel(form, str(dtype))(threads, table, [a.reshape(1, -1) for a in arrays])
    return after, g


def _kind(coefficient: Any) -> str:
    if type(coefficient) is float:
        return NUMBER if coefficient else ZERO
    return VALUES if coefficient.ndim else NUMBER


@lru_cache(maxsize=None)
def _kernel(form: Form, dtype: str) -> Kernel:
    return build_run(source(form), "carry", dtype)


def source(form: Form) -> str:
    """The code of a pass. Its table: batch, groups, rows, synapses, positions, rows of a tile; then for each array its
    address, and a number that is not used.
    """
    traces, shared = range(len(form.moves)), range(len(form.moves[0]) - len(form.moves) - 1)
    kinds = {f"c_{n}_{k}": kind for n, row in enumerate(form.moves) for k, kind in enumerate(row)}
    kinds.update({f"v_{n}": kind for n, kind in enumerate(form.reads)})
    terms = [*(f"old_{m}" for m in traces), *(f"like_{m}" for m in shared), "z"]
    moved = [_sum(kinds, [(f"c_{n}_{k}", term) for k, term in enumerate(terms)]) for n in traces]
    values = [name for name, kind in kinds.items() if kind == VALUES]
    arrays = ["pre", *(f"s_{m}" for m in shared), *(f"e_{n}" for n in traces), *(f"to_{n}" for n in traces), "g"]
    code = Source()
    code.add(0, "def carry(worker, workers, table):")
    code.add(1, "batch, groups, rows, synapses = table[0], table[1], table[2], table[3]")
    code.add(1, "positions, tile = table[4], table[5]")
    for i, name in enumerate((*arrays, "numbers", *(f"all_{name}" for name in values), "room"), 3):
        code.add(1, f"{name} = table[{2 * i}]")
    numbers = (name for name, kind in kinds.items() if kind == NUMBER)
    code.add(1, *(f"{name} = row(numbers)[{i}]" for i, name in enumerate(numbers)))
    code.add(1, "total, length = groups * rows, synapses * positions * SIZE")
    code.add(1, "first, behind = worker * total // workers, (worker + 1) * total // workers")
    rows = [*(f"row_{name} = row({name} + place)" for n in traces for name in (f"e_{n}", f"to_{n}"))]
    rows += ["row_z = row(pre + source)", *(f"row_s_{m} = row(s_{m} + source)" for m in shared)]
    body = ["z = row_z[j]", *(f"old_{n} = row_e_{n}[j]" for n in traces), *(f"like_{m} = row_s_{m}[j]" for m in shared)]
    body += [f"row_to_{n}[j] = {text}" for n, text in enumerate(moved)]
    share = _sum(kinds, [(f"v_{n}", f"old_{n}") for n in traces])
    (_maps if form.maps else _dense)(code, values, rows, body, share)
    return code.text()


def _sum(kinds: Mapping[str, str], terms: Sequence[Tuple[str, str]]) -> str:
    """A sum of coefficients times values, without those that are zero."""
    return " + ".join(f"{name} * {value}" for name, value in terms if kinds[name] != ZERO) or "F(0.0)"


def _dense(code: Source, values: Sequence[str], rows: Sequence[str], body: Sequence[str], share: str) -> None:
    """Code for dense layers, with one position: the innermost loop runs over the synapses of one neuron and sample."""
    code.add(1, "for block in range((behind - first + tile - 1) // tile):")
    code.add(2, "lo = first + block * tile", "hi = min(lo + tile, behind)", "sums = row(g + lo * length)")
    code.add(2, "for j in range((hi - lo) * synapses):", "    sums[j] = F(0.0)")
    code.add(2, "for b in range(batch):", "    for i in range(lo, hi):")
    code.add(4, "place, source = (b * total + i) * length, (b * groups + i // rows) * length")
    code.add(4, *rows, "row_g = row(g + i * length)", *(f"{name} = row(all_{name})[b * total + i]" for name in values))
    code.add(4, "for j in range(synapses):")
    code.add(5, *body, f"row_g[j] = row_g[j] + ({share})")


def _maps(code: Source, values: Sequence[str], rows: Sequence[str], body: Sequence[str], share: str) -> None:
    """Code for maps, with several positions: the innermost loop runs over those of one synapse of one sample."""
    code.add(1, "sums = row(room + worker * positions * SIZE)")
    code.add(1, "for i in range(first, behind):", "    for m in range(synapses):")
    code.add(3, "for j in range(positions):", "    sums[j] = F(0.0)", "for b in range(batch):")
    code.add(4, "place = (b * total + i) * length + m * positions * SIZE")
    code.add(4, "source = (b * groups + i // rows) * length + m * positions * SIZE")
    code.add(4, "neuron = (b * total + i) * positions * SIZE")
    code.add(4, *rows, *(f"row_{name} = row(all_{name} + neuron)" for name in values), "for j in range(positions):")
    code.add(5, *(f"{name} = row_{name}[j]" for name in values), *body, f"sums[j] = sums[j] + ({share})")
    code.add(3, "whole = F(0.0)", "for j in range(positions):", "    whole = whole + sums[j]")
    code.add(3, "row(g + (i * synapses + m) * SIZE)[0] = whole")

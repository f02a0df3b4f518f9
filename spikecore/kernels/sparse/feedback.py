"""The product of one step in a dense recurrence, with spikes as lists.

    P[t] = S[t-1] W^T

The weight is copied into panels once for a whole run. At each step every thread lists the spikes of its samples. If
there are too many, or some that are not one, a library makes the product of that step, and of the next few, which are
not looked at. All of this depends on the spikes alone: the same run always gives the same bits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, Optional

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads
from spikecore.kernels.sizes import has_numba
from spikecore.kernels.sparse.bits import address
from spikecore.kernels.sparse.words import WORD, digest

LEAST = 1 << 22  # multiplications of a step from which on lists may be faster
MOST = 0.25  # part of the neurons that may fire
PASSED = 8  # steps that are not looked at after one with too many spikes
LONGEST = 1 << 16  # neurons

BEFORE = """
from spikecore.kernels.sparse.vectors import adder, lowest, mask, others  # {digest}

numbers, words, one = pointer_to("uint16"), pointer_to("int64"), np.uint64(1)
add = adder(64, False)
"""
SOURCE = """\
def feedback(worker, workers, table):
    rows, inner, most, found, lists = table[0], table[1], table[2], words(table[3]), table[4]
    spikes, step_spikes, panels, out, step_out = table[5], table[6], table[7], table[9], table[10]
    line_at = table[11] + worker * table[12] * SIZE
    line = row(line_at)
    low, high = worker * rows // workers, (worker + 1) * rows // workers
    total, graded = np.int64(0), np.uint64(0)
    for r in range(low, high):
        given, listed, n = spikes + r * step_spikes * SIZE, numbers(lists + r * inner * 2), np.int64(0)
        for w in range(inner // 64):
            word = mask(row(given + w * 64 * SIZE))
            graded |= others(row(given + w * 64 * SIZE))
            while word != 0:
                listed[n] = np.uint16(w * 64 + lowest(word))
                n += 1
                word &= word - one
        at = row(given)
        for k in range(inner // 64 * 64, inner):
            if at[k] != F(0.0):
                listed[n] = np.uint16(k)
                n += 1
                if at[k] != F(1.0):
                    graded = one
        found[workers + r] = n
        total += n
    if graded != 0:
        total = most + 1
    found[worker] = total
    if total > most:
        return
    for panel in range((inner + 63) // 64):
        matrix, valid = row(panels + panel * inner * 64 * SIZE), min(64, inner - panel * 64)
        for r in range(low, high):
            place = row(out + (r * step_out + panel * 64) * SIZE)
            for c in range(64):
                line[c] = F(0.0)
            add(matrix, numbers(lists + r * inner * 2), line, found[workers + r], line, line)
            for c in range(valid):
                place[c] = line[c]
"""


def feedback(weight: Any, samples: int) -> Optional[Callable[[Any, Any], bool]]:
    """A function that writes the product of spikes (samples, neurons) with ``weight.T`` to its second argument and says
    whether it has; None where a library's product is faster in any case.
    """
    neurons = len(weight)
    if samples * neurons * neurons < LEAST or neurons > LONGEST or not has_numba():
        return None
    workers, across = min(most_threads(), samples), -(-neurons // WORD)
    panels = allocator.zeros((across, neurons, WORD), weight.dtype)
    for panel in range(across):
        rows = weight[panel * WORD : (panel + 1) * WORD]
        panels[panel, :, : len(rows)] = rows.T
    counts, lists = np.zeros(workers + samples, np.int64), np.empty((samples, neurons), np.uint16)
    lines = allocator.empty((workers, WORD), weight.dtype)
    kernel, most = _kernel(weight.dtype.name), int(MOST * neurons * samples)
    passing = [0]

    def multiply(spikes: Any, out: Any) -> bool:
        if passing[0]:
            passing[0] -= 1
            return False
        sizes = (samples, neurons, most, address(counts), address(lists))
        kernel(workers, sizes, (spikes, panels.reshape(-1, WORD), out, lines))
        done = bool(counts[:workers].sum() <= most)
        passing[0] = 0 if done else PASSED
        return done

    return multiply


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the product of a step."""
    return recipe_of_run(SOURCE, "feedback", dtype, before=BEFORE.format(digest=digest()))


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Any:
    return kernel_of(recipe(dtype), dtype)
